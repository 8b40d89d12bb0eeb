//! Counting days anew from their events, because the rules of a project's time zone have changed: day by day, and safe to
//! interrupt.

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{Connection, PgConnection, PgPool};

use super::{counting::count_day, roll_up};
use crate::{
    model::project::ProjectId,
    store::{BEGIN, StoreError, projects},
};

/// Others who need activity for themselves get it after so long, or after one day if that takes longer.
const TURN: Duration = Duration::from_secs(1);

/// Days of a project that are to be counted anew.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Recount {
    project_id: i32,
    pub first_day: NaiveDate,
    pub last_day: NaiveDate,
    recounted_to: Option<NaiveDate>,
}

impl Recount {
    /// How many days are left.
    pub fn days_left(&self) -> i64 {
        (self.last_day - self.next_day()).num_days() + 1
    }

    fn next_day(&self) -> NaiveDate {
        self.recounted_to.and_then(|day| day.succ_opt()).unwrap_or(self.first_day)
    }
}

/// What waits, by project and day.
pub async fn waiting(pool: &PgPool) -> Result<Vec<(ProjectId, Recount)>, StoreError> {
    let waiting: Vec<Recount> = sqlx::query_as(
        "select project_id, first_day, last_day, recounted_to from recounts order by project_id, first_day",
    )
    .fetch_all(pool)
    .await?;
    Ok(waiting.into_iter().map(|recount| (ProjectId::from_stored(recount.project_id), recount)).collect())
}

/// Recounts for a while; the days that are left. Nothing: someone else is at it.
pub async fn carry_out(pool: &PgPool) -> Result<Option<i64>, StoreError> {
    let left = async || {
        Ok::<_, StoreError>(waiting(pool).await?.iter().map(|(_, recount)| recount.days_left()).sum::<i64>())
    };
    let waits: bool = sqlx::query_scalar("select exists (select from recounts)").fetch_one(pool).await?;
    if !waits {
        return Ok(Some(0));
    }
    match roll_up::alone(pool, async |connection| carry_out_on(connection).await).await? {
        Some(()) => left().await.map(Some),
        None => Ok(None),
    }
}

async fn carry_out_on(connection: &mut PgConnection) -> Result<(), StoreError> {
    let begun = Instant::now();
    // In their place: whoever rolls up finds the lock taken most of the time.
    roll_up::run_on(connection).await?;
    while begun.elapsed() < TURN {
        let next: Option<Recount> = sqlx::query_as(
            "select project_id, first_day, last_day, recounted_to
             from recounts order by project_id, first_day limit 1",
        )
        .fetch_optional(&mut *connection)
        .await?;
        let Some(next) = next else { break };
        if next.days_left() > 0 {
            next.recount(connection).await?;
        } else {
            next.complete(connection).await?;
        }
    }
    Ok(())
}

impl Recount {
    async fn recount(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let day = self.next_day();
        let mut transaction = connection.begin_with(BEGIN).await?;
        // What is stored of the day is either seen here or not stored yet, by a writer that knows the rules.
        sqlx::query("select wait_for_writers()").execute(&mut *transaction).await?;
        let project = projects::by_id(&mut *transaction, ProjectId::from_stored(self.project_id)).await?;
        let events_from: Option<DateTime<Utc>> =
            sqlx::query_scalar("select events_from from upkeep").fetch_one(&mut *transaction).await?;
        // Of days whose events are gone, what was counted stays.
        if events_from.is_none_or(|from| project.start_of(day) >= from) {
            count_day(&mut transaction, &project, day).await?;
        }
        sqlx::query("update recounts set recounted_to = $3 where project_id = $1 and first_day = $2")
            .bind(self.project_id)
            .bind(self.first_day)
            .bind(day)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// What was counted anew is rolled up first, so that all of it is to be seen.
    async fn complete(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        roll_up::run_on(connection).await?;
        sqlx::query("delete from recounts where project_id = $1 and first_day = $2")
            .bind(self.project_id)
            .bind(self.first_day)
            .execute(connection)
            .await?;
        Ok(())
    }
}
