//! Buckets in this process.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};
use moka::sync::Cache;

use super::{Allowance, OverRate, Rate, RateUnit};
use crate::model::project::ProjectId;

/// Buckets that are kept; of more, those go that were used least.
const KEPT: u64 = 100_000;
/// A bucket that was not used for so long is full, at any sensible rate.
const IDLE: Duration = Duration::from_mins(10);

type Bucket = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// A bucket for each key. One whose rate is changed is another bucket.
#[derive(Clone)]
struct Buckets<K> {
    buckets: Cache<(K, Rate), Arc<Bucket>>,
    unit: RateUnit,
}

impl<K: Hash + Eq + Send + Sync + 'static> Buckets<K> {
    fn new(unit: RateUnit) -> Self {
        Self { buckets: Cache::builder().max_capacity(KEPT).time_to_idle(IDLE).build(), unit }
    }

    /// Takes `count` tokens, or none.
    fn take(&self, key: K, rate: Rate, count: NonZeroU32) -> Result<Allowance, OverRate> {
        let bucket = self.buckets.get_with((key, rate), || {
            let quota = Quota::per_second(rate.limit).allow_burst(rate.burst);
            Arc::new(RateLimiter::direct(quota).with_middleware())
        });
        let allowance = |remaining| Allowance { rate, remaining, unit: self.unit };
        match bucket.check_n(count) {
            Ok(Ok(state)) => Ok(allowance(state.remaining_burst_capacity())),
            Ok(Err(not_until)) => {
                let retry_after = not_until.wait_time_from(DefaultClock::default().now());
                Err(OverRate::Limited { retry_after, allowance: allowance(0) })
            }
            Err(_) => Err(OverRate::ExceedsBurst { events: count.get(), burst: rate.burst.get() }),
        }
    }
}

/// The buckets of projects in this instance, for while Redis does not answer.
#[derive(Clone)]
pub struct Projects(Buckets<ProjectId>);

impl Default for Projects {
    fn default() -> Self {
        Self(Buckets::new(RateUnit::Events))
    }
}

impl Projects {
    /// Takes a token per event, or none.
    pub fn take(&self, project_id: ProjectId, rate: Rate, events: NonZeroU32) -> Result<Allowance, OverRate> {
        self.0.take(project_id, rate, events)
    }
}

/// The buckets of the addresses from which requests come. They stand before the lookup of keys, so that a flood from one
/// address costs nobody else anything.
#[derive(Clone)]
pub struct Addresses {
    buckets: Buckets<IpAddr>,
    rate: Rate,
}

impl Addresses {
    pub fn new(rate: Rate) -> Self {
        Self { buckets: Buckets::new(RateUnit::Requests), rate }
    }

    /// Takes a token for a request.
    pub fn take(&self, address: IpAddr) -> Result<Allowance, OverRate> {
        self.buckets.take(network(address), self.rate, NonZeroU32::MIN)
    }
}

/// The network that one customer of a provider has: a single address, or 64 bits of IPv6.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    /// A rate at which nothing comes back while the test runs.
    fn rate(burst: u32) -> Rate {
        Rate { limit: ONE, burst: NonZeroU32::new(burst).unwrap() }
    }

    #[test]
    fn a_bucket_gives_what_it_holds_and_each_project_has_its_own() {
        let projects = Projects::default();
        let (one, two) = (ProjectId::from_stored(1), ProjectId::from_stored(2));
        // A token comes back in a second: none of these numbers could notice.
        let take = |project, events| projects.take(project, rate(1_000), NonZeroU32::new(events).unwrap());
        assert_eq!(take(one, 700).unwrap().remaining / 10, 30);
        assert!(matches!(take(one, 400), Err(OverRate::Limited { .. })));
        assert_eq!(take(one, 290).unwrap().remaining / 100, 0, "what was refused took nothing");
        assert_eq!(take(two, 100).unwrap().remaining / 100, 9);
        assert!(matches!(take(two, 1_001), Err(OverRate::ExceedsBurst { events: 1_001, burst: 1_000 })));
    }

    #[test]
    fn an_address_of_ipv6_is_its_network() {
        let addresses = Addresses::new(rate(2));
        for (address, passes) in [
            ("2001:db8:1:2::1", true),
            ("2001:db8:1:2:ffff::2", true),
            ("2001:db8:1:2::3", false),
            ("2001:db8:1:3::1", true),
            ("10.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("10.0.0.1", false),
        ] {
            assert_eq!(addresses.take(address.parse().unwrap()).is_ok(), passes, "{address}");
        }
    }
}
