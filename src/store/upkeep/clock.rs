//! Whether this machine's clock agrees with that of the database. Events are stamped and bounded by the one, and kept and deleted
//! by the other.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use tracing::{info, warn};

use super::inspection;
use crate::telemetry::metrics;

/// Clocks that differ by more put events into the wrong hour, and rates out of step.
const MOST: TimeDelta = TimeDelta::seconds(2);
/// Between two looks.
const PAUSE: Duration = Duration::from_mins(1);

/// How far two clocks are apart at least: theirs was read after `before` and before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew(TimeDelta);

impl Skew {
    pub fn of(before: DateTime<Utc>, theirs: DateTime<Utc>) -> Self {
        Self::between(before, theirs, Utc::now())
    }

    fn between(before: DateTime<Utc>, theirs: DateTime<Utc>, after: DateTime<Utc>) -> Self {
        Self((theirs - after).max(before - theirs).max(TimeDelta::zero()))
    }

    pub fn milliseconds(self) -> i64 {
        self.0.num_milliseconds()
    }

    pub fn is_too_much(self) -> bool {
        self.0 > MOST
    }
}

/// Tells when the clocks begin to differ, and when they agree again. Never ends.
pub async fn watch(pool: PgPool) {
    let mut differed = false;
    loop {
        let before = Utc::now();
        // A database that is away is reported elsewhere.
        if let Ok(theirs) = inspection::now(&pool).await {
            let skew = Skew::of(before, theirs);
            let milliseconds = skew.milliseconds();
            metrics::clock_skew(milliseconds);
            match (differed, skew.is_too_much()) {
                (false, true) => warn!(
                    milliseconds,
                    "this clock differs from that of the database: let both follow a time server"
                ),
                (true, false) => info!(milliseconds, "this clock agrees with that of the database again"),
                _ => {}
            }
            differed = skew.is_too_much();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_differ_by_what_the_question_cannot_have_taken() {
        let at = |second| DateTime::from_timestamp(second, 0).expect("a moment");
        let skew = |theirs| Skew::between(at(100), at(theirs), at(105));
        for (theirs, milliseconds, is_too_much) in
            [(100, 0, false), (103, 0, false), (106, 1_000, false), (108, 3_000, true), (97, 3_000, true)]
        {
            assert_eq!(
                (skew(theirs).milliseconds(), skew(theirs).is_too_much()),
                (milliseconds, is_too_much)
            );
        }
    }
}
