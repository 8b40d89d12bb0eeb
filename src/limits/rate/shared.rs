//! A project's bucket in Redis: one for all instances of the API, by Redis' clock.

use std::{num::NonZeroU32, time::Duration};

use redis::Pipeline;

use super::{Allowance, OverRate, Rate, RateUnit};

/// Sent whole each time: Redis knows it by its hash, and after a restart it need not be loaded again.
const SCRIPT: &str = include_str!("bucket.lua");

/// What Redis answers to each count of [`ask`]; to none of them, if it takes no writes.
pub type BucketReply = (bool, u32, u64);

/// Adds a question for tokens to a pipeline: each of `counts` is taken, or nothing of it, in their order.
pub fn ask(pipeline: &mut Pipeline, key: &str, rate: Rate, counts: impl Iterator<Item = NonZeroU32>) {
    let command = pipeline.cmd("EVAL").arg(SCRIPT).arg(1).arg(key);
    command.arg(rate.limit.get()).arg(rate.burst.get());
    for count in counts {
        command.arg(count.get());
    }
}

/// What an answer means.
pub fn verdict(rate: Rate, (taken, remaining, wait): BucketReply) -> Result<Allowance, OverRate> {
    let allowance = Allowance { rate, remaining, unit: RateUnit::Events };
    if taken {
        Ok(allowance)
    } else {
        Err(OverRate::Limited { retry_after: Duration::from_micros(wait), allowance })
    }
}
