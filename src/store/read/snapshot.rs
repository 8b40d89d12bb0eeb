//! What a question reads is of one moment, and costs no more than questions may.

use std::{
    ops::{Deref, DerefMut},
    pin::pin,
    time::Duration,
};

use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::store::{StoreError, to_its_end};
use crate::{
    config::Queries,
    limits::fair_semaphore::{FairSemaphore, Permit},
    model::project::ProjectId,
};

/// A transaction with nothing under way rolls back within it.
const PATIENCE: Duration = Duration::from_millis(100);

/// Opens snapshots.
#[derive(Clone)]
pub struct Reader {
    pool: PgPool,
    /// Not for questions: connections on which those that are abandoned are cancelled.
    beside: PgPool,
    timeout: Duration,
    events: FairSemaphore,
}

/// The database as it is at one moment.
pub struct Snapshot {
    /// There until it is dropped.
    open: Option<Open>,
}

struct Open {
    transaction: Transaction<'static, Postgres>,
    permit: Option<Permit>,
    /// Under which the database lists it.
    name: String,
    beside: PgPool,
}

impl Reader {
    pub fn new(pool: PgPool, beside: PgPool, config: &Queries) -> Self {
        let timeout = config.query_timeout;
        Self { pool, beside, timeout, events: FairSemaphore::new(config.event_queries.into()) }
    }

    /// How long the database may work on a question.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The database as it is now, for a query that reads a few bitmaps for each day.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.begin(None).await
    }

    /// The same for a query that reads as many events as there are: such queries need a permit, and the database spends one
    /// core on each.
    pub async fn snapshot_with_permit(&self, project_id: ProjectId) -> Result<Snapshot, StoreError> {
        let permit = self.events.acquire(project_id, self.timeout).await;
        self.begin(Some(permit.ok_or(StoreError::NoPermit)?)).await
    }

    async fn begin(&self, permit: Option<Permit>) -> Result<Snapshot, StoreError> {
        let name = format!("weir question {}", Uuid::new_v4().simple());
        let begin = format!(
            "begin isolation level repeatable read, read only;
             set local application_name = '{name}';
             set local statement_timeout = {};
             set local max_parallel_workers_per_gather = 0",
            self.timeout.as_millis().max(1)
        );
        let pool = self.pool.clone();
        // Whoever goes meanwhile leaves the permit to the transaction, too.
        let opened = to_its_end(async move { Ok((pool.begin_with(AssertSqlSafe(begin)).await?, permit)) });
        let (transaction, permit) = opened.await?;
        Ok(Snapshot { open: Some(Open { transaction, permit, name, beside: self.beside.clone() }) })
    }
}

impl Open {
    /// Ends the transaction, and what the database still does for it.
    async fn end(self) {
        let Self { transaction, permit, name, beside } = self;
        let mut rollback = pin!(transaction.rollback());
        if tokio::time::timeout(PATIENCE, &mut rollback).await.is_err() {
            let cancel = "select pg_cancel_backend(pid) from pg_stat_activity where application_name = $1";
            // If it cannot be cancelled, the timeout of questions ends it.
            sqlx::query(cancel).bind(name).execute(&beside).await.ok();
            rollback.await.ok();
        }
        drop(permit);
    }
}

impl Deref for Snapshot {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.open.as_ref().expect("it is there until it is dropped").transaction
    }
}

impl DerefMut for Snapshot {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.open.as_mut().expect("it is there until it is dropped").transaction
    }
}

impl Drop for Snapshot {
    /// A client that goes away drops its question while the database works on: that is cancelled, and the permit lasts until it is
    /// over.
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            tokio::spawn(open.end());
        }
    }
}
