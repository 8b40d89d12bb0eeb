//! Deleting a project: at once its name and its keys, then its events, activity and users, bit by bit and safe to interrupt.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::model::project::ProjectId;
use crate::store::{BEGIN, StoreError, upkeep::roll_up};

/// What is known of a project in few rows. Requests that were under way may add some after its deletion.
const IN_FEW_ROWS: [&str; 10] = [
    "delete from api_keys where project_id = $1",
    "delete from event_types where project_id = $1",
    "delete from deleted_users where project_id = $1",
    "delete from user_deletions where project_id = $1",
    "delete from user_merges where project_id = $1",
    "delete from recounts where project_id = $1",
    "delete from contested_ids where project_id = $1",
    "delete from unfiltered_projects where project_id = $1",
    "delete from promoted_properties where project_id = $1",
    "delete from former_values where project_id = $1",
];

/// What is known of it in many, some of them at a time.
const IN_MANY_ROWS: [&str; 5] = [
    // Along the index that begins with these.
    "delete from events where project_id = $1 and event_id <= coalesce(
         (select event_id from events where project_id = $1 order by event_id offset 9999 limit 1),
         'ffffffff-ffff-ffff-ffff-ffffffffffff'
     )",
    "delete from property_values where project_id = $1 and value_no in (
         select value_no from property_values where project_id = $1 limit 10000
     )",
    "delete from users where project_id = $1 and user_no in (
         select user_no from users where project_id = $1 limit 10000
     )",
    "delete from former_users where project_id = $1 and from_no in (
         select from_no from former_users where project_id = $1 limit 10000
     )",
    "delete from user_traits where project_id = $1 and user_no in (
         select user_no from user_traits where project_id = $1 limit 10000
     )",
];

/// Deletes a project: when this returns, its name and its keys are gone, and nothing of it is stored any more. Instances that have
/// looked a key up may remember it for some seconds.
/// The rest is done by [`carry_out`].
pub async fn request(pool: &PgPool, project_id: ProjectId) -> Result<(), StoreError> {
    let mut transaction = pool.begin_with(BEGIN).await?;
    // Writers that do not know of it end first.
    sqlx::query("select wait_for_writers()").execute(&mut *transaction).await?;
    sqlx::query("update projects set name = null, deleted_at = now() where project_id = $1")
        .bind(project_id.get())
        .execute(&mut *transaction)
        .await?;
    for rows in IN_FEW_ROWS {
        sqlx::query(rows).bind(project_id.get()).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Removes what is left of projects that were deleted; their number. Those whose activity someone else is at have to wait.
pub async fn carry_out(pool: &PgPool) -> Result<usize, StoreError> {
    let deleted: Vec<i32> = sqlx::query_scalar(
        "select project_id from projects where deleted_at is not null and removed_at is null",
    )
    .fetch_all(pool)
    .await?;
    let mut removed = 0;
    for project_id in deleted {
        // Without activity being rolled up, which would move what is removed here.
        let activity = roll_up::alone(pool, async |connection| {
            sqlx::query("call remove_activity($1)").bind(project_id).execute(connection).await?;
            Ok(())
        });
        if activity.await?.is_none() {
            continue;
        }
        for some in IN_MANY_ROWS {
            while sqlx::query(some).bind(project_id).execute(pool).await?.rows_affected() > 0 {}
        }
        sqlx::query("update projects set removed_at = now() where project_id = $1")
            .bind(project_id)
            .execute(pool)
            .await?;
        removed += 1;
    }
    Ok(removed)
}

/// Forgets the projects that were deleted before `oldest`, when no event of theirs can lie in a stream any more.
pub async fn forget(pool: &PgPool, oldest: DateTime<Utc>) -> Result<(), StoreError> {
    let removed: Vec<i32> = sqlx::query_scalar(
        "select project_id from projects where deleted_at < $1 and removed_at is not null",
    )
    .bind(oldest)
    .fetch_all(pool)
    .await?;
    for project_id in removed {
        let mut transaction = pool.begin_with(BEGIN).await?;
        // Writers that learned of it late may have numbered users and values of events that they did not store.
        for rows in IN_FEW_ROWS.into_iter().chain(IN_MANY_ROWS) {
            sqlx::query(rows).bind(project_id).execute(&mut *transaction).await?;
        }
        sqlx::query("delete from projects where project_id = $1")
            .bind(project_id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// Projects whose removal is not complete, and since when the oldest waits.
pub async fn waiting(pool: &PgPool) -> Result<(i64, Option<DateTime<Utc>>), StoreError> {
    Ok(sqlx::query_as(
        "select count(*), min(deleted_at) from projects where deleted_at is not null and removed_at is null",
    )
    .fetch_one(pool)
    .await?)
}
