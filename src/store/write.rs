//! Writing batches: events and their activity in one transaction, each event once.
//!
//! Straight COPY into the hypertable first; only when that meets an event which is stored already, the transaction is
//! done again through a staging table that tells old from new.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use roaring::RoaringBitmap;
use sqlx::{Connection, PgConnection, PgPool, Row as _};
use uuid::Uuid;

use super::{BEGIN, StoreError, copy::CopyRows, users::Users};
use crate::{
    event::{Batch, Event},
    project::{Project, ProjectId},
};

/// How far back an event without a time of its own is looked for: its time is that of its receipt, so a copy of it has
/// another time, and the unique index cannot recognise it.
const UNTIMED_WINDOW: TimeDelta = TimeDelta::days(2);

/// A database that has not answered by then is lost: a host that vanishes says nothing.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a transaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub stored: usize,
    /// Events that were stored before, or stood twice among these.
    pub duplicates: usize,
}

/// One event as it will be stored.
struct Row<'a> {
    project: &'a Project,
    event: &'a Event<'a>,
    occurred_at: DateTime<Utc>,
    received_at: DateTime<Utc>,
    user_no: Option<i32>,
}

type Identity = (ProjectId, Uuid, DateTime<Utc>);

impl Row<'_> {
    /// What the unique index compares.
    fn identity(&self) -> Identity {
        (self.project.id, self.event.event_id, self.occurred_at)
    }

    fn is_untimed(&self) -> bool {
        self.event.occurred_at.is_none()
    }
}

/// Stores batches, each with its project. When this returns an error, nothing of them is stored, or the database was lost
/// before it could say so; storing them again is safe.
pub async fn write(
    pool: &PgPool,
    users: &Users,
    batches: &[(&Project, &Batch<'_>)],
) -> Result<Written, StoreError> {
    let mut connection = pool.acquire().await?;
    let written = tokio::time::timeout(PATIENCE, write_on(&mut connection, users, batches)).await;
    let written = written.unwrap_or(Err(StoreError::TimedOut));
    if written.as_ref().is_err_and(|error| !error.is_refusal()) {
        connection.close_on_drop(); // whatever is wrong with it, the next try has a new one
    }
    written
}

async fn write_on(
    connection: &mut PgConnection,
    users: &Users,
    batches: &[(&Project, &Batch<'_>)],
) -> Result<Written, StoreError> {
    let mut rows = rows(connection, users, batches).await?;
    let received = rows.len();
    // Writers with the same events mostly meet them in the same order then. Where they deadlock nevertheless, one of
    // them tries again.
    rows.sort_by_key(Row::identity);
    rows.dedup_by_key(|row| row.identity());

    let stored = match store(connection, &mut rows, Way::Straight).await {
        Err(StoreError::Database(error)) if is_duplicate(&error) => {
            store(connection, &mut rows, Way::Staged).await?
        }
        other => other?,
    };
    Ok(Written { stored, duplicates: received - stored })
}

fn is_duplicate(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

async fn rows<'a>(
    connection: &mut PgConnection,
    users: &Users,
    batches: &'a [(&'a Project, &'a Batch<'a>)],
) -> Result<Vec<Row<'a>>, StoreError> {
    let mut user_ids: BTreeMap<ProjectId, BTreeSet<&str>> = BTreeMap::new();
    for (project, batch) in batches {
        let ids = batch.events.iter().filter_map(|event| event.user_id.as_deref());
        user_ids.entry(project.id).or_default().extend(ids);
    }
    let mut numbers = HashMap::new();
    for (project_id, user_ids) in user_ids {
        numbers.insert(project_id, users.numbers(connection, project_id, user_ids.into_iter()).await?);
    }
    let rows = batches.iter().flat_map(|(project, batch)| {
        let numbers = &numbers[&project.id];
        batch.events.iter().map(move |event| Row {
            project,
            event,
            occurred_at: batch.occurred_at(event),
            received_at: batch.received_at,
            user_no: event.user_id.as_deref().and_then(|user_id| numbers.get(user_id).copied()),
        })
    });
    Ok(rows.collect())
}

/// How rows get into the hypertable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Fails when one of them is there.
    Straight,
    /// Passes over those that are there.
    Staged,
}

/// One transaction; the number of events that it stored. Rows that were stored before are taken out of `rows`.
async fn store(
    connection: &mut PgConnection,
    rows: &mut Vec<Row<'_>>,
    way: Way,
) -> Result<usize, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    drop_known_untimed(&mut transaction, rows).await?;
    match way {
        Way::Straight => copy(&mut transaction, "events", rows).await?,
        Way::Staged => {
            let new = copy_staged(&mut transaction, rows).await?;
            rows.retain(|row| new.contains(&row.identity()));
        }
    }
    add_activity(&mut transaction, rows).await?;
    transaction.commit().await?;
    Ok(rows.len())
}

/// Takes out the events without a time of their own whose id is stored, or stands earlier among the rows.
///
/// A lock per project makes writers with such events take turns: the index would let both of two copies in.
async fn drop_known_untimed(
    transaction: &mut PgConnection,
    rows: &mut Vec<Row<'_>>,
) -> Result<(), StoreError> {
    let untimed: Vec<&Row<'_>> = rows.iter().filter(|row| row.is_untimed()).collect();
    let Some(oldest) = untimed.iter().map(|row| row.occurred_at).min() else { return Ok(()) };
    let projects: BTreeSet<ProjectId> = untimed.iter().map(|row| row.project.id).collect();
    for project_id in projects {
        sqlx::query("select pg_advisory_xact_lock(hashtext('weir.untimed'), $1)")
            .bind(project_id.get())
            .execute(&mut *transaction)
            .await?;
    }
    let project_ids: Vec<i32> = untimed.iter().map(|row| row.project.id.get()).collect();
    let event_ids: Vec<Uuid> = untimed.iter().map(|row| row.event.event_id).collect();
    let found: Vec<(i32, Uuid)> = sqlx::query_as(
        "select project_id, event_id
         from events join unnest($1::int[], $2::uuid[]) as sent (project_id, event_id) using (project_id, event_id)
         where occurred_at >= $3",
    )
    .bind(project_ids)
    .bind(event_ids)
    .bind(oldest - UNTIMED_WINDOW)
    .fetch_all(transaction)
    .await?;
    let mut known: HashSet<(i32, Uuid)> = found.into_iter().collect();
    // Rows are sorted by id and time: the first of several copies stays.
    rows.retain(|row| !row.is_untimed() || known.insert((row.project.id.get(), row.event.event_id)));
    Ok(())
}

async fn copy(connection: &mut PgConnection, table: &str, rows: &[Row<'_>]) -> Result<(), StoreError> {
    let mut bytes = CopyRows::new(7);
    for row in rows {
        bytes.begin_row();
        bytes.timestamptz(row.occurred_at);
        bytes.timestamptz(row.received_at);
        bytes.int(row.project.id.get());
        bytes.int_or_null(row.user_no);
        bytes.uuid(row.event.event_id);
        bytes.text(&row.event.event_type);
        bytes.jsonb(&row.event.properties);
    }
    let statement = format!(
        "copy {table} (occurred_at, received_at, project_id, user_no, event_id, event_type, properties)
         from stdin (format binary)"
    );
    let mut copy = connection.copy_in_raw(&statement).await?;
    copy.send(bytes.finish()).await?;
    copy.finish().await?;
    Ok(())
}

/// Copies through a staging table; the identities of the rows that were new.
async fn copy_staged(
    connection: &mut PgConnection,
    rows: &[Row<'_>],
) -> Result<HashSet<Identity>, StoreError> {
    sqlx::query("create temporary table staging (like events) on commit drop")
        .execute(&mut *connection)
        .await?;
    copy(connection, "staging", rows).await?;
    let new = sqlx::query(
        "insert into events select * from staging
         on conflict (project_id, event_id, occurred_at) do nothing
         returning project_id, event_id, occurred_at",
    )
    .fetch_all(connection)
    .await?;
    new.iter()
        .map(|row| {
            let project_id = ProjectId::from_stored(row.try_get(0)?);
            Ok((project_id, row.try_get(1)?, row.try_get(2)?))
        })
        .collect()
}

/// Adds what the rows did to activity: a delta per project, event type and hour.
async fn add_activity(connection: &mut PgConnection, rows: &[Row<'_>]) -> Result<(), StoreError> {
    let mut deltas: BTreeMap<(ProjectId, &str, NaiveDateTime), (RoaringBitmap, i64)> = BTreeMap::new();
    for row in rows {
        let hour = row.project.local_hour(row.occurred_at);
        let (users, events) = deltas.entry((row.project.id, &row.event.event_type, hour)).or_default();
        users.extend(row.user_no.map(i32::cast_unsigned));
        *events += 1;
    }
    let (mut project_ids, mut event_types, mut hours) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bitmaps, mut counts) = (Vec::new(), Vec::new());
    for ((project_id, event_type, hour), (mut users, events)) in deltas {
        users.optimize();
        let mut bitmap = Vec::with_capacity(users.serialized_size());
        users.serialize_into(&mut bitmap).expect("a vector takes all bytes");
        project_ids.push(project_id.get());
        event_types.push(event_type);
        hours.push(hour);
        bitmaps.push(bitmap);
        counts.push(events);
    }
    sqlx::query(
        "insert into activity (project_id, event_type, local_hour, users, events)
         select project_id, event_type, local_hour, users::roaringbitmap, events
         from unnest($1::int[], $2::text[], $3::timestamp[], $4::bytea[], $5::bigint[])
              as delta (project_id, event_type, local_hour, users, events)",
    )
    .bind(project_ids)
    .bind(event_types)
    .bind(hours)
    .bind(bitmaps)
    .bind(counts)
    .execute(connection)
    .await?;
    Ok(())
}
