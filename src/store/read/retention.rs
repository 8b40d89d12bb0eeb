//! What retention needs beside sets of days: the order within a day, exact moments, first events whatever their properties.

use chrono::{DateTime, NaiveDate, Utc};
use futures::TryStreamExt;
use roaring::RoaringBitmap;
use sqlx::PgConnection;

use super::{
    active, activity,
    condition::{Binds, Condition},
    source::{Selection, Source},
};
use crate::store::StoreError;
use crate::work;
use crate::{
    model::{project::Project, range::DayRange},
    stats::{
        DailyUsers,
        retention::{
            first_ever,
            same_day::{self, HourlyUsers},
        },
    },
};

/// Events that start, and events that are returns, of one project and until the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Both<'a> {
    pub starts: Selection<'a>,
    pub returns: Selection<'a>,
}

impl Both<'_> {
    /// What starts, and what returns, in a statement with these values.
    fn conditions(&self, binds: &mut Binds) -> (String, String) {
        let text = |selection: &Selection<'_>, binds: &mut Binds| Condition::of(selection.filter).text(binds);
        (text(&self.starts, binds), text(&self.returns, binds))
    }
}

/// Users of a period, by its index.
#[derive(sqlx::FromRow)]
struct PeriodUsersRow {
    period: i32,
    users: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct UsersOfDay {
    day: NaiveDate,
    users: Vec<u8>,
}

/// An event of a user.
#[derive(sqlx::FromRow)]
struct Occurrence {
    user_no: i32,
    occurred_at: DateTime<Utc>,
}

/// A user's first event of a period, by its index.
#[derive(sqlx::FromRow)]
struct FirstInPeriod {
    period: i32,
    #[sqlx(flatten)]
    first: Occurrence,
}

/// Who came back on the day of a start, after their first start of that day.
pub async fn same_day(
    connection: &mut PgConnection,
    both: &Both<'_>,
    days: DayRange,
) -> Result<DailyUsers, StoreError> {
    let Selection { project, until, .. } = both.starts;
    if let (Source::Activity(starts), Source::Activity(returns)) = (both.starts.source, both.returns.source) {
        let starts = active::hourly_users(connection, &both.starts, starts, days).await?;
        let returns = active::hourly_users(connection, &both.returns, returns, days).await?;
        let found = same_day::by_hours(&starts, &returns);
        let mut users = found.returned;
        if !found.open.is_empty() {
            for (day, came) in within_the_hour(connection, both, &found.open).await? {
                *users.entry(day).or_default() |= came;
            }
        }
        return Ok(users);
    }
    let time = project.time_of(days).before(until);
    let days: Vec<NaiveDate> = days.days().collect();
    let bounds: Vec<DateTime<Utc>> = days.iter().map(|day| project.start_of(*day)).collect();
    let mut binds = Binds::default();
    let within = binds.events(project.id, (Some(time.begin), Some(time.end)), &Condition::default());
    let (starts, returns) = both.conditions(&mut binds);
    let bounds = binds.add(bounds);
    let rows: Vec<PeriodUsersRow> = work::all(
        binds
            .query(format!(
                "select period, rb_build_agg(user_no)::bytea as users
             from (
                 select width_bucket(occurred_at, {bounds}::timestamptz[]) - 1 as period, user_no,
                        min(occurred_at) filter (where starts) as first_start,
                        max(occurred_at) filter (where returns) as last_return
                 from (
                     select occurred_at, user_no, {starts} as starts, {returns} as returns
                     from events
                     where {within} and user_no is not null
                 ) as events
                 where starts or returns
                 group by period, user_no
             ) as days
             where last_return >= first_start
             group by period"
            ))?
            .persistent(false)
            .fetch(connection),
    )
    .await?;
    let day = |period: i32| usize::try_from(period).ok().and_then(|index| days.get(index).copied());
    activity::merged(rows.into_iter().filter_map(|row| Some((day(row.period)?, row.users))))
}

/// Of the users of hours, those whose last return in the hour is not before their first start in it; by day.
async fn within_the_hour(
    connection: &mut PgConnection,
    both: &Both<'_>,
    open: &HourlyUsers,
) -> Result<DailyUsers, StoreError> {
    let Selection { project, until, .. } = both.starts;
    let mut binds = Binds::default();
    let (starts, returns) = both.conditions(&mut binds);
    let (project_id, asked) =
        (binds.add(project.id.get()), OpenHours::of(project, open, until).text(&mut binds));
    let rows: Vec<UsersOfDay> = work::all(
        binds
            .query(format!(
                "select day, rb_build_agg(asked.user_no)::bytea as users
             from {asked}
                  left join present_users on project_id = {project_id} and from_no = asked.user_no,
                  lateral (
                      select min(occurred_at) filter (where {starts}) as first_start,
                             max(occurred_at) filter (where {returns}) as last_return
                      from events
                      where project_id = {project_id} and events.user_no = any(array[asked.user_no, into_no])
                        and occurred_at >= begins and occurred_at < ends
                  ) as hour
             where last_return >= first_start
             group by day"
            ))?
            .persistent(false)
            .fetch(connection),
    )
    .await?;
    activity::merged(rows.into_iter().map(|row| (row.day, row.users)))
}

/// Users in hours whose events must be looked at, as columns.
#[derive(Default)]
struct OpenHours {
    users: Vec<i32>,
    begins: Vec<DateTime<Utc>>,
    ends: Vec<DateTime<Utc>>,
    days: Vec<NaiveDate>,
}

impl OpenHours {
    fn of(project: &Project, open: &HourlyUsers, until: Option<DateTime<Utc>>) -> Self {
        let mut hours = Self::default();
        for (&hour, in_question) in open {
            let time = active::bounds(project, hour).before(until);
            for user_no in in_question {
                hours.users.push(user_no.cast_signed());
                hours.begins.push(time.begin);
                hours.ends.push(time.end);
                hours.days.push(hour.date());
            }
        }
        hours
    }

    /// As a relation `asked (user_no, begins, ends, day)`, in a statement with these values.
    fn text(self, binds: &mut Binds) -> String {
        let Self { users, begins, ends, days } = self;
        let (users, begins) = (binds.add(users), binds.add(begins));
        let (ends, days) = (binds.add(ends), binds.add(days));
        format!(
            "unnest({users}::int[], {begins}::timestamptz[], {ends}::timestamptz[], {days}::date[])
                 as asked (user_no, begins, ends, day)"
        )
    }
}

/// Whose first event of the filter's types, whatever its properties, lies on each day and passes the whole filter. Of
/// several at that moment one that passes is enough. `of_types` is where all events of these types are read from, by the values
/// of the property that the filter is about.
pub async fn first_ever(
    connection: &mut PgConnection,
    selection: &Selection<'_>,
    of_types: &Source,
    days: DayRange,
) -> Result<DailyUsers, StoreError> {
    let Selection { project, source, until, .. } = *selection;
    if let (Source::Activity(passing), Source::Activity(of_types), None) = (source, of_types, until) {
        let failing = of_types.without(passing);
        let mut before = activity::users_before(connection, project.id, passing, days.from).await?;
        before |= activity::users_before(connection, project.id, &failing, days.from).await?;
        let passing = active::hourly_users(connection, selection, passing, days).await?;
        let failing = active::hourly_users(connection, selection, &failing, days).await?;
        let first_ever::FirstEverByHours { passed: mut users, open } =
            first_ever::by_hours(before, &passing, &failing);
        if !open.is_empty() {
            for (day, first) in first_within_the_hour(connection, selection, &open).await? {
                *users.entry(day).or_default() |= first;
            }
        }
        return Ok(users);
    }
    let time = project.time_of(days).before(until);
    let condition = Condition::of(selection.filter);
    let mut binds = Binds::default();
    let of_types = binds.events(project.id, (None, Some(time.end)), &condition.of_types());
    let (begin, passes) = (binds.add(time.begin), condition.text(&mut binds));
    let statement = format!(
        "select user_no, min(occurred_at) as occurred_at
         from events
         where {of_types} and user_no is not null
         group by user_no
         having min(occurred_at) >= {begin} and min(occurred_at) = min(occurred_at) filter (where {passes})"
    );
    let mut rows = work::in_slices(binds.query::<Occurrence>(statement)?.persistent(false).fetch(connection));
    let mut users = DailyUsers::new();
    while let Some(first) = rows.try_next().await? {
        let day = project.local_date(first.occurred_at);
        users.entry(day).or_default().insert(first.user_no.cast_unsigned());
    }
    Ok(users)
}

/// Of the users of hours, those whose first event in it of the filter's types passes the whole filter.
async fn first_within_the_hour(
    connection: &mut PgConnection,
    selection: &Selection<'_>,
    open: &HourlyUsers,
) -> Result<DailyUsers, StoreError> {
    let asked = OpenHours::of(selection.project, open, selection.until);
    let condition = Condition::of(selection.filter);
    let mut binds = Binds::default();
    let (project_id, asked) = (binds.add(selection.project.id.get()), asked.text(&mut binds));
    let (of_types, passes) = (condition.of_types().text(&mut binds), condition.text(&mut binds));
    let rows: Vec<UsersOfDay> = work::all(binds
        .query(format!(
            "select day, rb_build_agg(asked.user_no)::bytea as users
             from {asked}
                  left join present_users on project_id = {project_id} and from_no = asked.user_no,
                  lateral (
                      select min(occurred_at) as first, min(occurred_at) filter (where {passes}) as first_that_passes
                      from events
                      where project_id = {project_id} and events.user_no = any(array[asked.user_no, into_no])
                        and occurred_at >= begins and occurred_at < ends and {of_types}
                  ) as hour
             where first = first_that_passes
             group by day"
        ))?
        .persistent(false).fetch(connection)).await?;
    activity::merged(rows.into_iter().map(|row| (row.day, row.users)))
}

/// The first event of each user in each of consecutive periods: index of the period, user, moment.
pub async fn first_in_periods(
    connection: &mut PgConnection,
    selection: &Selection<'_>,
    starts: &[DateTime<Utc>],
    end: DateTime<Utc>,
) -> Result<Vec<(usize, u32, DateTime<Utc>)>, StoreError> {
    let until = selection.until.map_or(end, |until| until.min(end));
    let mut binds = Binds::default();
    let matching = binds.events(
        selection.project.id,
        (starts.first().copied(), Some(until)),
        &Condition::of(selection.filter),
    );
    let starts = binds.add(starts);
    let rows: Vec<FirstInPeriod> = work::all(
        binds
            .query(format!(
                "select width_bucket(occurred_at, {starts}::timestamptz[]) - 1 as period, user_no,
                    min(occurred_at) as occurred_at
             from events
             where {matching} and user_no is not null
             group by period, user_no"
            ))?
            .persistent(false)
            .fetch(connection),
    )
    .await?;
    let row = |FirstInPeriod { period, first }: FirstInPeriod| {
        Some((usize::try_from(period).ok()?, first.user_no.cast_unsigned(), first.occurred_at))
    };
    Ok(rows.into_iter().filter_map(row).collect())
}

/// Hands on each event of `users` in `[begin, end)`, in no order.
pub async fn each(
    connection: &mut PgConnection,
    selection: &Selection<'_>,
    users: &RoaringBitmap,
    (begin, end): (DateTime<Utc>, Option<DateTime<Utc>>),
    mut hand_on: impl FnMut(u32, DateTime<Utc>),
) -> Result<(), StoreError> {
    let end = match (selection.until, end) {
        (Some(until), Some(end)) => Some(until.min(end)),
        (until, end) => until.or(end),
    };
    let mut binds = Binds::default();
    let matching = binds.events(selection.project.id, (Some(begin), end), &Condition::of(selection.filter));
    let statement =
        format!("select user_no, occurred_at from events where {matching} and user_no is not null");
    let mut rows = work::in_slices(binds.query::<Occurrence>(statement)?.persistent(false).fetch(connection));
    while let Some(Occurrence { user_no, occurred_at }) = rows.try_next().await? {
        let user_no = user_no.cast_unsigned();
        if users.contains(user_no) {
            hand_on(user_no, occurred_at);
        }
    }
    Ok(())
}
