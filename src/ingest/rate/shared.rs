//! A project's bucket in Redis: one for all instances of the API, by Redis' clock.

use std::{num::NonZeroU32, time::Duration};

use redis::Pipeline;

use super::{Allowance, OverRate, Rate, Unit};

/// Sent whole each time: Redis knows it by its hash, and after a restart it need not be loaded again.
const SCRIPT: &str = include_str!("bucket.lua");

/// What Redis answers to [`ask`].
pub type Answer = (i64, u32, u64);

/// Adds the question for tokens to a pipeline.
pub fn ask(pipeline: &mut Pipeline, key: &str, rate: Rate, count: NonZeroU32) {
    let command = pipeline.cmd("EVAL").arg(SCRIPT).arg(1).arg(key);
    command.arg(rate.limit.get()).arg(rate.burst.get()).arg(count.get());
}

/// What the answer means; nothing if Redis takes no writes.
pub fn verdict(rate: Rate, (taken, remaining, wait): Answer) -> Option<Result<Allowance, OverRate>> {
    let allowance = Allowance { rate, remaining, unit: Unit::Events };
    match taken {
        1 => Some(Ok(allowance)),
        0 => Some(Err(OverRate::Limited { retry_after: Duration::from_micros(wait), allowance })),
        _ => None,
    }
}
