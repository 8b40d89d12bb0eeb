//! What an operator wants to know of the database.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use sqlx::{Connection, PgConnection, PgPool};

use crate::model::project::{Project, ProjectId};
use crate::store::StoreError;

/// The database and its settings.
#[derive(Debug, sqlx::FromRow)]
pub struct About {
    pub postgresql: String,
    pub timescaledb: String,
    pub roaringbitmap: String,
    /// Settings without which what was committed can be lost with power.
    pub fsync: bool,
    pub synchronous_commit: bool,
    /// Its clock.
    pub now: DateTime<Utc>,
}

pub async fn about(pool: &PgPool) -> Result<About, StoreError> {
    let query = sqlx::query_as(
        "select current_setting('server_version') as postgresql,
                (select extversion from pg_extension where extname = 'timescaledb') as timescaledb,
                (select extversion from pg_extension where extname = 'roaringbitmap') as roaringbitmap,
                current_setting('fsync') = 'on' as fsync,
                current_setting('synchronous_commit') <> 'off' as synchronous_commit,
                clock_timestamp() as now",
    );
    Ok(query.fetch_one(pool).await?)
}

/// What the clock of the database shows.
pub async fn now(pool: &PgPool) -> Result<DateTime<Utc>, StoreError> {
    Ok(sqlx::query_scalar("select clock_timestamp()").fetch_one(pool).await?)
}

/// Whether any event is stored.
pub async fn has_events(pool: &PgPool) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("select exists (select from events)").fetch_one(pool).await?)
}

/// How many events of a project are counted, over all history.
pub async fn events_of(pool: &PgPool, project_id: ProjectId) -> Result<i64, StoreError> {
    let query = sqlx::query_scalar(
        "select coalesce(sum(events), 0)::bigint from activity_daily
         where project_id = $1 and event_type = '' and value_no = 0",
    );
    Ok(query.bind(project_id.get()).fetch_one(pool).await?)
}

/// Events of a project, as they are stored and as statistics count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    pub stored: i64,
    pub counted: i64,
}

/// The events of a project's days from `from` on. Both numbers are of the same moment.
pub async fn counts(pool: &PgPool, project: &Project, from: NaiveDate) -> Result<EventCounts, StoreError> {
    let mut connection = pool.acquire().await?;
    let mut moment = connection.begin_with("begin isolation level repeatable read, read only").await?;
    let stored = stored(&mut moment, project, from).await?;
    let counted = sqlx::query_scalar(
        "select coalesce(sum(events), 0)::bigint from activity_daily
         where project_id = $1 and local_day >= $2 and event_type = '' and value_no = 0",
    )
    .bind(project.id.get())
    .bind(from.and_time(NaiveTime::MIN))
    .fetch_one(&mut *moment)
    .await?;
    Ok(EventCounts { stored, counted })
}

async fn stored(
    connection: &mut PgConnection,
    project: &Project,
    from: NaiveDate,
) -> Result<i64, StoreError> {
    let query = sqlx::query_scalar("select count(*) from events where project_id = $1 and occurred_at >= $2");
    Ok(query.bind(project.id.get()).bind(project.start_of(from)).fetch_one(connection).await?)
}
