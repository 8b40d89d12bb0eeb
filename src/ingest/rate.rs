//! The token bucket of each project, counted in events.
//!
//! Each instance of the API has its own: a project's rate over all of them is at most their number times the limit.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DefaultKeyedStateStore,
};

use crate::{config::Limits, metrics, project::ProjectId};

type Buckets =
    RateLimiter<ProjectId, DefaultKeyedStateStore<ProjectId>, DefaultClock, StateInformationMiddleware>;

/// The buckets of all projects.
#[derive(Clone)]
pub struct Rates {
    buckets: Arc<Buckets>,
    rate: NonZeroU32,
    burst: NonZeroU32,
}

/// What a project may still send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Events that a full bucket holds.
    pub burst: u32,
    /// In how long an empty bucket is full again.
    pub window: Duration,
    /// Events that the bucket holds now.
    pub remaining: u32,
}

/// Why a request's events were not let in.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum OverRate {
    #[error("the project has sent more events than its rate allows")]
    Limited {
        /// When the bucket will hold enough for this request.
        retry_after: Duration,
        allowance: Allowance,
    },
    #[error("{events} events were sent at once, and the project's bucket never holds more than {burst}")]
    ExceedsBurst { events: u32, burst: u32 },
}

impl Rates {
    pub fn new(limits: &Limits) -> Self {
        let quota = Quota::per_second(limits.rate_limit).allow_burst(limits.rate_burst);
        let buckets = RateLimiter::keyed(quota).with_middleware::<StateInformationMiddleware>();
        Self { buckets: Arc::new(buckets), rate: limits.rate_limit, burst: limits.rate_burst }
    }

    /// Takes a token per event, or none.
    pub fn take(&self, project_id: ProjectId, events: NonZeroU32) -> Result<Allowance, OverRate> {
        let window = Duration::from_secs_f64(f64::from(self.burst.get()) / f64::from(self.rate.get()));
        let allowance = |remaining| Allowance { burst: self.burst.get(), window, remaining };
        match self.buckets.check_key_n(&project_id, events) {
            Ok(Ok(state)) => Ok(allowance(state.remaining_burst_capacity())),
            Ok(Err(not_until)) => {
                metrics::rate_limit_exceeded();
                let retry_after = not_until.wait_time_from(self.buckets.clock().now());
                Err(OverRate::Limited { retry_after, allowance: allowance(0) })
            }
            Err(_) => Err(OverRate::ExceedsBurst { events: events.get(), burst: self.burst.get() }),
        }
    }
}

impl Allowance {
    /// The value of `RateLimit-Policy` (draft of the IETF's group httpapi).
    pub fn policy(&self) -> String {
        format!("\"events\";q={};w={}", self.burst, self.window.as_secs().max(1))
    }

    /// The value of `RateLimit`: events that remain, and seconds until the bucket is full.
    pub fn limit(&self) -> String {
        let missing = f64::from(self.burst - self.remaining.min(self.burst)) / f64::from(self.burst);
        let reset = self.window.mul_f64(missing).as_secs_f64().ceil();
        format!("\"events\";r={};t={reset}", self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    /// A rate at which nothing comes back while the test runs.
    fn rates(burst: u32) -> Rates {
        let burst = NonZeroU32::new(burst).unwrap();
        let buckets = RateLimiter::keyed(Quota::per_hour(ONE).allow_burst(burst));
        Rates { buckets: Arc::new(buckets.with_middleware()), rate: ONE, burst }
    }

    #[test]
    fn a_bucket_gives_what_it_holds_and_each_project_has_its_own() {
        let rates = rates(10);
        let (one, two) = (ProjectId::from_stored(1), ProjectId::from_stored(2));
        let events = |n| NonZeroU32::new(n).unwrap();
        assert_eq!(rates.take(one, events(7)).unwrap().remaining, 3);
        assert!(matches!(rates.take(one, events(4)), Err(OverRate::Limited { .. })));
        assert_eq!(rates.take(one, events(3)).unwrap().remaining, 0, "what was refused took nothing");
        assert_eq!(rates.take(two, events(1)).unwrap().remaining, 9);
        assert!(matches!(rates.take(two, events(11)), Err(OverRate::ExceedsBurst { events: 11, burst: 10 })));
    }

    #[test]
    fn headers_name_quota_window_rest_and_reset() {
        let allowance = Allowance { burst: 1_000, window: Duration::from_secs(10), remaining: 250 };
        assert_eq!(allowance.policy(), "\"events\";q=1000;w=10");
        assert_eq!(allowance.limit(), "\"events\";r=250;t=8"); // 7.5
    }
}
