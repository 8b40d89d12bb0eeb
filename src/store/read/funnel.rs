//! The events of a funnel, user by user.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    condition::{Condition, through_lists},
    occurrences::label,
};
use crate::store::StoreError;
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
    let mut rows = sqlx::query_as::<_, (i32, DateTime<Utc>, Uuid, i32, Option<Vec<String>>)>(
        "select user_no, occurred_at, event_id, number,
                case when number = 0 then
                    told_value(coalesce(nullif(properties -> $8, 'null'), nullif(properties #> string_to_array($8, '.'), 'null'),
                                        case when properties @? $9::text::jsonpath then '[]'::jsonb end))
                end
         from events join unnest($5::int[], $6::text[], $7::text[]::jsonpath[]) as step (number, of_type, path)
              on event_type = of_type and (path is null or properties @@ path)
         where project_id = $1 and occurred_at >= $2 and occurred_at < $4 and user_no is not null
           and event_type = any($6) and (number > 0 or occurred_at < $3)
         order by user_no, event_id, occurred_at",
    )
    .persistent(false)
    .bind(project_id.get())
    .bind(span.begin)
    .bind(span.enter_before)
    .bind(span.end)
    .bind(numbers)
    .bind(types)
    .bind(paths)
    .bind(breakdown.map(Property::name))
    .bind(breakdown.and_then(through_lists))
    .fetch(connection);
    let mut current: Option<(i32, Vec<StepEvent>)> = None;
    let mut last = None;
    while let Some((user_no, at, event_id, number, value)) = rows.try_next().await? {
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
