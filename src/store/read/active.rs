//! Who was active: read from where the plan of the query says.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use roaring::RoaringBitmap;
use sqlx::PgConnection;

use super::{
    activity::{self, EventTypeCount},
    occurrences,
    source::{ActivityRows, Selection, Source},
};
use crate::store::StoreError;
use crate::{
    model::{
        project::Project,
        range::{DayRange, TimeRange},
    },
    stats::{DailyUsers, retention::same_day::HourlyUsers},
};

/// How many users did something on each day. Days without users may be absent.
pub async fn daily_active_users(
    connection: &mut PgConnection,
    selection: &Selection<'_>,
    days: DayRange,
) -> Result<BTreeMap<NaiveDate, u64>, StoreError> {
    if let (Source::Activity(rows), None) = (selection.source, selection.until) {
        return activity::daily_active_users(connection, selection.project.id, rows, days).await;
    }
    let users = daily_users(connection, selection, days).await?;
    Ok(users.into_iter().map(|(day, users)| (day, users.len())).collect())
}

/// Who did something on each day. Days without users may be absent.
pub async fn daily_users(
    connection: &mut PgConnection,
    selection: &Selection<'_>,
    days: DayRange,
) -> Result<DailyUsers, StoreError> {
    let Selection { project, filter, source, until } = *selection;
    let Source::Activity(rows) = source else {
        let time = project.time_of(days).before(until);
        let days: Vec<NaiveDate> = days.days().collect();
        let starts: Vec<DateTime<Utc>> = days.iter().map(|day| project.start_of(*day)).collect();
        let found = occurrences::by_period(connection, project.id, filter, &starts, time.end).await?;
        return Ok(found.into_iter().map(|(index, happened)| (days[index], happened.users)).collect());
    };
    let Some(until) = until else {
        return activity::daily_users(connection, project.id, rows, days).await;
    };
    // The last day is not whole: its hours know, and of the last hour the events.
    let last = project.local_date(until);
    let whole = DayRange::new(days.from, last.pred_opt().unwrap_or(last).min(days.to));
    let mut users = activity::daily_users(connection, project.id, rows, whole).await?;
    if days.contains(last) {
        let of_last_day = hourly_users(connection, selection, rows, DayRange::new(last, last)).await?;
        let of_last_day = of_last_day.into_values().fold(RoaringBitmap::new(), |all, hour| all | hour);
        users.insert(last, of_last_day);
    }
    Ok(users)
}

/// The number of events: of whole days from activity, and of what is left at both ends from the events.
pub async fn count(
    connection: &mut PgConnection,
    selection: &Selection<'_>,
    time: TimeRange,
) -> Result<i64, StoreError> {
    let Selection { project, filter, source, .. } = *selection;
    let (Some(days), Source::Activity(rows)) = (whole_days(project, time), source) else {
        return occurrences::count(connection, project.id, filter, time, None).await;
    };
    let within = activity::count(connection, project.id, rows, days).await?;
    let whole = project.time_of(days);
    if whole == time {
        return Ok(within);
    }
    Ok(within + occurrences::count(connection, project.id, filter, time, Some(whole)).await?)
}

/// Whether a range of time is made of whole days.
pub fn is_of_whole_days(project: &Project, time: TimeRange) -> bool {
    whole_days(project, time).is_some_and(|days| project.time_of(days) == time)
}

/// The days that lie in a range of time as a whole.
fn whole_days(project: &Project, time: TimeRange) -> Option<DayRange> {
    let first = project.local_date(time.begin);
    let first = if project.start_of(first) < time.begin { first.succ_opt()? } else { first };
    let last = project.local_date(time.end).pred_opt()?;
    (first <= last).then_some(DayRange::new(first, last))
}

/// Who did something on any day before `date`, over all history.
pub async fn users_before(
    connection: &mut PgConnection,
    selection: &Selection<'_>,
    date: NaiveDate,
) -> Result<RoaringBitmap, StoreError> {
    let Selection { project, filter, source, until } = *selection;
    if let Source::Activity(rows) = source {
        let date = until.map_or(date, |until| date.min(project.local_date(until)));
        return activity::users_before(connection, project.id, rows, date).await;
    }
    let start = project.start_of(date);
    let end = until.map_or(start, |until| start.min(until));
    occurrences::users_before(connection, project.id, filter, end).await
}

/// The event types of some days, most events first, then by name.
pub async fn top_events(
    connection: &mut PgConnection,
    selection: &Selection<'_>,
    days: DayRange,
    limit: u32,
) -> Result<Vec<EventTypeCount>, StoreError> {
    let Selection { project, filter, source, .. } = *selection;
    match source {
        Source::Activity(rows) => activity::top_events(connection, project.id, rows, days, limit).await,
        Source::Events => {
            occurrences::top_events(connection, project.id, filter, project.time_of(days), limit).await
        }
    }
}

/// Who did something in each hour of the wall clock, on some days: in rows of activity, which are those of the selection.
pub(super) async fn hourly_users(
    connection: &mut PgConnection,
    selection: &Selection<'_>,
    rows: &ActivityRows,
    days: DayRange,
) -> Result<HourlyUsers, StoreError> {
    let Selection { project, filter, until, .. } = *selection;
    let begin = days.from.and_time(NaiveTime::MIN);
    let end = days.to.succ_opt().unwrap_or(days.to).and_time(NaiveTime::MIN);
    let Some((until, hour)) =
        until.map(|until| (until, project.local_hour(until))).filter(|(_, hour)| *hour < end)
    else {
        return activity::hourly_users(connection, project.id, rows, begin..end).await;
    };
    let mut users = activity::hourly_users(connection, project.id, rows, begin..hour).await?;
    let start = project.first_instant(hour);
    if hour >= begin && start < until {
        let found = occurrences::by_period(connection, project.id, filter, &[start], until).await?;
        users.extend(found.into_values().map(|happened| (hour, happened.users)));
    }
    Ok(users)
}

/// The instants between which an hour of the wall clock lies.
pub(super) fn bounds(project: &Project, hour: NaiveDateTime) -> TimeRange {
    TimeRange::new(project.first_instant(hour), project.first_instant(hour + TimeDelta::hours(1)))
}
