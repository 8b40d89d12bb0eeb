//! Counts activity from the events, a day at a time.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use sqlx::PgConnection;

use crate::{
    model::project::{Project, ProjectId},
    store::{
        StoreError,
        read::{
            occurrences,
            source::{ALL_TYPES, ALL_VALUES},
        },
    },
};

/// The hours of a day: instants in order, and which hour each begins; none, if the day does not exist.
pub(crate) struct Hours {
    pub(crate) starts: Vec<DateTime<Utc>>,
    pub(crate) hours: Vec<Option<NaiveDateTime>>,
}

impl Hours {
    pub(crate) fn of(project: &Project, day: NaiveDate) -> Self {
        let (starts, hours) = project.hours_of(day).into_iter().unzip();
        Self { starts, hours }
    }

    /// From the first instant of the day to the last.
    pub(crate) fn span(&self) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        self.starts.first().copied().zip(self.starts.last().copied())
    }
}

/// Writes all that activity knows of a day anew.
pub(crate) async fn count_day(
    transaction: &mut PgConnection,
    project: &Project,
    day: NaiveDate,
) -> Result<(), StoreError> {
    sqlx::query("call remove_day($1, $2)")
        .bind(project.id.get())
        .bind(day.and_time(NaiveTime::MIN))
        .execute(&mut *transaction)
        .await?;
    let hours = Hours::of(project, day);
    let Some((begin, end)) = hours.span() else { return Ok(()) };
    occurrences::allow_sorting(transaction, false).await?;
    sqlx::query(
        "with counted as (
             select event_type,
                    ($5::timestamp[])[width_bucket(occurred_at, $4::timestamptz[])] as local_hour,
                    coalesce(rb_build_agg(user_no) filter (where user_no is not null), '{}') as users,
                    count(*) as events
             from events
             where project_id = $1 and occurred_at >= $2 and occurred_at < $3
             group by event_type, local_hour
         )
         insert into activity (project_id, event_type, value_no, local_hour, users, events)
         select $1, event_type, $7, local_hour, users, events
         from counted where local_hour is not null
         union all
         select $1, $6, $7, local_hour, rb_or_agg(users), sum(events)
         from counted where local_hour is not null
         group by local_hour",
    )
    .persistent(false)
    .bind(project.id.get())
    .bind(begin)
    .bind(end)
    .bind(&hours.starts)
    .bind(&hours.hours)
    .bind(ALL_TYPES)
    .bind(ALL_VALUES)
    .execute(&mut *transaction)
    .await?;
    let properties: Vec<String> =
        sqlx::query_scalar("select distinct property from property_values where project_id = $1")
            .bind(project.id.get())
            .fetch_all(&mut *transaction)
            .await?;
    for property in &properties {
        count_values(transaction, project.id, property, &hours).await?;
    }
    Ok(())
}

/// Adds what happened in some hours to each value of a property that has a number.
pub(crate) async fn count_values(
    transaction: &mut PgConnection,
    project_id: ProjectId,
    property: &str,
    hours: &Hours,
) -> Result<(), StoreError> {
    let Some((begin, end)) = hours.span() else { return Ok(()) };
    sqlx::query(
        "with counted as (
             select event_type, value_no,
                    ($6::timestamp[])[width_bucket(occurred_at, $5::timestamptz[])] as local_hour,
                    coalesce(rb_build_agg(user_no) filter (where user_no is not null), '{}') as users,
                    count(*) as events
             from events
                  join property_values as known
                  on known.project_id = $1 and known.property = $2
                     and known.value = coalesce((properties -> $2)::text, 'null')
             where events.project_id = $1 and occurred_at >= $3 and occurred_at < $4
             group by event_type, value_no, local_hour
         )
         insert into activity (project_id, event_type, value_no, local_hour, users, events)
         select $1, event_type, value_no, local_hour, users, events
         from counted where local_hour is not null
         union all
         select $1, $7, value_no, local_hour, rb_or_agg(users), sum(events)
         from counted where local_hour is not null
         group by value_no, local_hour",
    )
    .persistent(false)
    .bind(project_id.get())
    .bind(property)
    .bind(begin)
    .bind(end)
    .bind(&hours.starts)
    .bind(&hours.hours)
    .bind(ALL_TYPES)
    .execute(transaction)
    .await?;
    Ok(())
}
