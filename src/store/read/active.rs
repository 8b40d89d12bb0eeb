//! Who was active: from activity where it knows the answer, else from the events.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use roaring::RoaringBitmap;
use sqlx::PgConnection;

use super::{
    activity::{self, EventTypeCount},
    occurrences,
    series::{Apart, Series},
};
use crate::store::StoreError;
use crate::{
    model::project::Project,
    stats::{DailyUsers, filter::Filter, retention::same_day::HourlyUsers},
};

/// The events that a question is about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub project: &'a Project,
    pub filter: &'a Filter,
    /// Only those before; nothing: all that are stored.
    pub until: Option<DateTime<Utc>>,
}

impl Asked<'_> {
    /// The rows of activity that tell of them; nothing if events must be read.
    async fn series(&self, connection: &mut PgConnection) -> Result<Option<Series>, StoreError> {
        Series::of(connection, self.project.id, self.filter, Apart::Nothing).await
    }
}

/// How many users did something on each day from `from` to `to`, both included. Days without users may be absent.
pub async fn daily_active_users(
    connection: &mut PgConnection,
    asked: &Asked<'_>,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<BTreeMap<NaiveDate, u64>, StoreError> {
    if asked.until.is_none()
        && let Some(series) = asked.series(connection).await?
    {
        return activity::daily_active_users(connection, asked.project.id, &series, from, to).await;
    }
    let users = daily_users(connection, asked, from, to).await?;
    Ok(users.into_iter().map(|(day, users)| (day, users.len())).collect())
}

/// Who did something on each day from `from` to `to`, both included. Days without users may be absent.
pub async fn daily_users(
    connection: &mut PgConnection,
    asked: &Asked<'_>,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<DailyUsers, StoreError> {
    let Asked { project, filter, until } = *asked;
    let Some(series) = asked.series(connection).await? else {
        let days: Vec<NaiveDate> = from.iter_days().take_while(|day| *day <= to).collect();
        let starts: Vec<DateTime<Utc>> = days.iter().map(|day| project.start_of(*day)).collect();
        let end = to.succ_opt().map_or(DateTime::<Utc>::MAX_UTC, |next| project.start_of(next));
        let end = until.map_or(end, |until| until.min(end));
        let found = occurrences::by_period(connection, project.id, filter, &starts, end).await?;
        return Ok(found.into_iter().map(|(index, happened)| (days[index], happened.users)).collect());
    };
    let Some(until) = until else {
        return activity::daily_users(connection, project.id, &series, from, to).await;
    };
    // The last day is not whole: its hours tell, and of the last hour the events.
    let last = project.local_date(until);
    let before = last.pred_opt().unwrap_or(last).min(to);
    let mut users = activity::daily_users(connection, project.id, &series, from, before).await?;
    if (from..=to).contains(&last) {
        let of_last_day = hourly_users(connection, asked, &series, last, last).await?;
        let of_last_day = of_last_day.into_values().fold(RoaringBitmap::new(), |all, hour| all | hour);
        users.insert(last, of_last_day);
    }
    Ok(users)
}

/// The number of events in `[from, to)`: of whole days from activity, and of what is left at both ends from the events.
pub async fn count(
    connection: &mut PgConnection,
    project: &Project,
    filter: &Filter,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> Result<i64, StoreError> {
    let series = Series::of(connection, project.id, filter, Apart::Nothing).await?;
    let Some((days, series)) = whole_days(project, from, to).zip(series) else {
        return occurrences::count(connection, project.id, filter, (from, to), None).await;
    };
    let within = activity::count(connection, project.id, &series, days).await?;
    let (begin, end) = (project.start_of(days.0), project.start_of(days.1));
    if (begin, end) == (from, to) {
        return Ok(within);
    }
    Ok(within + occurrences::count(connection, project.id, filter, (from, to), Some((begin, end))).await?)
}

/// Whether `[from, to)` is made of whole days.
pub fn is_of_whole_days(project: &Project, (from, to): (DateTime<Utc>, DateTime<Utc>)) -> bool {
    let days = whole_days(project, from, to);
    days.is_some_and(|(first, behind)| (project.start_of(first), project.start_of(behind)) == (from, to))
}

/// The first day that lies in `[from, to)` as a whole, and the one behind the last.
fn whole_days(project: &Project, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<(NaiveDate, NaiveDate)> {
    let first = project.local_date(from);
    let first = if project.start_of(first) < from { first.succ_opt()? } else { first };
    let behind = project.local_date(to);
    (first < behind).then_some((first, behind))
}

/// Who did something on any day before `date`, over all history.
pub async fn users_before(
    connection: &mut PgConnection,
    asked: &Asked<'_>,
    date: NaiveDate,
) -> Result<RoaringBitmap, StoreError> {
    let Asked { project, filter, until } = *asked;
    if let Some(series) = asked.series(connection).await? {
        let date = until.map_or(date, |until| date.min(project.local_date(until)));
        return activity::users_before(connection, project.id, &series, date).await;
    }
    let start = project.start_of(date);
    let end = until.map_or(start, |until| start.min(until));
    occurrences::users_before(connection, project.id, filter, end).await
}

/// The event types of the days from `from` to `to`, most events first, then by name.
pub async fn top_events(
    connection: &mut PgConnection,
    project: &Project,
    filter: &Filter,
    (from, to): (NaiveDate, NaiveDate),
    limit: u32,
) -> Result<Vec<EventTypeCount>, StoreError> {
    if let Some(series) = Series::of(connection, project.id, filter, Apart::EventTypes).await? {
        return activity::top_events(connection, project.id, &series, (from, to), limit).await;
    }
    let range = (project.start_of(from), project.start_of(to.succ_opt().unwrap_or(to)));
    occurrences::top_events(connection, project.id, filter, range, limit).await
}

/// Who did something in each hour of the wall clock, on the days from `from` to `to`: in the series, which is that of what is
/// asked.
pub async fn hourly_users(
    connection: &mut PgConnection,
    asked: &Asked<'_>,
    series: &Series,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<HourlyUsers, StoreError> {
    let Asked { project, filter, until } = *asked;
    let begin = from.and_time(NaiveTime::MIN);
    let end = to.succ_opt().unwrap_or(to).and_time(NaiveTime::MIN);
    let Some((until, hour)) =
        until.map(|until| (until, project.local_hour(until))).filter(|(_, hour)| *hour < end)
    else {
        return activity::hourly_users(connection, project.id, series, begin, end).await;
    };
    let mut users = activity::hourly_users(connection, project.id, series, begin, hour).await?;
    let start = project.first_instant(hour);
    if hour >= begin && start < until {
        let found = occurrences::by_period(connection, project.id, filter, &[start], until).await?;
        users.extend(found.into_values().map(|happened| (hour, happened.users)));
    }
    Ok(users)
}

/// The instants between which an hour of the wall clock lies.
pub fn bounds(project: &Project, hour: NaiveDateTime) -> (DateTime<Utc>, DateTime<Utc>) {
    (project.first_instant(hour), project.first_instant(hour + TimeDelta::hours(1)))
}
