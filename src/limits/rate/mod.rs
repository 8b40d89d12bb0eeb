//! The token bucket of each project, counted in events.
//!
//! All instances of the API share it through Redis ([`shared`]), in the round trip in which the filter asks for
//! duplicates anyway. While Redis does not answer, each instance has buckets of its own ([`local`]); so have, always, the
//! addresses from which requests come.

pub mod local;
pub mod shared;

use std::{num::NonZeroU32, time::Duration};

use crate::{config::Rates, model::project::Project};

/// What a bucket gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// A second, in the long run.
    pub limit: NonZeroU32,
    /// At once, after a rest.
    pub burst: NonZeroU32,
}

impl Rate {
    /// Of requests from one address.
    pub fn of_addresses(rates: &Rates) -> Self {
        Self { limit: rates.address_rate_limit, burst: rates.address_rate_burst }
    }

    /// The rate of a project: its own, or the configured one. A limit of its own without a burst of its own comes with a
    /// burst of two seconds.
    pub fn of(project: &Project, rates: &Rates) -> Self {
        const TWO: NonZeroU32 = NonZeroU32::new(2).expect("not zero");
        let own = &project.overrides;
        let burst = own.rate_burst.or(own.rate_limit.map(|limit| limit.saturating_mul(TWO)));
        Self { limit: own.rate_limit.unwrap_or(rates.rate_limit), burst: burst.unwrap_or(rates.rate_burst) }
    }

    /// In how long an empty bucket is full again.
    pub fn window(self) -> Duration {
        Duration::from_secs_f64(f64::from(self.burst.get()) / f64::from(self.limit.get()))
    }
}

/// What may still be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub rate: Rate,
    /// What the bucket holds now.
    pub remaining: u32,
    /// What the bucket counts.
    pub unit: RateUnit,
}

/// What a bucket counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateUnit {
    /// Events of a project.
    Events,
    /// Requests from an address.
    Requests,
}

impl RateUnit {
    fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Requests => "requests",
        }
    }
}

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum OverRate {
    #[error("more {} were sent than the rate allows", allowance.unit.name())]
    Limited {
        /// When the bucket will hold enough for this request.
        retry_after: Duration,
        allowance: Allowance,
    },
    #[error("{events} events were sent at once, and the project's bucket never holds more than {burst}")]
    ExceedsBurst { events: u32, burst: u32 },
}

impl Allowance {
    /// The value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers): what a full bucket holds, and the seconds
    /// in which it fills.
    pub fn policy(&self) -> String {
        format!("\"{}\";q={};w={}", self.unit.name(), self.rate.burst, self.rate.window().as_secs().max(1))
    }

    /// The value of `RateLimit`: what remains, and the seconds until the bucket is full.
    pub fn limit(&self) -> String {
        let burst = self.rate.burst.get();
        let missing = f64::from(burst - self.remaining.min(burst)) / f64::from(burst);
        let reset = self.rate.window().mul_f64(missing).as_secs_f64().ceil();
        format!("\"{}\";r={};t={reset}", self.unit.name(), self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_name_quota_window_rest_and_reset() {
        let rate = Rate { limit: NonZeroU32::new(100).unwrap(), burst: NonZeroU32::new(1_000).unwrap() };
        let allowance = Allowance { rate, remaining: 250, unit: RateUnit::Events };
        assert_eq!(allowance.policy(), "\"events\";q=1000;w=10");
        assert_eq!(allowance.limit(), "\"events\";r=250;t=8"); // 7.5
    }
}
