//! Drops events that are older than they are kept.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use sqlx::PgPool;
use tracing::info;
use weir::store::{StoreError, upkeep::expiry};

use super::{Job, SELDOM};

/// Events are kept this much longer than the API takes them, so that what waits in the stream is still stored.
const SPARE: TimeDelta = TimeDelta::days(1);

pub(crate) struct Expire {
    pool: PgPool,
    retention: TimeDelta,
    pause: Duration,
}

impl Expire {
    /// Nothing: events are kept for ever, or for longer than there are dates.
    pub(crate) fn new(pool: PgPool, retention: Duration) -> Option<Self> {
        let retention = TimeDelta::from_std(retention).ok().filter(|retention| !retention.is_zero())?;
        Some(Self { pool, retention, pause: Duration::ZERO })
    }
}

impl Job for Expire {
    const NOT_DONE: &'static str = "old events are not dropped yet";

    fn pause(&self) -> Duration {
        self.pause
    }

    async fn run(&mut self) -> Result<(), StoreError> {
        self.pause = SELDOM;
        let chunks = expiry::drop_before(&self.pool, Utc::now() - self.retention - SPARE).await?;
        if chunks > 0 {
            info!(chunks, "events that are not kept any more are dropped");
        }
        Ok(())
    }
}
