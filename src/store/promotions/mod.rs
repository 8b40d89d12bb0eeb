//! Promoted properties: activity knows their values too, so that questions about them are answered from bitmaps.
//!
//! From the moment of a promotion writers add deltas for each value ([`known`]); what was stored before is rebuilt in the
//! background ([`rebuild`]), and when that is done, questions are answered from activity ([`super::read::source`]).

pub mod known;
pub mod rebuild;
mod values;

use chrono::NaiveDate;
use sqlx::{Connection, PgConnection, PgPool};

use super::{BEGIN, StoreError, incarnation, projects};
use crate::{model::project::ProjectId, stats::filter::Property, telemetry::metrics};

/// Promoted properties of a project. Each adds to every transaction a row of activity for each event type, hour and value.
pub const MOST: usize = 10;
/// Different values of one. A year of a thousand is 365,000 rows of days for each event type.
pub const MOST_VALUES: u16 = 1_000;
/// Bytes of a value, as jsonb writes it. What is longer is no dimension, but a text.
pub const LONGEST_VALUE: u16 = 200;

/// A promoted property and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    pub property: Property,
    pub state: PromotionState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromotionState {
    /// History is being rebuilt; of its days so many percent are.
    Rebuilding(i64),
    /// Questions are answered from activity.
    Ready,
    /// Activity does not know it any more, for this reason. Questions read the events.
    Stopped(String),
}

/// Why a property was not promoted.
#[derive(Debug, thiserror::Error)]
pub enum NotPromoted {
    #[error("{0} lies a level deeper: only properties without a dot in their names can be promoted")]
    Nested(Property),
    #[error("the project has {MOST} promoted properties, which is the most: demote one of them first")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for NotPromoted {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Promotes a property. One that is promoted stays as it is; one that is stopped is tried anew.
pub async fn promote(pool: &PgPool, project_id: ProjectId, property: &Property) -> Result<(), NotPromoted> {
    if property.is_nested() {
        return Err(NotPromoted::Nested(property.clone()));
    }
    let mut transaction = pool.begin_with(BEGIN).await?;
    projects::lock(&mut transaction, project_id).await?;
    let promoted = of(&mut transaction, project_id).await?;
    match promoted.iter().find(|promotion| promotion.property == *property) {
        Some(Promotion { state: PromotionState::Stopped(_), .. }) => {}
        Some(_) => return Ok(()),
        None if promoted.len() >= MOST => return Err(NotPromoted::TooMany),
        None => {}
    }
    sqlx::query(
        "insert into promoted_properties (project_id, property) values ($1, $2)
         on conflict (project_id, property) do update
         set promoted_at = now(), first_day = null, last_day = null, rebuilt_to = null, stopped = null",
    )
    .bind(project_id.get())
    .bind(property.name())
    .execute(&mut *transaction)
    .await?;
    incarnation::begin_generation(&mut transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// Takes a promotion back; false if there is none. What activity knows of it goes in the background.
pub async fn demote(pool: &PgPool, project_id: ProjectId, property: &Property) -> Result<bool, StoreError> {
    let mut transaction = pool.begin_with(BEGIN).await?;
    projects::lock(&mut transaction, project_id).await?;
    let demoted = sqlx::query("delete from promoted_properties where project_id = $1 and property = $2")
        .bind(project_id.get())
        .bind(property.name())
        .execute(&mut *transaction)
        .await?;
    if demoted.rows_affected() == 0 {
        return Ok(false);
    }
    retire_values(&mut transaction, project_id, property.name()).await?;
    incarnation::begin_generation(&mut transaction).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Whether an event of the project has a value of a promoted property.
pub async fn has_values(
    pool: &PgPool,
    project_id: ProjectId,
    property: &Property,
) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar(
        "select exists (select from property_values where project_id = $1 and property = $2)",
    );
    Ok(query.bind(project_id.get()).bind(property.name()).fetch_one(pool).await?)
}

/// The promoted properties of a project, by name.
pub async fn of(connection: &mut PgConnection, project_id: ProjectId) -> Result<Vec<Promotion>, StoreError> {
    type PromotionRow =
        (String, Option<NaiveDate>, Option<NaiveDate>, Option<NaiveDate>, bool, Option<String>);
    let rows: Vec<PromotionRow> = sqlx::query_as(
        "select property, first_day, last_day, rebuilt_to, ready_at is not null, stopped
         from promoted_properties where project_id = $1 order by property",
    )
    .bind(project_id.get())
    .fetch_all(connection)
    .await?;
    let promotion = |(name, first, last, rebuilt_to, ready, stopped): PromotionRow| {
        let state = match stopped {
            Some(reason) => PromotionState::Stopped(reason),
            None if ready => PromotionState::Ready,
            None => PromotionState::Rebuilding(percent(first.zip(last), rebuilt_to)),
        };
        Promotion { property: Property::from_stored(name), state }
    };
    Ok(rows.into_iter().map(promotion).collect())
}

/// Those that are stopped: names of projects and properties, and why.
pub async fn stopped(pool: &PgPool) -> Result<Vec<(String, Property, String)>, StoreError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "select name, property, stopped from promoted_properties join projects using (project_id)
         where stopped is not null and deleted_at is null order by name, property",
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|(project, name, why)| (project, Property::from_stored(name), why)).collect())
}

/// How much of some days lies behind.
fn percent(days: Option<(NaiveDate, NaiveDate)>, rebuilt_to: Option<NaiveDate>) -> i64 {
    let Some(((first, last), rebuilt_to)) = days.zip(rebuilt_to) else { return 0 };
    100 * ((rebuilt_to - first).num_days() + 1) / ((last - first).num_days() + 1)
}

/// Ends a promotion that activity cannot carry. Events are stored as before, and questions read them.
async fn stop(
    connection: &mut PgConnection,
    project_id: ProjectId,
    property: &str,
    reason: &str,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    projects::lock(&mut transaction, project_id).await?;
    sqlx::query(
        "update promoted_properties set stopped = $3, ready_at = null
         where project_id = $1 and property = $2 and stopped is null",
    )
    .bind(project_id.get())
    .bind(property)
    .bind(reason)
    .execute(&mut *transaction)
    .await?;
    retire_values(&mut transaction, project_id, property).await?;
    incarnation::begin_generation(&mut transaction).await?;
    transaction.commit().await?;
    metrics::promotion_stopped();
    tracing::warn!(%project_id, property, reason, "a promoted property is stopped; questions about it read events");
    Ok(())
}

/// The values of a property are nobody's any more. Their rows in activity go in the background.
async fn retire_values(
    transaction: &mut PgConnection,
    project_id: ProjectId,
    property: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "with gone as (delete from property_values where project_id = $1 and property = $2 returning value_no)
         insert into former_values (project_id, value_no) select $1, value_no from gone",
    )
    .bind(project_id.get())
    .bind(property)
    .execute(transaction)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_that_of_the_calendar() {
        let day = |day| NaiveDate::from_ymd_opt(2024, 3, day).expect("a day");
        let days = Some((day(1), day(10)));
        assert_eq!(percent(None, None), 0);
        assert_eq!(percent(days, None), 0);
        assert_eq!(percent(days, Some(day(1))), 10);
        assert_eq!(percent(days, Some(day(10))), 100);
        assert_eq!(percent(Some((day(3), day(3))), Some(day(3))), 100);
    }
}
