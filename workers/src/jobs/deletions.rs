//! Removes users and projects that were deleted, soon after.

use std::time::Duration;

use sqlx::PgPool;
use tracing::info;
use weir::{
    store::{StoreError, projects, users},
    telemetry::metrics,
};

use super::{Job, SOON};

/// Removes users who were deleted.
pub(crate) struct DeleteUsers(pub(crate) PgPool);

impl Job for DeleteUsers {
    const NOT_DONE: &'static str = "deleted users are not removed yet";

    fn pause(&self) -> Duration {
        SOON
    }

    async fn run(&mut self) -> Result<(), StoreError> {
        if let Some(users @ 1..) = users::deletions::carry_out(&self.0).await? {
            metrics::users_deleted(users);
            info!(users, "deleted users are removed from events and statistics");
        }
        Ok(())
    }
}

/// Removes projects that were deleted.
pub(crate) struct DeleteProjects(pub(crate) PgPool);

impl Job for DeleteProjects {
    const NOT_DONE: &'static str = "deleted projects are not removed yet";

    fn pause(&self) -> Duration {
        SOON
    }

    async fn run(&mut self) -> Result<(), StoreError> {
        let projects = projects::deletions::carry_out(&self.0).await?;
        if projects > 0 {
            info!(projects, "deleted projects are removed");
        }
        Ok(())
    }
}
