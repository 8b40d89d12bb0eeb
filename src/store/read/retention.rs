//! What retention needs beside sets of days: the order within a day, exact moments, first events whatever their properties.

use chrono::{DateTime, NaiveDate, Utc};
use futures::TryStreamExt;
use roaring::RoaringBitmap;
use sqlx::PgConnection;

use super::{
    active, activity,
    condition::Condition,
    source::{Selection, Source},
};
use crate::store::StoreError;
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
    let (start, back) = (Condition::of(both.starts.filter), Condition::of(both.returns.filter));
    let rows: Vec<(i32, Vec<u8>)> = sqlx::query_as(
        "select period, rb_build_agg(user_no)::bytea
         from (
             select width_bucket(occurred_at, $4::timestamptz[]) - 1 as period, user_no,
                    min(occurred_at) filter (where starts) as first_start,
                    max(occurred_at) filter (where returns) as last_return
             from (
                 select occurred_at, user_no,
                        ($5::text[] is null or event_type = any($5)) and event_type <> all($6)
                        and ($7::text is null or properties @@ $7::text::jsonpath) as starts,
                        ($8::text[] is null or event_type = any($8)) and event_type <> all($9)
                        and ($10::text is null or properties @@ $10::text::jsonpath) as returns
                 from events
                 where project_id = $1 and occurred_at >= $2 and occurred_at < $3 and user_no is not null
             ) as events
             where starts or returns
             group by period, user_no
         ) as days
         where last_return >= first_start
         group by period",
    )
    .persistent(false)
    .bind(project.id.get())
    .bind(time.begin)
    .bind(time.end)
    .bind(&bounds)
    .bind(start.only)
    .bind(start.except)
    .bind(start.properties)
    .bind(back.only)
    .bind(back.except)
    .bind(back.properties)
    .fetch_all(connection)
    .await?;
    let day = |period: i32| usize::try_from(period).ok().and_then(|index| days.get(index).copied());
    activity::merged(rows.into_iter().filter_map(|(period, users)| Some((day(period)?, users))))
}

/// Of the users of hours, those whose last return in the hour is not before their first start in it; by day.
async fn within_the_hour(
    connection: &mut PgConnection,
    both: &Both<'_>,
    open: &HourlyUsers,
) -> Result<DailyUsers, StoreError> {
    let Selection { project, until, .. } = both.starts;
    let OpenHours { users, begins, ends, days } = OpenHours::of(project, open, until);
    let (start, back) = (Condition::of(both.starts.filter), Condition::of(both.returns.filter));
    let rows: Vec<(NaiveDate, Vec<u8>)> = sqlx::query_as(
        "select day, rb_build_agg(asked.user_no)::bytea
         from unnest($2::int[], $3::timestamptz[], $4::timestamptz[], $5::date[]) as asked (user_no, begins, ends, day),
              lateral (
                  select min(occurred_at) filter (
                             where ($6::text[] is null or event_type = any($6)) and event_type <> all($7)
                               and ($8::text is null or properties @@ $8::text::jsonpath)
                         ) as first_start,
                         max(occurred_at) filter (
                             where ($9::text[] is null or event_type = any($9)) and event_type <> all($10)
                               and ($11::text is null or properties @@ $11::text::jsonpath)
                         ) as last_return
                  from events
                  where project_id = $1 and events.user_no = asked.user_no
                    and occurred_at >= begins and occurred_at < ends
              ) as hour
         where last_return >= first_start
         group by day",
    )
    .persistent(false)
    .bind(project.id.get())
    .bind(users)
    .bind(begins)
    .bind(ends)
    .bind(days)
    .bind(start.only)
    .bind(start.except)
    .bind(start.properties)
    .bind(back.only)
    .bind(back.except)
    .bind(back.properties)
    .fetch_all(connection)
    .await?;
    activity::merged(rows)
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
        let first_ever::ByHours { passed: mut users, open } =
            first_ever::by_hours(before, &passing, &failing);
        if !open.is_empty() {
            for (day, first) in first_within_the_hour(connection, selection, &open).await? {
                *users.entry(day).or_default() |= first;
            }
        }
        return Ok(users);
    }
    let time = project.time_of(days).before(until);
    let Condition { only, except, properties } = Condition::of(selection.filter);
    let mut rows = sqlx::query_as::<_, (i32, DateTime<Utc>)>(
        "select user_no, min(occurred_at)
         from events
         where project_id = $1 and occurred_at < $3 and user_no is not null
           and ($4::text[] is null or event_type = any($4)) and event_type <> all($5)
         group by user_no
         having min(occurred_at) >= $2
            and min(occurred_at)
              = min(occurred_at) filter (where $6::text is null or properties @@ $6::text::jsonpath)",
    )
    .persistent(false)
    .bind(project.id.get())
    .bind(time.begin)
    .bind(time.end)
    .bind(only)
    .bind(except)
    .bind(properties)
    .fetch(connection);
    let mut users = DailyUsers::new();
    while let Some((user_no, first)) = rows.try_next().await? {
        users.entry(project.local_date(first)).or_default().insert(user_no.cast_unsigned());
    }
    Ok(users)
}

/// Of the users of hours, those whose first event in it of the filter's types passes the whole filter.
async fn first_within_the_hour(
    connection: &mut PgConnection,
    selection: &Selection<'_>,
    open: &HourlyUsers,
) -> Result<DailyUsers, StoreError> {
    let OpenHours { users, begins, ends, days } = OpenHours::of(selection.project, open, selection.until);
    let Condition { only, except, properties } = Condition::of(selection.filter);
    let rows: Vec<(NaiveDate, Vec<u8>)> = sqlx::query_as(
        "select day, rb_build_agg(asked.user_no)::bytea
         from unnest($2::int[], $3::timestamptz[], $4::timestamptz[], $5::date[]) as asked (user_no, begins, ends, day),
              lateral (
                  select min(occurred_at) as first,
                         min(occurred_at) filter (
                             where $8::text is null or properties @@ $8::text::jsonpath
                         ) as first_that_passes
                  from events
                  where project_id = $1 and events.user_no = asked.user_no
                    and occurred_at >= begins and occurred_at < ends
                    and ($6::text[] is null or event_type = any($6)) and event_type <> all($7)
              ) as hour
         where first = first_that_passes
         group by day",
    )
    .persistent(false)
    .bind(selection.project.id.get())
    .bind(users)
    .bind(begins)
    .bind(ends)
    .bind(days)
    .bind(only)
    .bind(except)
    .bind(properties)
    .fetch_all(connection)
    .await?;
    activity::merged(rows)
}

/// The first event of each user in each of consecutive periods: index of the period, user, moment.
pub async fn first_in_periods(
    connection: &mut PgConnection,
    selection: &Selection<'_>,
    starts: &[DateTime<Utc>],
    end: DateTime<Utc>,
) -> Result<Vec<(usize, u32, DateTime<Utc>)>, StoreError> {
    let Condition { only, except, properties } = Condition::of(selection.filter);
    let rows: Vec<(i32, i32, DateTime<Utc>)> = sqlx::query_as(
        "select width_bucket(occurred_at, $7::timestamptz[]) - 1 as period, user_no, min(occurred_at)
         from events
         where project_id = $1 and occurred_at >= $2 and occurred_at < $3 and user_no is not null
           and ($4::text[] is null or event_type = any($4)) and event_type <> all($5)
           and ($6::text is null or properties @@ $6::text::jsonpath)
         group by period, user_no",
    )
    .persistent(false)
    .bind(selection.project.id.get())
    .bind(starts[0])
    .bind(selection.until.map_or(end, |until| until.min(end)))
    .bind(only)
    .bind(except)
    .bind(properties)
    .bind(starts)
    .fetch_all(connection)
    .await?;
    let row = |(period, user_no, first): (i32, i32, DateTime<Utc>)| {
        Some((usize::try_from(period).ok()?, user_no.cast_unsigned(), first))
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
    let Condition { only, except, properties } = Condition::of(selection.filter);
    let end = match (selection.until, end) {
        (Some(until), Some(end)) => Some(until.min(end)),
        (until, end) => until.or(end),
    };
    let mut rows = sqlx::query_as::<_, (i32, DateTime<Utc>)>(
        "select user_no, occurred_at
         from events
         where project_id = $1 and occurred_at >= $2 and ($3::timestamptz is null or occurred_at < $3)
           and user_no is not null
           and ($4::text[] is null or event_type = any($4)) and event_type <> all($5)
           and ($6::text is null or properties @@ $6::text::jsonpath)",
    )
    .persistent(false)
    .bind(selection.project.id.get())
    .bind(begin)
    .bind(end)
    .bind(only)
    .bind(except)
    .bind(properties)
    .fetch(connection);
    while let Some((user_no, at)) = rows.try_next().await? {
        let user_no = user_no.cast_unsigned();
        if users.contains(user_no) {
            hand_on(user_no, at);
        }
    }
    Ok(())
}
