//! Rebuilds what activity knows of promoted properties, a few days at a time.

use std::time::Duration;

use sqlx::PgPool;
use tracing::info;
use weir::store::{
    StoreError,
    promotions::rebuild::{self, Rebuilt},
};

use super::{Job, STEP};

pub(crate) struct Rebuild(pub(crate) PgPool);

impl Job for Rebuild {
    const NOT_DONE: &'static str = "activity of promoted properties is not rebuilt yet";

    fn pause(&self) -> Duration {
        STEP
    }

    async fn run(&mut self) -> Result<(), StoreError> {
        if let Some(Rebuilt { days, ready, removed, failed }) = rebuild::carry_out(&self.0).await? {
            info!(days, ready, removed, failed, "activity of promoted properties is rebuilt");
        }
        Ok(())
    }
}
