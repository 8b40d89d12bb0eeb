//! Rolls activity up, all the time: on one edition of TimescaleDB that refreshes continuous aggregates, on the other it
//! moves deltas. `sql/` has both, under one name.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use weir::{
    store::{upkeep::roll_up, write::settled},
    telemetry::{self, metrics},
};

use crate::{trouble::Trouble, visible::Visible};

/// A roll-up rests this many times as long as it took: it never takes more than a fifth of a core.
const REST: u32 = 4;

pub(crate) async fn run(pool: PgPool, visible: Visible, interval: Duration, ending: CancellationToken) {
    let trouble = Trouble::new("activity is not rolled up");
    loop {
        let begun = Instant::now();
        let late = visible.before_roll_up();
        match roll_up::run(&pool).await {
            Ok(true) => {
                metrics::roll_up(begun.elapsed());
                trouble.is_over();
                late.measure();
                merge_settled(&pool).await;
            }
            Ok(false) => {
                debug!("another worker rolls up");
                visible.not_rolled_up(late);
            }
            Err(error) => {
                visible.not_rolled_up(late);
                metrics::roll_up_failed();
                trouble.failed(&error);
            }
        }
        let rest = interval.max(begun.elapsed() * REST);
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = ending.cancelled() => return,
        }
    }
}

async fn merge_settled(pool: &PgPool) {
    if let Err(error) = settled::merge(pool).await {
        warn!(
            error = telemetry::chain(&error),
            "the numbers of settled messages were not merged; trying again"
        );
    }
}
