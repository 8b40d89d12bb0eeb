//! Reading activity: bitmaps of users, and counts. What they mean is decided in [`crate::stats`].

use std::collections::BTreeMap;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use roaring::RoaringBitmap;
use sqlx::{PgConnection, PgPool};

use super::{StoreError, condition::Condition};
use crate::{
    project::ProjectId,
    stats::{
        DailyUsers,
        filter::Filter,
        retention::same_day::HourlyUsers,
        timeseries::{ByPeriod, Happened},
    },
};

/// Events and users of one event type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTypeCount {
    pub event_type: String,
    pub events: i64,
    pub users: i64,
}

/// Who was active on each day from `from` to `to`, both included. Days without users are absent.
pub async fn daily_users(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<DailyUsers, StoreError> {
    let Condition { only, except, .. } = Condition::of(filter);
    let rows: Vec<(NaiveDateTime, Vec<u8>)> = sqlx::query_as(
        "select local_day, rb_or_agg(users)::bytea
         from activity_daily
         where project_id = $1 and local_day between $2 and $3
           and ($4::text[] is null or event_type = any($4)) and event_type <> all($5)
         group by local_day",
    )
    .bind(project_id.get())
    .bind(midnight(from))
    .bind(midnight(to))
    .bind(only)
    .bind(except)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|(day, bytes)| Ok((day.date(), bitmap(&bytes)?))).collect()
}

/// Who was active in each hour of `[from, to)`. Hours without users are absent.
pub async fn hourly_users(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    from: NaiveDateTime,
    to: NaiveDateTime,
) -> Result<HourlyUsers, StoreError> {
    let Condition { only, except, .. } = Condition::of(filter);
    let rows: Vec<(NaiveDateTime, Vec<u8>)> = sqlx::query_as(
        "select local_hour, rb_or_agg(users)::bytea
         from activity_hourly
         where project_id = $1 and local_hour >= $2 and local_hour < $3
           and ($4::text[] is null or event_type = any($4)) and event_type <> all($5)
         group by local_hour",
    )
    .bind(project_id.get())
    .bind(from)
    .bind(to)
    .bind(only)
    .bind(except)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|(hour, bytes)| Ok((hour, bitmap(&bytes)?))).collect()
}

/// Who was active on any day before `date`, over all history.
pub async fn users_before(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    date: NaiveDate,
) -> Result<RoaringBitmap, StoreError> {
    let Condition { only, except, .. } = Condition::of(filter);
    let bytes: Option<Vec<u8>> = sqlx::query_scalar(
        "select rb_or_agg(users)::bytea
         from activity_daily
         where project_id = $1 and local_day < $2
           and ($3::text[] is null or event_type = any($3)) and event_type <> all($4)",
    )
    .bind(project_id.get())
    .bind(midnight(date))
    .bind(only)
    .bind(except)
    .fetch_one(connection)
    .await?;
    bytes.map_or_else(|| Ok(RoaringBitmap::new()), |bytes| bitmap(&bytes))
}

/// Whether periods are put together from days or from hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    Hour,
    Day,
}

/// What happened in each hour or on each day of `[from, to)`; by event type, or all of them under none.
pub async fn happened(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    grain: Grain,
    (from, to): (NaiveDateTime, NaiveDateTime),
    by_event_type: bool,
) -> Result<BTreeMap<Option<String>, ByPeriod>, StoreError> {
    let Condition { only, except, .. } = Condition::of(filter);
    let statement = match grain {
        Grain::Hour => {
            "select case when $6 then event_type end as value, local_hour, sum(events)::bigint, rb_or_agg(users)::bytea
             from activity_hourly
             where project_id = $1 and local_hour >= $2 and local_hour < $3
               and ($4::text[] is null or event_type = any($4)) and event_type <> all($5)
             group by value, local_hour
             having sum(events) > 0"
        }
        Grain::Day => {
            "select case when $6 then event_type end as value, local_day, sum(events)::bigint, rb_or_agg(users)::bytea
             from activity_daily
             where project_id = $1 and local_day >= $2 and local_day < $3
               and ($4::text[] is null or event_type = any($4)) and event_type <> all($5)
             group by value, local_day
             having sum(events) > 0"
        }
    };
    let rows: Vec<(Option<String>, NaiveDateTime, i64, Vec<u8>)> = sqlx::query_as(statement)
        .bind(project_id.get())
        .bind(from)
        .bind(to)
        .bind(only)
        .bind(except)
        .bind(by_event_type)
        .fetch_all(connection)
        .await?;
    let mut values: BTreeMap<_, ByPeriod> = BTreeMap::new();
    for (value, period, events, users) in rows {
        values.entry(value).or_default().insert(period, Happened { events, users: bitmap(&users)? });
    }
    Ok(values)
}

/// The event types of a range of days, most events first, then by name.
pub async fn top_events(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    (from, to): (NaiveDate, NaiveDate),
    limit: u32,
) -> Result<Vec<EventTypeCount>, StoreError> {
    let Condition { only, except, .. } = Condition::of(filter);
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "select event_type, sum(events)::bigint as events, rb_cardinality(rb_or_agg(users)) as users
         from activity_daily
         where project_id = $1 and local_day between $2 and $3
           and ($5::text[] is null or event_type = any($5)) and event_type <> all($6)
         group by event_type
         having sum(events) > 0
         order by events desc, event_type
         limit $4",
    )
    .bind(project_id.get())
    .bind(midnight(from))
    .bind(midnight(to))
    .bind(i64::from(limit))
    .bind(only)
    .bind(except)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(event_type, events, users)| EventTypeCount { event_type, events, users })
        .collect())
}

/// Sums up the deltas of the hours before `horizon`, see `sql/`; false if someone else is at it.
///
/// The lock belongs to the session, because the procedure may commit in between.
pub async fn roll_up(pool: &PgPool, horizon: NaiveDateTime) -> Result<bool, StoreError> {
    let mut connection = pool.acquire().await?;
    if !try_lock(&mut connection).await? {
        return Ok(false);
    }
    if let Err(error) = sqlx::query("call roll_up($1)").bind(horizon).execute(&mut *connection).await {
        connection.close_on_drop(); // and with it the lock
        return Err(error.into());
    }
    unlock(&mut connection).await?;
    Ok(true)
}

/// Keeps others from rolling up, for as long as the session lives or until [`unlock`]; false if someone else is at it.
pub(super) async fn try_lock(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar("select pg_try_advisory_lock(hashtext('weir.roll_up'))");
    Ok(query.fetch_one(connection).await?)
}

pub(super) async fn unlock(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("select pg_advisory_unlock(hashtext('weir.roll_up'))").execute(connection).await?;
    Ok(())
}

fn midnight(date: NaiveDate) -> NaiveDateTime {
    date.and_time(NaiveTime::MIN)
}

pub(super) fn bitmap(bytes: &[u8]) -> Result<RoaringBitmap, StoreError> {
    RoaringBitmap::deserialize_from(bytes).map_err(StoreError::Bitmap)
}
