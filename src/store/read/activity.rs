//! Reading activity: bitmaps of users, and counts. What they mean is decided in [`crate::stats`].

use std::{collections::BTreeMap, ops::Range};

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use futures::TryStreamExt;
use roaring::{MultiOps, RoaringBitmap};
use sqlx::{PgConnection, PgPool};

use super::{condition::Condition, source::ActivityRows};
use crate::store::StoreError;
use crate::{
    model::{project::ProjectId, range::DayRange},
    stats::{
        DailyUsers,
        label::{Breakdown, Label},
        retention::same_day::HourlyUsers,
        timeseries::{ByPeriod, Happened, Measure},
    },
};

/// Events and users of one event type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTypeCount {
    pub event_type: String,
    pub events: i64,
    pub users: i64,
}

/// Event type, number of a value, period, events, users.
type Row = (String, i32, NaiveDateTime, i64, Option<Vec<u8>>);

/// How many users were active on each day. Days without users are absent.
pub async fn daily_active_users(
    connection: &mut PgConnection,
    project_id: ProjectId,
    of: &ActivityRows,
    days: DayRange,
) -> Result<BTreeMap<NaiveDate, u64>, StoreError> {
    let Condition { only, except, .. } = of.together();
    // A day that is one row is counted where it lies.
    let found: Vec<(NaiveDateTime, Option<i64>, Option<Vec<u8>>)> = sqlx::query_as(
        "select local_day,
                case when count(*) over day = 1 then rb_cardinality(users) end,
                case when count(*) over day > 1 then users::bytea end
         from activity_daily
         where project_id = $1 and local_day between $2 and $3
           and ($4::text[] is null or event_type = any($4)) and event_type <> all($5) and value_no = any($6)
         window day as (partition by local_day)",
    )
    .bind(project_id.get())
    .bind(midnight(days.from))
    .bind(midnight(days.to))
    .bind(only)
    .bind(except)
    .bind(of.value_nos())
    .fetch_all(connection)
    .await?;
    let counted = found.iter().filter_map(|(day, count, _)| Some((day.date(), (*count)?.cast_unsigned())));
    let mut counts: BTreeMap<_, _> = counted.collect();
    let rows = found.into_iter().filter_map(|(day, _, users)| Some((day.date(), users?)));
    counts.extend(merged(rows)?.into_iter().map(|(day, users)| (day, users.len())));
    Ok(counts)
}

/// Who was active on each day. Days without users are absent.
pub async fn daily_users(
    connection: &mut PgConnection,
    project_id: ProjectId,
    of: &ActivityRows,
    days: DayRange,
) -> Result<DailyUsers, StoreError> {
    let Condition { only, except, .. } = of.together();
    let found: Vec<(NaiveDateTime, Vec<u8>)> = sqlx::query_as(
        "select local_day, users::bytea
         from activity_daily
         where project_id = $1 and local_day between $2 and $3
           and ($4::text[] is null or event_type = any($4)) and event_type <> all($5) and value_no = any($6)",
    )
    .bind(project_id.get())
    .bind(midnight(days.from))
    .bind(midnight(days.to))
    .bind(only)
    .bind(except)
    .bind(of.value_nos())
    .fetch_all(connection)
    .await?;
    merged(found.into_iter().map(|(day, users)| (day.date(), users)))
}

/// Who was active in each hour. Hours without users are absent.
pub async fn hourly_users(
    connection: &mut PgConnection,
    project_id: ProjectId,
    of: &ActivityRows,
    time: Range<NaiveDateTime>,
) -> Result<HourlyUsers, StoreError> {
    let Condition { only, except, .. } = of.together();
    let found: Vec<(NaiveDateTime, Vec<u8>)> = sqlx::query_as(
        "select local_hour, users::bytea
         from activity_hourly
         where project_id = $1 and local_hour >= $2 and local_hour < $3
           and ($4::text[] is null or event_type = any($4)) and event_type <> all($5) and value_no = any($6)",
    )
    .bind(project_id.get())
    .bind(time.start)
    .bind(time.end)
    .bind(only)
    .bind(except)
    .bind(of.value_nos())
    .fetch_all(connection)
    .await?;
    merged(found)
}

/// Who was active on any day before `date`, over all history.
pub async fn users_before(
    connection: &mut PgConnection,
    project_id: ProjectId,
    of: &ActivityRows,
    date: NaiveDate,
) -> Result<RoaringBitmap, StoreError> {
    let Condition { only, except, .. } = of.together();
    let bytes: Option<Vec<u8>> = sqlx::query_scalar(
        "select rb_or_agg(users)::bytea
         from activity_daily
         where project_id = $1 and local_day < $2
           and ($3::text[] is null or event_type = any($3)) and event_type <> all($4) and value_no = any($5)",
    )
    .bind(project_id.get())
    .bind(midnight(date))
    .bind(only)
    .bind(except)
    .bind(of.value_nos())
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

/// What happened in each hour or on each day; by event type or by value, or all of them under none. Users are
/// there if they are what is measured.
pub async fn happened(
    connection: &mut PgConnection,
    project_id: ProjectId,
    of: &ActivityRows,
    grain: Grain,
    time: Range<NaiveDateTime>,
    breakdown: Option<&Breakdown>,
    measure: Measure,
) -> Result<BTreeMap<Label, ByPeriod>, StoreError> {
    let by_type = breakdown == Some(&Breakdown::EventType);
    let Condition { only, except, .. } = if by_type { of.of_each_type() } else { of.together() };
    let statement = match grain {
        Grain::Hour => {
            "select event_type, value_no, local_hour, events, case when $7 then users::bytea end
             from activity_hourly
             where project_id = $1 and local_hour >= $2 and local_hour < $3
               and ($4::text[] is null or event_type = any($4)) and event_type <> all($5) and value_no = any($6)"
        }
        Grain::Day => {
            "select event_type, value_no, local_day, events, case when $7 then users::bytea end
             from activity_daily
             where project_id = $1 and local_day >= $2 and local_day < $3
               and ($4::text[] is null or event_type = any($4)) and event_type <> all($5) and value_no = any($6)"
        }
    };
    let mut found = sqlx::query_as::<_, Row>(statement)
        .bind(project_id.get())
        .bind(time.start)
        .bind(time.end)
        .bind(only)
        .bind(except)
        .bind(of.value_nos())
        .bind(measure == Measure::Users)
        .fetch(connection);
    let mut values: BTreeMap<_, ByPeriod> = BTreeMap::new();
    while let Some((event_type, value_no, period, events, users)) = found.try_next().await? {
        let value = match breakdown {
            None => Label::NONE,
            Some(Breakdown::EventType) => Label::Value(Some(event_type)),
            Some(Breakdown::Property(_)) => of.label(value_no),
        };
        let users = users.map_or_else(|| Ok(RoaringBitmap::new()), |users| bitmap(&users))?;
        values.entry(value).or_default().entry(period).or_default().merge(&Happened { events, users });
    }
    for periods in values.values_mut() {
        periods.retain(|_, happened| happened.events > 0);
    }
    values.retain(|_, periods| !periods.is_empty());
    Ok(values)
}

/// The number of events on some days.
pub async fn count(
    connection: &mut PgConnection,
    project_id: ProjectId,
    of: &ActivityRows,
    days: DayRange,
) -> Result<i64, StoreError> {
    let Condition { only, except, .. } = of.together();
    let count = sqlx::query_scalar(
        "select coalesce(sum(events), 0)::bigint
         from activity_daily
         where project_id = $1 and local_day between $2 and $3
           and ($4::text[] is null or event_type = any($4)) and event_type <> all($5) and value_no = any($6)",
    )
    .bind(project_id.get())
    .bind(midnight(days.from))
    .bind(midnight(days.to))
    .bind(only)
    .bind(except)
    .bind(of.value_nos())
    .fetch_one(connection)
    .await?;
    Ok(count)
}

/// The event types of a range of days, most events first, then by name.
pub async fn top_events(
    connection: &mut PgConnection,
    project_id: ProjectId,
    of: &ActivityRows,
    days: DayRange,
    limit: u32,
) -> Result<Vec<EventTypeCount>, StoreError> {
    let Condition { only, except, .. } = of.of_each_type();
    let found: Vec<(String, i64, i64)> = sqlx::query_as(
        "select event_type, sum(events)::bigint as events, rb_cardinality(rb_or_agg(users)) as users
         from activity_daily
         where project_id = $1 and local_day between $2 and $3
           and ($5::text[] is null or event_type = any($5)) and event_type <> all($6)
           and value_no = any($7)
         group by event_type
         having sum(events) > 0
         order by events desc, event_type
         limit $4",
    )
    .bind(project_id.get())
    .bind(midnight(days.from))
    .bind(midnight(days.to))
    .bind(i64::from(limit))
    .bind(only)
    .bind(except)
    .bind(of.value_nos())
    .fetch_all(connection)
    .await?;
    Ok(found
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
pub async fn roll_up(pool: &PgPool) -> Result<bool, StoreError> {
    let rolled_up = alone(pool, async |connection| roll_up_on(connection).await).await?;
    Ok(rolled_up.is_some())
}

/// The same, for those who are [`alone`]. Not in a transaction: it may commit in between.
pub(crate) async fn roll_up_on(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("call roll_up($1)").bind(horizon()).execute(connection).await?;
    Ok(())
}

/// Does something while nobody else rolls up or moves rows of activity; nothing, if someone else is at it.
///
/// The lock belongs to the session, because what is done may be several transactions.
pub(crate) async fn alone<T>(
    pool: &PgPool,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut connection = pool.acquire().await?;
    let locked: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtext('weir.roll_up'))")
        .fetch_one(&mut *connection)
        .await?;
    if !locked {
        return Ok(None);
    }
    match work(&mut connection).await {
        Ok(done) => {
            sqlx::query("select pg_advisory_unlock(hashtext('weir.roll_up'))")
                .execute(&mut *connection)
                .await?;
            Ok(Some(done))
        }
        Err(error) => {
            connection.close_on_drop(); // and with it the lock
            Err(error)
        }
    }
}

fn midnight(date: NaiveDate) -> NaiveDateTime {
    date.and_time(NaiveTime::MIN)
}

/// Sets of which several rows may hold a part.
pub(crate) fn merged<T: Ord>(
    rows: impl IntoIterator<Item = (T, Vec<u8>)>,
) -> Result<BTreeMap<T, RoaringBitmap>, StoreError> {
    let mut parts: BTreeMap<T, Vec<RoaringBitmap>> = BTreeMap::new();
    for (period, bytes) in rows {
        parts.entry(period).or_default().push(bitmap(&bytes)?);
    }
    Ok(parts.into_iter().map(|(period, parts)| (period, parts.union())).collect())
}

pub(crate) fn bitmap(bytes: &[u8]) -> Result<RoaringBitmap, StoreError> {
    RoaringBitmap::deserialize_from(bytes).map_err(StoreError::Bitmap)
}
