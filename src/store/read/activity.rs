//! Reading activity: bitmaps of users, and counts. What they mean is decided in [`crate::stats`].

use std::{collections::BTreeMap, ops::Range};

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use futures::TryStreamExt;
use roaring::{MultiOps, RoaringBitmap};
use sqlx::PgConnection;

use super::{
    condition::{Binds, Condition},
    source::ActivityRows,
};
use crate::store::StoreError;
use crate::work;
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
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct EventTypeCount {
    pub event_type: String,
    pub events: i64,
    pub users: i64,
}

/// Of one hour or day, and of one event type or value.
#[derive(sqlx::FromRow)]
struct ActivityPeriodRow {
    event_type: String,
    value_no: i32,
    period: NaiveDateTime,
    events: i64,
    /// If they are what is measured.
    users: Option<Vec<u8>>,
}

/// The users of a day, which several rows may have.
#[derive(sqlx::FromRow)]
struct DayRow {
    local_day: NaiveDateTime,
    /// If the day is one row.
    count: Option<i64>,
    /// If it is several.
    users: Option<Vec<u8>>,
}

/// Some of the users of a period.
#[derive(sqlx::FromRow)]
struct UsersRow {
    period: NaiveDateTime,
    users: Vec<u8>,
}

/// Where the rows of some event types and values are, in a statement with these values.
fn among(binds: &mut Binds, project_id: ProjectId, types: &Condition, rows: &ActivityRows) -> String {
    let (project_id, types) = (binds.add(project_id.get()), types.text(binds));
    let value_nos = binds.add(rows.value_nos());
    format!("project_id = {project_id} and {types} and value_no = any({value_nos})")
}

/// The same on some days.
fn on_days(
    binds: &mut Binds,
    project_id: ProjectId,
    types: &Condition,
    rows: &ActivityRows,
    days: DayRange,
) -> String {
    let among = among(binds, project_id, types, rows);
    let (from, to) = (binds.add(midnight(days.from)), binds.add(midnight(days.to)));
    format!("{among} and local_day between {from} and {to}")
}

/// How many users were active on each day. Days without users are absent.
pub async fn daily_active_users(
    connection: &mut PgConnection,
    project_id: ProjectId,
    rows: &ActivityRows,
    days: DayRange,
) -> Result<BTreeMap<NaiveDate, u64>, StoreError> {
    let mut binds = Binds::default();
    let on_days = on_days(&mut binds, project_id, &rows.together(), rows, days);
    // A day that is one row is counted where it lies.
    let found: Vec<DayRow> = work::all(
        binds
            .query(format!(
                "select local_day,
                    case when count(*) over day = 1 then rb_cardinality(users) end as count,
                    case when count(*) over day > 1 then users::bytea end as users
             from activity_daily
             where {on_days}
             window day as (partition by local_day)"
            ))?
            .fetch(connection),
    )
    .await?;
    let counted = found.iter().filter_map(|row| Some((row.local_day.date(), row.count?.cast_unsigned())));
    let mut counts: BTreeMap<_, _> = counted.collect();
    let several = found.into_iter().filter_map(|row| Some((row.local_day.date(), row.users?)));
    counts.extend(merged(several)?.into_iter().map(|(day, users)| (day, users.len())));
    Ok(counts)
}

/// Who was active on each day. Days without users are absent.
pub async fn daily_users(
    connection: &mut PgConnection,
    project_id: ProjectId,
    rows: &ActivityRows,
    days: DayRange,
) -> Result<DailyUsers, StoreError> {
    let mut binds = Binds::default();
    let on_days = on_days(&mut binds, project_id, &rows.together(), rows, days);
    let found: Vec<UsersRow> = work::all(
        binds
            .query(format!(
                "select local_day as period, users::bytea as users from activity_daily where {on_days}"
            ))?
            .fetch(connection),
    )
    .await?;
    merged(found.into_iter().map(|row| (row.period.date(), row.users)))
}

/// Who was active in each hour. Hours without users are absent.
pub async fn hourly_users(
    connection: &mut PgConnection,
    project_id: ProjectId,
    rows: &ActivityRows,
    time: Range<NaiveDateTime>,
) -> Result<HourlyUsers, StoreError> {
    let mut binds = Binds::default();
    let among = among(&mut binds, project_id, &rows.together(), rows);
    let (begin, end) = (binds.add(time.start), binds.add(time.end));
    let found: Vec<UsersRow> = work::all(
        binds
            .query(format!(
                "select local_hour as period, users::bytea as users
             from activity_hourly
             where {among} and local_hour >= {begin} and local_hour < {end}"
            ))?
            .fetch(connection),
    )
    .await?;
    merged(found.into_iter().map(|row| (row.period, row.users)))
}

/// Who was active on any day before `date`, over all history.
pub async fn users_before(
    connection: &mut PgConnection,
    project_id: ProjectId,
    rows: &ActivityRows,
    date: NaiveDate,
) -> Result<RoaringBitmap, StoreError> {
    let mut binds = Binds::default();
    let among = among(&mut binds, project_id, &rows.together(), rows);
    let date = binds.add(midnight(date));
    let (bytes,): (Option<Vec<u8>>,) = binds
        .query(format!(
            "select rb_or_agg(users)::bytea from activity_daily where {among} and local_day < {date}"
        ))?
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

/// What happened in each hour or on each day; by event type or by value, or all of them under none. Users are there if they are
/// what is measured.
pub async fn happened(
    connection: &mut PgConnection,
    project_id: ProjectId,
    rows: &ActivityRows,
    grain: Grain,
    time: Range<NaiveDateTime>,
    breakdown: Option<&Breakdown>,
    measure: Measure,
) -> Result<BTreeMap<Label, ByPeriod>, StoreError> {
    let by_type = breakdown == Some(&Breakdown::EventType);
    let types = if by_type { rows.of_each_type() } else { rows.together() };
    let mut binds = Binds::default();
    let among = among(&mut binds, project_id, &types, rows);
    let (begin, end) = (binds.add(time.start), binds.add(time.end));
    let (relation, period) = match grain {
        Grain::Hour => ("activity_hourly", "local_hour"),
        Grain::Day => ("activity_daily", "local_day"),
    };
    let users = match measure {
        Measure::Events => "null::bytea",
        Measure::Users => "users::bytea",
    };
    let statement = format!(
        "select event_type, value_no, {period} as period, events, {users} as users
         from {relation}
         where {among} and {period} >= {begin} and {period} < {end}"
    );
    let mut found = work::in_slices(binds.query::<ActivityPeriodRow>(statement)?.fetch(connection));
    let mut values: BTreeMap<_, ByPeriod> = BTreeMap::new();
    while let Some(ActivityPeriodRow { event_type, value_no, period, events, users }) =
        found.try_next().await?
    {
        let value = match breakdown {
            None => Label::NONE,
            Some(Breakdown::EventType) => Label::Value(Some(event_type)),
            Some(Breakdown::Property(_)) => rows.label(value_no),
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
    rows: &ActivityRows,
    days: DayRange,
) -> Result<i64, StoreError> {
    let mut binds = Binds::default();
    let on_days = on_days(&mut binds, project_id, &rows.together(), rows, days);
    let (count,): (i64,) = binds
        .query(format!("select coalesce(sum(events), 0)::bigint from activity_daily where {on_days}"))?
        .fetch_one(connection)
        .await?;
    Ok(count)
}

/// The event types of a range of days, most events first, then by name.
pub async fn top_events(
    connection: &mut PgConnection,
    project_id: ProjectId,
    rows: &ActivityRows,
    days: DayRange,
    limit: u32,
) -> Result<Vec<EventTypeCount>, StoreError> {
    let mut binds = Binds::default();
    let on_days = on_days(&mut binds, project_id, &rows.of_each_type(), rows, days);
    let limit = binds.add(i64::from(limit));
    let found = work::all(
        binds
            .query(format!(
                "select event_type, sum(events)::bigint as events, rb_cardinality(rb_or_agg(users)) as users
             from activity_daily
             where {on_days}
             group by event_type
             having sum(events) > 0
             order by events desc, event_type
             limit {limit}"
            ))?
            .fetch(connection),
    )
    .await?;
    Ok(found)
}

fn midnight(date: NaiveDate) -> NaiveDateTime {
    date.and_time(NaiveTime::MIN)
}

/// Sets of which several rows may hold a part.
pub(crate) fn merged<T: Ord>(
    rows: impl IntoIterator<Item = (T, Vec<u8>)>,
) -> Result<BTreeMap<T, RoaringBitmap>, StoreError> {
    work::long(|| {
        let mut parts: BTreeMap<T, Vec<RoaringBitmap>> = BTreeMap::new();
        for (period, bytes) in rows {
            parts.entry(period).or_default().push(bitmap(&bytes)?);
        }
        Ok(parts.into_iter().map(|(period, parts)| (period, parts.union())).collect())
    })
}

pub(crate) fn bitmap(bytes: &[u8]) -> Result<RoaringBitmap, StoreError> {
    RoaringBitmap::deserialize_from(bytes).map_err(StoreError::Bitmap)
}
