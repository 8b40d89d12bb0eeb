//! Reading activity: bitmaps of users, and counts. What they mean is decided in [`crate::stats`].

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use roaring::RoaringBitmap;
use sqlx::{PgConnection, PgPool};

use super::StoreError;
use crate::{project::ProjectId, stats::DailyUsers};

/// Events and users of one event type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTypeCount {
    pub event_type: String,
    pub events: i64,
    pub users: i64,
}

/// How many users were active on each day from `from` to `to`, both included. Days without users are absent.
pub async fn daily_active_users(
    pool: &PgPool,
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
    .fetch_all(pool)
    .await?;
    let counted = rows.iter().filter_map(|(day, count, _)| Some((day.date(), (*count)?.cast_unsigned())));
    let mut counts: BTreeMap<_, _> = counted.collect();
    let parts = rows.into_iter().filter_map(|(day, _, part)| Some((day, part?)));
    counts.extend(merged(parts)?.into_iter().map(|(day, users)| (day, users.len())));
    Ok(counts)
}

/// Who was active on each day from `from` to `to`, both included. Days without users are absent.
pub async fn daily_users(
    pool: &PgPool,
    project_id: ProjectId,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<DailyUsers, StoreError> {
    let parts: Vec<(NaiveDateTime, Vec<u8>)> = sqlx::query_as(
        "select local_day, users::bytea
         from activity_total_daily
         where project_id = $1 and local_day between $2 and $3",
    )
    .bind(project_id.get())
    .bind(midnight(from))
    .bind(midnight(to))
    .fetch_all(pool)
    .await?;
    merged(parts)
}

/// Who was active on any day before `date`, over all history.
pub async fn users_before(
    pool: &PgPool,
    project_id: ProjectId,
    date: NaiveDate,
) -> Result<RoaringBitmap, StoreError> {
    let bytes: Option<Vec<u8>> = sqlx::query_scalar(
        "select rb_or_agg(users)::bytea from activity_total_daily where project_id = $1 and local_day < $2",
    )
    .bind(project_id.get())
    .bind(midnight(date))
    .fetch_one(pool)
    .await?;
    bytes.map_or_else(|| Ok(RoaringBitmap::new()), |bytes| bitmap(&bytes))
}

/// The event types of a range of days, most events first, then by name.
pub async fn top_events(
    pool: &PgPool,
    project_id: ProjectId,
    from: NaiveDate,
    to: NaiveDate,
    limit: u32,
) -> Result<Vec<EventTypeCount>, StoreError> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "select event_type, sum(events)::bigint as events, rb_cardinality(rb_or_agg(users)) as users
         from activity_daily
         where project_id = $1 and local_day between $2 and $3
         group by event_type
         having sum(events) > 0
         order by events desc, event_type
         limit $4",
    )
    .bind(project_id.get())
    .bind(midnight(from))
    .bind(midnight(to))
    .bind(i64::from(limit))
    .fetch_all(pool)
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

/// Days of one or several parts each.
fn merged(parts: impl IntoIterator<Item = (NaiveDateTime, Vec<u8>)>) -> Result<DailyUsers, StoreError> {
    let mut users = DailyUsers::new();
    for (day, bytes) in parts {
        *users.entry(day.date()).or_default() |= bitmap(&bytes)?;
    }
    Ok(users)
}

fn bitmap(bytes: &[u8]) -> Result<RoaringBitmap, StoreError> {
    RoaringBitmap::deserialize_from(bytes).map_err(StoreError::Bitmap)
}
