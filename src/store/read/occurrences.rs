//! Reading events, for questions that activity cannot answer: about properties, exact moments, order.
//!
//! Statements are planned anew each time (`persistent(false)`), with the values at hand: so the database looks only at the
//! chunks of the time asked for, and reads a condition on properties once instead of for each row.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use roaring::RoaringBitmap;
use sqlx::PgConnection;

use super::{
    activity::{EventTypeCount, bitmap},
    condition::{Binds, Condition, through_lists},
    source::label,
};
use crate::store::StoreError;
use crate::work;
use crate::{
    model::{project::ProjectId, range::TimeRange},
    stats::{
        filter::{Filter, Property},
        label::{Label, MOST_VALUES},
        timeseries::Happened,
    },
};

/// What happened in a period.
#[derive(sqlx::FromRow)]
struct EventPeriodRow {
    period: i32,
    events: i64,
    users: Option<Vec<u8>>,
}

/// The same of one value.
#[derive(sqlx::FromRow)]
struct ValueRow {
    /// As `told_value` gives it.
    shown: Option<Vec<String>>,
    #[sqlx(flatten)]
    happened: EventPeriodRow,
}

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
    let mut binds = Binds::default();
    let matching = binds.events(project_id, (starts.first().copied(), Some(end)), &Condition::of(filter));
    let starts = binds.add(starts);
    allow_sorting(connection, false).await?;
    let rows: Vec<EventPeriodRow> = work::all(
        binds
            .query(format!(
                "select width_bucket(occurred_at, {starts}::timestamptz[]) - 1 as period, count(*) as events,
                    (rb_build_agg(user_no) filter (where user_no is not null))::bytea as users
             from events
             where {matching}
             group by period"
            ))?
            .persistent(false)
            .fetch(&mut *connection),
    )
    .await?;
    allow_sorting(connection, true).await?;
    rows.into_iter().map(|row| Ok((row.index(), row.happened()?))).collect()
}

/// The same by the value of a property, or by event type.
///
/// What the answer has in the rest is put together before it is counted: it may be long, and each time another.
pub async fn by_value(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    property: Option<&Property>,
    starts: &[DateTime<Utc>],
    end: DateTime<Utc>,
) -> Result<BTreeMap<Label, BTreeMap<usize, Happened>>, StoreError> {
    let mut binds = Binds::default();
    let matching = binds.events(project_id, (starts.first().copied(), Some(end)), &Condition::of(filter));
    let starts = binds.add(starts);
    let limit = binds.add(i64::try_from(MOST_VALUES).unwrap_or(i64::MAX) + 1);
    let (shown, value, event_type) = match property {
        None => ("array[of_type]", "null::jsonb".into(), "event_type"),
        Some(property) => ("told_value(value)", value_of(&mut binds, property), "null::text"),
    };
    allow_sorting(connection, false).await?;
    let rows: Vec<ValueRow> = work::all(binds
        .query(format!(
            "select {shown} as shown, period, events, users
             from (
                 select {event_type} as of_type,
                        case when jsonb_typeof(value) in ('array', 'object') or pg_column_size(value) > 300 then '[]'
                             else value end as value,
                        width_bucket(occurred_at, {starts}::timestamptz[]) - 1 as period, count(*) as events,
                        (rb_build_agg(user_no) filter (where user_no is not null))::bytea as users
                 from (
                     select event_type, occurred_at, user_no, {value} as value
                     from events
                     where {matching}
                     offset 0 -- so that the value is looked for once
                 ) as matching
                 group by 1, 2, 3
                 limit {limit}
             ) as counted"
        ))?
        .persistent(false).fetch(&mut *connection)).await?;
    allow_sorting(connection, true).await?;
    if rows.len() > MOST_VALUES {
        return Err(StoreError::TooManyRows(MOST_VALUES));
    }
    let mut values: BTreeMap<_, BTreeMap<_, Happened>> = BTreeMap::new();
    for ValueRow { shown, happened } in rows {
        let periods = values.entry(label(shown)).or_default();
        periods.entry(happened.index()).or_default().merge(&happened.happened()?);
    }
    Ok(values)
}

/// The value of an event's property, as SQL; a list, if there is more than one.
pub(super) fn value_of(binds: &mut Binds, property: &Property) -> String {
    let name = binds.add(property.name());
    let through_lists = binds.add(through_lists(property));
    format!(
        "coalesce(nullif(properties -> {name}, 'null'), nullif(properties #> string_to_array({name}, '.'), 'null'),
                  case when properties @? {through_lists}::text::jsonpath then '[]'::jsonb end)"
    )
}

/// The event types of some time, most events first, then by name.
pub async fn top_events(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    time: TimeRange,
    limit: u32,
) -> Result<Vec<EventTypeCount>, StoreError> {
    let mut binds = Binds::default();
    let matching = binds.events(project_id, (Some(time.begin), Some(time.end)), &Condition::of(filter));
    let limit = binds.add(i64::from(limit));
    let rows = work::all(binds
        .query(format!(
            "select event_type, count(*) as events,
                    coalesce(rb_cardinality(rb_build_agg(user_no) filter (where user_no is not null)), 0) as users
             from events
             where {matching}
             group by event_type
             order by events desc, event_type
             limit {limit}"
        ))?
        .persistent(false).fetch(connection)).await?;
    Ok(rows)
}

/// The number of events in `time` and not in `without`.
pub async fn count(
    connection: &mut PgConnection,
    project_id: ProjectId,
    filter: &Filter,
    time: TimeRange,
    without: Option<TimeRange>,
) -> Result<i64, StoreError> {
    let mut binds = Binds::default();
    let matching = binds.events(project_id, (Some(time.begin), Some(time.end)), &Condition::of(filter));
    let left = without.map_or_else(String::new, |TimeRange { begin, end }| {
        format!("and (occurred_at < {} or occurred_at >= {})", binds.add(begin), binds.add(end))
    });
    let (count,): (i64,) = binds
        .query(format!("select count(*) from events where {matching} {left}"))?
        .persistent(false)
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
    let mut binds = Binds::default();
    let matching = binds.events(project_id, (None, Some(end)), &Condition::of(filter));
    let (users,): (Option<Vec<u8>>,) = binds
        .query(format!(
            "select (rb_build_agg(user_no) filter (where user_no is not null))::bytea from events where {matching}"
        ))?
        .persistent(false)
        .fetch_one(connection)
        .await?;
    users.map_or_else(|| Ok(RoaringBitmap::new()), |users| bitmap(&users))
}

impl EventPeriodRow {
    fn index(&self) -> usize {
        usize::try_from(self.period).unwrap_or(0)
    }

    fn happened(&self) -> Result<Happened, StoreError> {
        let users = self.users.as_deref().map_or_else(|| Ok(RoaringBitmap::new()), bitmap)?;
        Ok(Happened { events: self.events, users })
    }
}
