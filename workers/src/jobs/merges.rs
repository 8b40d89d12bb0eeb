//! Moves what users have stored who were merged into others, soon after.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use tracing::info;
use weir::{
    store::{StoreError, users::merges},
    telemetry::metrics,
};

use super::{Job, SOON};

/// A pass over merges rests this many times as long as it took: more wait then, and one pass serves them all.
const REST: u32 = 4;

pub(crate) struct MergeUsers {
    pool: PgPool,
    /// How long the last pass took.
    took: Duration,
}

impl MergeUsers {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool, took: Duration::ZERO }
    }
}

impl Job for MergeUsers {
    const NOT_DONE: &'static str = "merged users are not moved yet";

    fn pause(&self) -> Duration {
        SOON.max(self.took * REST)
    }

    async fn run(&mut self) -> Result<(), StoreError> {
        let begun = Instant::now();
        let merged = merges::carry_out(&self.pool).await;
        self.took = begun.elapsed();
        if let Some(users @ 1..) = merged? {
            metrics::users_merged(users);
            info!(users, "merged users are moved in events and statistics");
        }
        Ok(())
    }
}
