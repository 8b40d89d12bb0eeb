//! What a question reads is of one moment, and costs no more than questions may.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};

use super::{
    StoreError,
    series::{Apart, Needed, Series},
    to_its_end,
};
use crate::{
    config::Questions,
    project::ProjectId,
    room::{Room, Turn},
    stats::filter::Filter,
};

/// Opens snapshots.
#[derive(Clone)]
pub struct Reader {
    pool: PgPool,
    timeout: Duration,
    events: Room,
}

/// What a question reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A few bitmaps for each day.
    Activity,
    /// As many events as there are: such questions take turns, and the database spends one core on each.
    Events,
}

/// The database as it is at one moment.
pub struct Snapshot {
    /// With the turn; there until it is dropped.
    open: Option<(Transaction<'static, Postgres>, Option<Turn>)>,
}

impl Reader {
    pub fn new(pool: PgPool, config: &Questions) -> Self {
        let timeout = config.question_timeout;
        Self { pool, timeout, events: Room::new(config.event_questions.into()) }
    }

    /// How long the database may work on a question.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The database as it is now, for a question about events that pass these filters. If activity does not know the answer,
    /// it comes with a turn to read events; whether it does is asked of the same moment.
    pub async fn snapshot_about(
        &self,
        project_id: ProjectId,
        filters: &[&Filter],
        apart: Apart<'_>,
    ) -> Result<Snapshot, StoreError> {
        if filters.iter().all(|filter| Needed::by(filter, apart) != Needed::Events) {
            let mut snapshot = self.snapshot(project_id, Source::Activity).await?;
            let mut known = true;
            for filter in filters {
                known = known && Series::of(&mut snapshot, project_id, filter, apart).await?.is_some();
            }
            if known {
                return Ok(snapshot);
            }
        }
        self.snapshot(project_id, Source::Events).await
    }

    /// The database as it is now, for a question of the project.
    pub async fn snapshot(&self, project_id: ProjectId, source: Source) -> Result<Snapshot, StoreError> {
        let turn = match source {
            Source::Activity => None,
            Source::Events => {
                let turn = self.events.turn(project_id, self.timeout).await;
                Some(turn.ok_or(StoreError::NoTurn)?)
            }
        };
        let begin = format!(
            "begin isolation level repeatable read, read only;
             set local statement_timeout = {};
             set local max_parallel_workers_per_gather = 0",
            self.timeout.as_millis().max(1)
        );
        let pool = self.pool.clone();
        // Whoever goes meanwhile leaves the turn to the transaction, too.
        let opened = to_its_end(async move { Ok((pool.begin_with(AssertSqlSafe(begin)).await?, turn)) });
        let (transaction, turn) = opened.await?;
        Ok(Snapshot { open: Some((transaction, turn)) })
    }
}

impl Deref for Snapshot {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.open.as_ref().expect("it is there until it is dropped").0
    }
}

impl DerefMut for Snapshot {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.open.as_mut().expect("it is there until it is dropped").0
    }
}

impl Drop for Snapshot {
    /// A client that goes away drops its question while the database works on: the turn lasts until that is over.
    fn drop(&mut self) {
        if let Some((transaction, turn)) = self.open.take() {
            tokio::spawn(async move {
                // It waits for the statement under way, which ends at the timeout of questions at the latest.
                transaction.rollback().await.ok();
                drop(turn);
            });
        }
    }
}
