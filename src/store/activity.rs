//! Reading activity: bitmaps of users, and counts. What they mean is decided in [`crate::stats`].

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime, Utc};
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

/// How many users were active on each day from `from` to `to`, both included. Days without users are absent.
pub async fn daily_counts(
    connection: &mut PgConnection,
    project_id: ProjectId,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<BTreeMap<NaiveDate, u64>, StoreError> {
    // A day that is one row is counted where it is: its bitmap is the larger the longer the day is over.
    let rows: Vec<(NaiveDateTime, Option<i64>, Option<Vec<u8>>)> = sqlx::query_as(
        "select local_day,
                case when count(*) over day = 1 then rb_cardinality(users) end,
                case when count(*) over day > 1 then users::bytea end
         from activity_total_daily
         where project_id = $1 and local_day between $2 and $3
         window day as (partition by local_day)",
    )
    .bind(project_id.get())
    .bind(midnight(from))
    .bind(midnight(to))
    .fetch_all(connection)
    .await?;
    let counted = rows.iter().filter_map(|(day, count, _)| Some((day.date(), (*count)?.cast_unsigned())));
    let mut counts: BTreeMap<_, _> = counted.collect();
    let parts = rows.into_iter().filter_map(|(day, _, part)| Some((day, part?)));
    counts.extend(merged(parts)?.into_iter().map(|(day, users)| (day.date(), users.len())));
    Ok(counts)
}

/// Who was active on each day from `from` to `to`, both included. Days without users are absent.
pub async fn daily_users(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<DailyUsers, StoreError> {
    let parts: Vec<(NaiveDateTime, Vec<u8>)> = if filter.is_everything() {
        sqlx::query_as(
            "select local_day, users::bytea
             from activity_total_daily
             where project_id = $1 and local_day between $2 and $3",
        )
        .bind(project_id.get())
        .bind(midnight(from))
        .bind(midnight(to))
        .fetch_all(connection)
        .await?
    } else {
        let Condition { only, except, .. } = Condition::of(filter);
        sqlx::query_as(
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
        .await?
    };
    Ok(merged(parts)?.into_iter().map(|(day, users)| (day.date(), users)).collect())
}

/// Who was active in each hour of `[from, to)`. Hours without users are absent.
pub async fn hourly_users(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    from: NaiveDateTime,
    to: NaiveDateTime,
) -> Result<HourlyUsers, StoreError> {
    let parts: Vec<(NaiveDateTime, Vec<u8>)> = if filter.is_everything() {
        sqlx::query_as(
            "select local_hour, users::bytea
             from activity_total_hourly
             where project_id = $1 and local_hour >= $2 and local_hour < $3",
        )
        .bind(project_id.get())
        .bind(from)
        .bind(to)
        .fetch_all(connection)
        .await?
    } else {
        let Condition { only, except, .. } = Condition::of(filter);
        sqlx::query_as(
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
        .await?
    };
    merged(parts)
}

/// Who was active on any day before `date`, over all history.
pub async fn users_before(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    date: NaiveDate,
) -> Result<RoaringBitmap, StoreError> {
    let bytes: Option<Vec<u8>> = if filter.is_everything() {
        sqlx::query_scalar(
            "select rb_or_agg(users)::bytea from activity_total_daily where project_id = $1 and local_day < $2",
        )
        .bind(project_id.get())
        .bind(midnight(date))
        .fetch_one(connection)
        .await?
    } else {
        let Condition { only, except, .. } = Condition::of(filter);
        sqlx::query_scalar(
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
        .await?
    };
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

/// The wall-clock time before which hours are closed in every time zone, with a day to spare: local clocks differ by
/// up to 26 hours.
pub fn horizon() -> NaiveDateTime {
    midnight(Utc::now().date_naive() - Days::new(2))
}

/// Sums up the deltas of the hours before the [`horizon`], see `sql/`; false if someone else is at it.
///
/// The lock belongs to the session, because the procedure may commit in between.
pub async fn roll_up(pool: &PgPool) -> Result<bool, StoreError> {
    let mut connection = pool.acquire().await?;
    if !try_lock(&mut connection).await? {
        return Ok(false);
    }
    if let Err(error) = sqlx::query("call roll_up($1)").bind(horizon()).execute(&mut *connection).await {
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

/// The users of days or hours that have one or several parts each.
fn merged(
    parts: impl IntoIterator<Item = (NaiveDateTime, Vec<u8>)>,
) -> Result<BTreeMap<NaiveDateTime, RoaringBitmap>, StoreError> {
    let mut users = BTreeMap::<_, RoaringBitmap>::new();
    for (period, bytes) in parts {
        *users.entry(period).or_default() |= bitmap(&bytes)?;
    }
    Ok(users)
}

pub(super) fn bitmap(bytes: &[u8]) -> Result<RoaringBitmap, StoreError> {
    RoaringBitmap::deserialize_from(bytes).map_err(StoreError::Bitmap)
}
