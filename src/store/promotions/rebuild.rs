//! Rebuilding what activity knows of promoted properties from the events, day by day and safe to interrupt; and removing what
//! it knows of those that are not promoted any more.

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use sqlx::{Connection, PgConnection, PgPool};

use super::{
    LONGEST_VALUE, MOST_VALUES, stop,
    values::{self, too_long, too_many},
};
use crate::{
    model::project::{Project, ProjectId},
    store::{
        BEGIN, StoreError, projects,
        read::{
            occurrences,
            source::{ALL_TYPES, ALL_VALUES},
        },
        upkeep::{
            counting::{Hours, count_values},
            roll_up,
        },
    },
    telemetry,
};

/// Others who need activity for themselves get it after so long, or after one day if that takes longer.
const SLICE: Duration = Duration::from_secs(1);

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Days of properties that were rebuilt.
    pub days: usize,
    /// Properties that are ready now.
    pub ready: usize,
    /// Values that were removed.
    pub removed: usize,
    /// Properties whose history could not be rebuilt; logged each.
    pub failed: i64,
}

/// A promotion whose history is being rebuilt. The same property promoted again is another.
#[derive(sqlx::FromRow)]
struct Rebuilding {
    project_id: i32,
    property: String,
    promoted_at: DateTime<Utc>,
    first_day: Option<NaiveDate>,
    last_day: Option<NaiveDate>,
    rebuilt_to: Option<NaiveDate>,
}

/// Rebuilds for a while what waits for it. Nothing: there is nothing to do, or someone else is at it.
pub async fn carry_out(pool: &PgPool) -> Result<Option<Rebuilt>, StoreError> {
    let waits: bool = sqlx::query_scalar(
        "select exists(select from former_values)
             or exists(select from promoted_properties where ready_at is null and stopped is null)",
    )
    .fetch_one(pool)
    .await?;
    if !waits {
        return Ok(None);
    }
    roll_up::alone(pool, async |connection| carry_out_on(connection).await).await
}

async fn carry_out_on(connection: &mut PgConnection) -> Result<Rebuilt, StoreError> {
    let mut begun = Instant::now();
    // Whoever else rolls up finds the lock taken most of the time.
    roll_up::run_on(connection).await?;
    let mut rebuilt = Rebuilt { removed: remove_former(connection).await?, ..Rebuilt::default() };
    while begun.elapsed() < SLICE {
        let next: Option<Rebuilding> = sqlx::query_as(
            "select project_id, property, promoted_at, first_day, last_day, rebuilt_to
             from promoted_properties
             where ready_at is null and stopped is null
             order by promoted_at, project_id, property
             offset $1 limit 1",
        )
        .bind(rebuilt.failed)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(next) = next else { break };
        if let Err(error) = next.go_on(connection, &mut rebuilt).await {
            let Rebuilding { project_id, property, .. } = next;
            let error = telemetry::chain(&error);
            tracing::warn!(
                project_id,
                property,
                error,
                "a promoted property is not rebuilt yet; trying again"
            );
            // It is passed over until the next run, and those behind it get their time however long it took to fail.
            rebuilt.failed += 1;
            begun = Instant::now();
        }
    }
    Ok(rebuilt)
}

/// Removes the rows of values that nothing asks for any more; their number.
async fn remove_former(connection: &mut PgConnection) -> Result<usize, StoreError> {
    let former: Vec<(i32, Vec<i32>)> =
        sqlx::query_as("select project_id, array_agg(value_no) from former_values group by project_id")
            .fetch_all(&mut *connection)
            .await?;
    if former.is_empty() {
        return Ok(0);
    }
    // Writers that knew them end first.
    sqlx::query("select wait_for_writers()").execute(&mut *connection).await?;
    let mut removed = 0;
    for (project_id, value_nos) in former {
        let mut transaction = connection.begin_with(BEGIN).await?;
        sqlx::query("call remove_values($1, $2, null)")
            .bind(project_id)
            .bind(&value_nos)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("delete from former_values where project_id = $1 and value_no = any($2)")
            .bind(project_id)
            .bind(&value_nos)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        removed += value_nos.len();
    }
    Ok(removed)
}

impl Rebuilding {
    /// Does what comes next: finds the days, rebuilds one of them, or finds that none is left.
    async fn go_on(&self, connection: &mut PgConnection, rebuilt: &mut Rebuilt) -> Result<(), StoreError> {
        if self.first_day.is_none() {
            self.begin(connection).await?;
        } else if let Some(day) = self.next_day(connection).await? {
            let project = projects::by_id(&mut *connection, ProjectId::from_stored(self.project_id)).await?;
            self.rebuild(connection, &project, day).await?;
            rebuilt.days += 1;
        } else {
            self.complete(connection).await?;
            rebuilt.ready += 1;
        }
        Ok(())
    }

    /// Finds the days whose events were stored by writers that did not know the property. All days that have activity may be
    /// such, and a day on which nothing was stored yet is not.
    async fn begin(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        sqlx::query("select wait_for_writers()").execute(&mut *connection).await?;
        roll_up::run_on(connection).await?;
        // Where there is no history, nothing is older than today.
        sqlx::query(
            "update promoted_properties
             set first_day = coalesce(history.first_day, current_date), last_day = coalesce(history.last_day, current_date)
             from (
                 select min(local_day)::date as first_day, max(local_day)::date as last_day
                 from activity_daily where project_id = $1 and event_type = $4 and value_no = $5
             ) as history
             where project_id = $1 and property = $2 and promoted_at = $3 and stopped is null",
        )
        .bind(self.project_id)
        .bind(&self.property)
        .bind(self.promoted_at)
        .bind(ALL_TYPES)
        .bind(ALL_VALUES)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// The next day that has activity.
    async fn next_day(&self, connection: &mut PgConnection) -> Result<Option<NaiveDate>, StoreError> {
        let query = sqlx::query_scalar(
            "select min(local_day)::date
             from activity_daily
             where project_id = $1 and event_type = $4 and value_no = $5 and local_day >= $2 and local_day <= $3
               and local_day is distinct from $6",
        );
        let day = query
            .bind(self.project_id)
            .bind(self.rebuilt_to.or(self.first_day).map(midnight))
            .bind(self.last_day.map(midnight))
            .bind(ALL_TYPES)
            .bind(ALL_VALUES)
            .bind(self.rebuilt_to.map(midnight))
            .fetch_one(connection)
            .await?;
        Ok(day)
    }

    /// Writes what activity knows of the property on a day anew, from the day's events.
    async fn rebuild(
        &self,
        connection: &mut PgConnection,
        project: &Project,
        day: NaiveDate,
    ) -> Result<(), StoreError> {
        let Self { project_id, property, .. } = self;
        let hours = Hours::of(project, day);
        let Some(span) = hours.span() else { return Ok(()) };
        if !self.number_values(connection, project, span).await? {
            return Ok(());
        }
        let mut transaction = connection.begin_with(BEGIN).await?;
        // What is stored of the day is either seen here or not stored yet, by a writer that knows the property.
        sqlx::query("select wait_for_writers()").execute(&mut *transaction).await?;
        let value_nos: Vec<i32> = sqlx::query_scalar(
            "select value_no from property_values where project_id = $1 and property = $2",
        )
        .bind(project_id)
        .bind(property)
        .fetch_all(&mut *transaction)
        .await?;
        sqlx::query("call remove_values($1, $2, $3)")
            .bind(project_id)
            .bind(value_nos)
            .bind(midnight(day))
            .execute(&mut *transaction)
            .await?;
        occurrences::allow_sorting(&mut transaction, false).await?;
        count_values(&mut transaction, project.id, property, &hours).await?;
        sqlx::query(
            "update promoted_properties set rebuilt_to = $4
             where project_id = $1 and property = $2 and promoted_at = $3",
        )
        .bind(project_id)
        .bind(property)
        .bind(self.promoted_at)
        .bind(day)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Gives numbers to the values of some events; false if they are too many, and the promotion is stopped.
    async fn number_values(
        &self,
        connection: &mut PgConnection,
        project: &Project,
        (begin, end): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<bool, StoreError> {
        // Nothing stands for those that are too long.
        let found: Vec<Option<String>> = sqlx::query_scalar(
            "select distinct case when octet_length(value) <= $6 then value end
             from (
                 select coalesce((properties -> $2)::text, 'null') as value
                 from events
                 where project_id = $1 and occurred_at >= $3 and occurred_at < $4
             ) as events
             limit $5",
        )
        .persistent(false)
        .bind(self.project_id)
        .bind(&self.property)
        .bind(begin)
        .bind(end)
        .bind(i64::from(MOST_VALUES) + 1)
        .bind(i32::from(LONGEST_VALUE))
        .fetch_all(&mut *connection)
        .await?;
        let found: Option<Vec<&str>> = found.iter().map(Option::as_deref).collect();
        let reason = match found {
            None => too_long(),
            Some(found) if found.len() > usize::from(MOST_VALUES) => too_many(),
            Some(found) => {
                let numbers = values::find_or_add(connection, project.id, &self.property, &found).await?;
                return Ok(numbers.iter().all(Option::is_some));
            }
        };
        stop(connection, project.id, &self.property, &reason).await?;
        Ok(false)
    }

    /// From now on questions are answered from activity. What was rebuilt is rolled up first, so that all of it is to be seen.
    async fn complete(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        roll_up::run_on(connection).await?;
        sqlx::query(
            "update promoted_properties set ready_at = now()
             where project_id = $1 and property = $2 and promoted_at = $3 and stopped is null",
        )
        .bind(self.project_id)
        .bind(&self.property)
        .bind(self.promoted_at)
        .execute(connection)
        .await?;
        Ok(())
    }
}

fn midnight(day: NaiveDate) -> NaiveDateTime {
    day.and_time(NaiveTime::MIN)
}
