//! Rolls activity up, all the time: on one edition of TimescaleDB that refreshes continuous aggregates, on the other it
//! moves deltas. `sql/` has both, under one name.

use std::time::{Duration, Instant};

use chrono::{Days, NaiveDateTime, NaiveTime, Utc};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use weir::{metrics, store::activity, telemetry};

/// A roll-up rests this many times as long as it took: it never takes more than a fifth of a core.
const REST: u32 = 4;

pub(crate) async fn run(pool: PgPool, interval: Duration, ending: CancellationToken) {
    loop {
        let begun = Instant::now();
        match activity::roll_up(&pool, horizon()).await {
            Ok(true) => metrics::roll_up(begun.elapsed()),
            Ok(false) => debug!("another worker rolls up"),
            Err(error) => {
                metrics::roll_up_failed();
                warn!(error = telemetry::chain(&error), "activity was not rolled up; trying again");
            }
        }
        let rest = interval.max(begun.elapsed() * REST);
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = ending.cancelled() => return,
        }
    }
}

/// The wall-clock time before which hours are closed in every time zone, with a day to spare: local clocks differ by
/// up to 26 hours.
fn horizon() -> NaiveDateTime {
    (Utc::now().date_naive() - Days::new(2)).and_time(NaiveTime::MIN)
}
