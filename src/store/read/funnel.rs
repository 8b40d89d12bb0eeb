//! The events of a funnel, user by user.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    condition::{Binds, Condition},
    occurrences::value_of,
    source::label,
};
use crate::store::StoreError;
use crate::work;
use crate::{
    model::project::ProjectId,
    stats::{
        filter::{Filter, Property},
        funnel::StepEvent,
    },
};

/// When a user must enter, and until when the last step may come.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub begin: DateTime<Utc>,
    pub enter_before: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

/// An event that is of a step.
#[derive(sqlx::FromRow)]
struct StepRow {
    user_no: i32,
    occurred_at: DateTime<Utc>,
    event_id: Uuid,
    number: i32,
    /// The value of the breakdown, as `told_value` gives it.
    shown: Option<Vec<String>>,
}

/// Hands on each user with their events of any step. A step is of one or more event types.
pub async fn each_user(
    connection: &mut PgConnection,
    project_id: ProjectId,
    steps: &[Filter],
    breakdown: Option<&Property>,
    span: Span,
    mut hand_on: impl FnMut(u32, &mut [StepEvent]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let (mut numbers, mut types, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    for (number, step) in (0_i32..).zip(steps) {
        let Condition { only, except, properties } = Condition::of(step);
        for event_type in only.into_iter().flatten().filter(|event_type| !except.contains(event_type)) {
            numbers.push(number);
            types.push(event_type);
            paths.push(properties.clone());
        }
    }
    let mut binds = Binds::default();
    let within = binds.events(project_id, (Some(span.begin), Some(span.end)), &Condition::default());
    let (numbers, of_types, paths) = (binds.add(numbers), binds.add(types), binds.add(paths));
    let enter_before = binds.add(span.enter_before);
    let value = breakdown.map_or_else(|| "null".into(), |property| value_of(&mut binds, property));
    let statement = format!(
        "select user_no, occurred_at, event_id, number, case when number = 0 then told_value({value}) end as shown
         from events join unnest({numbers}::int[], {of_types}::text[], {paths}::text[]::jsonpath[])
                          as step (number, of_type, path)
              on event_type = of_type and (path is null or properties @@ path)
         where {within} and user_no is not null
           and event_type = any({of_types}) and (number > 0 or occurred_at < {enter_before})
         order by user_no, event_id, occurred_at"
    );
    let mut rows = work::in_slices(binds.query::<StepRow>(statement)?.persistent(false).fetch(connection));
    let mut current: Option<(i32, Vec<StepEvent>)> = None;
    let mut last = None;
    while let Some(StepRow { user_no, occurred_at: at, event_id, number, shown: value }) =
        rows.try_next().await?
    {
        if current.as_ref().is_none_or(|(of, _)| *of != user_no) {
            if let Some((user_no, mut events)) = current.replace((user_no, Vec::new())) {
                hand_on(user_no.cast_unsigned(), &mut events)?;
            }
            last = None;
        }
        let Some((_, events)) = &mut current else { continue };
        // An event of several steps comes once for each.
        match events.last_mut().filter(|_| last == Some((event_id, at))) {
            Some(event) => {
                event.steps |= 1 << number;
                if number == 0 {
                    event.value = label(value);
                }
            }
            None => events.push(StepEvent { at, steps: 1 << number, value: label(value) }),
        }
        last = Some((event_id, at));
    }
    if let Some((user_no, mut events)) = current {
        hand_on(user_no.cast_unsigned(), &mut events)?;
    }
    Ok(())
}
