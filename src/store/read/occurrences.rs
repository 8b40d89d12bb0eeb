//! Reading events, for questions that activity cannot answer: about properties, exact moments, order.
//!
//! Statements are planned anew each time (`persistent(false)`), with the values at hand: so the database looks only at the
//! chunks of the time asked for, and reads a condition on properties once instead of for each row.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use roaring::RoaringBitmap;
use sqlx::{PgConnection, Postgres, postgres::PgArguments, query::QueryAs};

use super::{
    activity::{EventTypeCount, bitmap},
    condition::{Condition, through_lists},
};
use crate::store::StoreError;
use crate::{
    model::{project::ProjectId, range::TimeRange},
    stats::{
        filter::{Filter, Property},
        label::{Label, MOST_VALUES},
        timeseries::Happened,
    },
};

/// Value, period, events, users.
type ValueInPeriod = (Option<Vec<String>>, i32, i64, Option<Vec<u8>>);

/// Whether the planner may sort, from now on in this transaction. The groups of periods and values are few, which it cannot
/// know of an expression: it takes each event for a group of its own, and would sort them all.
pub(crate) async fn allow_sorting(connection: &mut PgConnection, allowed: bool) -> Result<(), StoreError> {
    let value = if allowed { "on" } else { "off" };
    sqlx::query("select set_config('enable_sort', $1, true)").bind(value).execute(connection).await?;
    Ok(())
}

/// What happened in each of consecutive periods, by index: from its start until that of the next, the last until `end`.
pub async fn by_period(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    starts: &[DateTime<Utc>],
    end: DateTime<Utc>,
) -> Result<BTreeMap<usize, Happened>, StoreError> {
    allow_sorting(connection, false).await?;
    let rows: Vec<(i32, i64, Option<Vec<u8>>)> = matching(
        "select width_bucket(occurred_at, $7::timestamptz[]) - 1 as period, count(*),
                (rb_build_agg(user_no) filter (where user_no is not null))::bytea
         from events
         where project_id = $1 and occurred_at >= $2 and occurred_at < $3
           and ($4::text[] is null or event_type = any($4)) and event_type <> all($5)
           and ($6::text is null or properties @@ $6::text::jsonpath)
         group by period",
        project_id,
        filter,
        (starts[0], end),
    )
    .bind(starts)
    .fetch_all(&mut *connection)
    .await?;
    allow_sorting(connection, true).await?;
    rows.into_iter().map(|(period, events, users)| Ok((index(period), happened(events, users)?))).collect()
}

/// The same by the value of a property, or by event type.
///
/// What is told with the rest is put together before it is counted: it may be long, and each time another.
pub async fn by_value(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    property: Option<&Property>,
    starts: &[DateTime<Utc>],
    end: DateTime<Utc>,
) -> Result<BTreeMap<Label, BTreeMap<usize, Happened>>, StoreError> {
    allow_sorting(connection, false).await?;
    let rows: Vec<ValueInPeriod> = matching(
        "select case when $8::text is null then array[of_type] else told_value(value) end, period, events, users
         from (
             select case when $8::text is null then event_type end as of_type,
                    case when jsonb_typeof(value) in ('array', 'object') or pg_column_size(value) > 300 then '[]'
                         else value end as value,
                    width_bucket(occurred_at, $7::timestamptz[]) - 1 as period, count(*) as events,
                    (rb_build_agg(user_no) filter (where user_no is not null))::bytea as users
             from (
                 select event_type, occurred_at, user_no,
                        coalesce(nullif(properties -> $8, 'null'), nullif(properties #> string_to_array($8, '.'), 'null'),
                                 case when properties @? $10::text::jsonpath then '[]'::jsonb end) as value
                 from events
                 where project_id = $1 and occurred_at >= $2 and occurred_at < $3
                   and ($4::text[] is null or event_type = any($4)) and event_type <> all($5)
                   and ($6::text is null or properties @@ $6::text::jsonpath)
                 offset 0 -- so that the value is looked for once
             ) as matching
             group by 1, 2, 3
             limit $9
         ) as counted",
        project_id,
        filter,
        (starts[0], end),
    )
    .bind(starts)
    .bind(property.map(Property::name))
    .bind(i64::try_from(MOST_VALUES).unwrap_or(i64::MAX) + 1)
    .bind(property.and_then(through_lists))
    .fetch_all(&mut *connection)
    .await?;
    allow_sorting(connection, true).await?;
    if rows.len() > MOST_VALUES {
        return Err(StoreError::TooManyRows(MOST_VALUES));
    }
    let mut values: BTreeMap<_, BTreeMap<_, Happened>> = BTreeMap::new();
    for (value, period, events, users) in rows {
        let periods = values.entry(label(value)).or_default();
        periods.entry(index(period)).or_default().merge(&happened(events, users)?);
    }
    Ok(values)
}

/// The event types, most events first, then by name.
pub async fn top_events(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    time: TimeRange,
    limit: u32,
) -> Result<Vec<EventTypeCount>, StoreError> {
    let rows: Vec<(String, i64, i64)> = matching(
        "select event_type, count(*) as events,
                coalesce(rb_cardinality(rb_build_agg(user_no) filter (where user_no is not null)), 0) as users
         from events
         where project_id = $1 and occurred_at >= $2 and occurred_at < $3
           and ($4::text[] is null or event_type = any($4)) and event_type <> all($5)
           and ($6::text is null or properties @@ $6::text::jsonpath)
         group by event_type
         order by events desc, event_type
         limit $7",
        project_id,
        filter,
        (time.begin, time.end),
    )
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(event_type, events, users)| EventTypeCount { event_type, events, users })
        .collect())
}

/// The number of events in `time` and not in `without`.
pub async fn count(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    time: TimeRange,
    without: Option<TimeRange>,
) -> Result<i64, StoreError> {
    let (count,): (i64,) = matching(
        "select count(*)
         from events
         where project_id = $1 and occurred_at >= $2 and occurred_at < $3
           and ($4::text[] is null or event_type = any($4)) and event_type <> all($5)
           and ($6::text is null or properties @@ $6::text::jsonpath)
           and ($7::timestamptz is null or occurred_at < $7 or occurred_at >= $8)",
        project_id,
        filter,
        (time.begin, time.end),
    )
    .bind(without.map(|without| without.begin))
    .bind(without.map(|without| without.end))
    .fetch_one(connection)
    .await?;
    Ok(count)
}

/// Who did something before a moment, over all history.
pub async fn users_before(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    end: DateTime<Utc>,
) -> Result<RoaringBitmap, StoreError> {
    let (users,): (Option<Vec<u8>>,) = matching(
        "select (rb_build_agg(user_no) filter (where user_no is not null))::bytea
         from events
         where project_id = $1 and ($2::timestamptz is null or occurred_at >= $2) and occurred_at < $3
           and ($4::text[] is null or event_type = any($4)) and event_type <> all($5)
           and ($6::text is null or properties @@ $6::text::jsonpath)",
        project_id,
        filter,
        (None, end),
    )
    .fetch_one(connection)
    .await?;
    users.map_or_else(|| Ok(RoaringBitmap::new()), |users| bitmap(&users))
}

/// Arguments 1 to 6 of a statement that looks for events: project, time, types, properties.
fn matching<'a, T>(
    statement: &'static str,
    project_id: ProjectId,
    filter: &Filter,
    (begin, end): (impl Into<Option<DateTime<Utc>>>, DateTime<Utc>),
) -> QueryAs<'a, Postgres, T, PgArguments>
where
    T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
{
    let Condition { only, except, properties } = Condition::of(filter);
    sqlx::query_as(statement)
        .persistent(false)
        .bind(project_id.get())
        .bind(begin.into())
        .bind(end)
        .bind(only)
        .bind(except)
        .bind(properties)
}

/// From what `told_value` gives.
pub(crate) fn label(told: Option<Vec<String>>) -> Label {
    match told.map(|told| told.into_iter().next()) {
        None => Label::NONE,
        Some(Some(value)) => Label::Value(Some(value)),
        Some(None) => Label::Other,
    }
}

fn index(period: i32) -> usize {
    usize::try_from(period).unwrap_or(0)
}

fn happened(events: i64, users: Option<Vec<u8>>) -> Result<Happened, StoreError> {
    let users = users.map_or_else(|| Ok(RoaringBitmap::new()), |users| bitmap(&users))?;
    Ok(Happened { events, users })
}
