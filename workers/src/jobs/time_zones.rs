//! Takes newer rules of time zones, and counts anew the days that they change.

use std::time::Duration;

use sqlx::PgPool;
use tracing::info;
use weir::{
    model::zone::rules,
    store::{
        StoreError,
        upkeep::{
            recounts,
            zone_rules::{self, Adopted},
        },
    },
    telemetry::metrics,
};

use super::{Job, SELDOM, STEP};

/// Adopts the rules that this machine has, if they are newer than those of the database.
pub(crate) struct AdoptRules {
    pool: PgPool,
    pause: Duration,
}

impl AdoptRules {
    pub(crate) fn new(pool: PgPool) -> Self {
        metrics::time_zone_rules(rules::version());
        info!(version = rules::version(), source = %rules::source(), "rules of time zones");
        Self { pool, pause: STEP }
    }
}

impl Job for AdoptRules {
    const NOT_DONE: &'static str = "newer rules of time zones are not adopted yet";

    fn pause(&self) -> Duration {
        self.pause
    }

    async fn run(&mut self) -> Result<(), StoreError> {
        let Some(Adopted { zones, days }) = zone_rules::adopt(&self.pool).await? else {
            return Ok(()); // who is at activity is done soon
        };
        if zones > 0 {
            info!(
                zones,
                days, "newer rules of time zones are adopted; days that they change are counted anew"
            );
        }
        self.pause = SELDOM;
        Ok(())
    }
}

/// Counts days anew whose project's time zone has got other rules.
pub(crate) struct RecountDays {
    pool: PgPool,
    /// Days that were left after the last run.
    left: i64,
}

impl RecountDays {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool, left: 0 }
    }
}

impl Job for RecountDays {
    const NOT_DONE: &'static str = "days are not counted anew yet";

    fn pause(&self) -> Duration {
        STEP
    }

    async fn run(&mut self) -> Result<(), StoreError> {
        if let Some(left) = recounts::carry_out(&self.pool).await? {
            metrics::days_to_recount(left);
            if self.left > 0 && left == 0 {
                info!("days are counted by the new rules of their time zones");
            }
            self.left = left;
        }
        Ok(())
    }
}
