//! Writing batches: events, their activity and the number of their message in one transaction, each event once.
//!
//! Straight COPY into the hypertable first; only when that meets an event which is stored already, the transaction is
//! done again through a staging table that separates old from new.

mod copies_of_other_times;
pub mod copy_format;
pub mod deltas;
mod events;
mod properties;
mod rows;
pub mod settled;

use std::{collections::BTreeSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use sqlx::{Connection, PgConnection, PgPool};

use self::{
    deltas::Deltas,
    rows::{EventRow, Rows},
};
use super::{
    BEGIN, ErrorKind, StoreError,
    incarnation::{Generation, Incarnation},
    promotions::known::{Promoted, Promotions},
    users::{LinkRefusal, known::Users, traits::RefusedTraits},
};
use crate::{
    model::{
        event::{Batch, Copies},
        project::Project,
    },
    stream::lane_of,
};

/// A database that has not answered by then is lost: a host that vanishes says nothing.
const PATIENCE: Duration = Duration::from_mins(1);

/// Events to be written, all of one message or a part of it.
#[derive(Clone, Debug)]
pub struct MessagePart<'a> {
    pub project: Arc<Project>,
    pub batch: Batch<'a>,
    /// The number of the message in the stream.
    pub sequence: u64,
}

/// Numbers that are given once, remembered between transactions.
#[derive(Clone, Default)]
pub struct Dictionaries {
    users: Users,
    promotions: Promotions,
}

/// What a transaction did: the sum of the numbers is that of the events that it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub stored: usize,
    /// Events that were stored before, or stood twice among these.
    pub duplicates: usize,
    /// Events of users who were deleted after these were received.
    pub of_deleted_users: usize,
    /// Events of projects that were deleted after these were received.
    pub of_deleted_projects: usize,
    /// Events from before the time of which events are kept.
    pub expired: usize,
    /// Events that only say something of their users: they are not stored.
    pub only_about_users: usize,
    /// Links in these events that were not made; they do not count among events.
    pub refused_links: Vec<LinkRefusal>,
    pub refused_traits: RefusedTraits,
}

/// Nothing was stored, or the database was lost before it could say so; storing again is safe.
#[derive(Debug)]
pub struct NotWritten {
    pub error: StoreError,
    /// The event that the database has named as the one it refuses: the indices of its part and of it.
    pub culprit: Option<(usize, usize)>,
}

impl<E: Into<StoreError>> From<E> for NotWritten {
    fn from(error: E) -> Self {
        Self { error: error.into(), culprit: None }
    }
}

/// What writers must agree on, as it was when their transaction began.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
struct Terms {
    #[sqlx(flatten)]
    incarnation: Incarnation,
    /// Grows when users are deleted or merged: numbers of users that were looked up before may be wrong.
    users_generation: i64,
    /// Grows with each property that is promoted, demoted or stopped.
    promotions_generation: i64,
    /// Events before this are not kept. Absent: all are.
    events_from: Option<DateTime<Utc>>,
    deleted_projects: Vec<i32>,
}

impl Terms {
    fn users(&self) -> Generation {
        (Some(self.incarnation), self.users_generation)
    }

    fn promotions(&self) -> Generation {
        (Some(self.incarnation), self.promotions_generation)
    }
}

/// Stores parts of messages of the stream that was created at `stream`. Copies of an event that are received within
/// `window` of each other are one event.
pub async fn write(
    pool: &PgPool,
    dictionaries: &Dictionaries,
    window: TimeDelta,
    stream: DateTime<Utc>,
    parts: &[MessagePart<'_>],
) -> Result<Written, NotWritten> {
    let mut connection = pool.acquire().await?;
    // Events that make weir panic must not end the worker, which would meet them again.
    let writing =
        AssertUnwindSafe(write_on(&mut connection, dictionaries, window, stream, parts)).catch_unwind();
    let written = match tokio::time::timeout(PATIENCE, writing).await {
        Ok(Ok(written)) => written,
        Ok(Err(_panic)) => Err(StoreError::Panicked.into()),
        Err(_) => Err(StoreError::TimedOut.into()),
    };
    if written.as_ref().is_err_and(|not_written| !not_written.error.leaves_connection_usable()) {
        connection.close_on_drop(); // whatever is wrong with it, the next try has a new one
    }
    written
}

async fn write_on(
    connection: &mut PgConnection,
    Dictionaries { users, promotions }: &Dictionaries,
    window: TimeDelta,
    stream: DateTime<Utc>,
    parts: &[MessagePart<'_>],
) -> Result<Written, NotWritten> {
    let mut way = Way::Straight;
    loop {
        let promoted = promotions.current();
        let generations = (users.generation(), promoted.number);
        let mut rows = rows::of(connection, users, parts).await?;
        properties::number_values(connection, &promoted, &mut rows.events).await?;
        match store(connection, rows, window, (generations, &promoted), (stream, parts), way).await {
            Ok(Stored::Done(written)) => return Ok(written),
            Ok(Stored::Outdated(terms)) => {
                if terms.users() != users.generation() {
                    users.catch_up(connection, terms.users()).await?;
                }
                if terms.promotions() != promoted.number {
                    promotions.look_up(connection, terms.incarnation).await?;
                }
            }
            Err(NotWritten { error, .. }) if way == Way::Straight && error.kind() == ErrorKind::Duplicate => {
                way = Way::Staged;
            }
            Err(error) => return Err(error),
        }
    }
}

/// How rows get into the hypertable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Fails when one of them is there.
    Straight,
    /// Passes over those that are there.
    Staged,
}

enum Stored {
    Done(Written),
    /// Users were deleted or merged, or properties promoted or demoted, since they were looked up.
    Outdated(Terms),
}

/// One transaction.
async fn store(
    connection: &mut PgConnection,
    Rows { events: mut rows, of_deleted_users, only_about_users, refused_links, told }: Rows<'_>,
    window: TimeDelta,
    (generations, promoted): ((Generation, Generation), &Promoted),
    (stream, parts): (DateTime<Utc>, &[MessagePart<'_>]),
    way: Way,
) -> Result<Stored, NotWritten> {
    let received: usize = parts.iter().map(|part| part.batch.events.len()).sum();
    let lanes: BTreeSet<i32> = rows.iter().map(|row| lane_of(row.project.id).cast_signed()).collect();
    let alone = rows.iter().any(|row| row.copies != Copies::None);
    let mut transaction = connection.begin_with(BEGIN).await?;
    let terms: Terms = sqlx::query_as(
        "select users_generation, promotions_generation, events_from, deleted_projects,
                    pg_postmaster_start_time() as server_started,
                    (select oid::bigint from pg_database where datname = current_database()) as database_no
             from agree($1, $2)",
    )
    .bind(lanes.into_iter().collect::<Vec<_>>())
    .bind(alone)
    .fetch_one(&mut *transaction)
    .await?;
    if (terms.users(), terms.promotions()) != generations {
        transaction.rollback().await?;
        return Ok(Stored::Outdated(terms));
    }
    let before = rows.len();
    rows.retain(|row| !terms.deleted_projects.contains(&row.project.id.get()));
    let of_deleted_projects = before - rows.len();
    let before = rows.len();
    rows.retain(|row| terms.events_from.is_none_or(|from| row.occurred_at >= from));
    let expired = before - rows.len();
    copies_of_other_times::take_out(&mut transaction, &mut rows, window).await?;
    match way {
        Way::Straight => events::copy(&mut transaction, "events", &rows).await?,
        Way::Staged => {
            let new = events::copy_staged(&mut transaction, &rows).await?;
            rows.retain(|row| new.contains(&row.identity()));
        }
    }
    deltas(&rows, promoted).insert(&mut transaction).await?;
    let refused_traits = told.keep(&mut transaction, &terms.deleted_projects).await?;
    settled::add(&mut transaction, stream, parts.iter().map(|part| part.sequence)).await?;
    transaction.commit().await?;
    let stored = rows.len();
    let dropped = of_deleted_users + of_deleted_projects + expired;
    let duplicates = received - only_about_users - dropped - stored;
    Ok(Stored::Done(Written {
        stored,
        duplicates,
        of_deleted_users,
        of_deleted_projects,
        expired,
        only_about_users,
        refused_links,
        refused_traits,
    }))
}

/// What rows do to activity.
fn deltas<'a>(rows: &'a [EventRow<'a>], promoted: &Promoted) -> Deltas<'a> {
    let mut deltas = Deltas::default();
    for row in rows {
        let hour = promoted.zone(row.project).hour(row.occurred_at);
        deltas.add(row.project.id, &row.event.event_type, &row.value_nos, hour, row.user_no);
    }
    deltas
}
