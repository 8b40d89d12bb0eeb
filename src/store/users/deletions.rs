//! Deleting a user: at once out of the dictionary, then out of events and activity, bit by bit and safe to interrupt.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use roaring::RoaringBitmap;
use sqlx::{Connection, PgConnection, PgPool};

use super::dictionary;
use crate::model::project::{Project, ProjectId};
use crate::store::{
    BEGIN, StoreError, projects, read::events, to_its_end, upkeep::roll_up, write::deltas::Deltas,
};

/// Deletes the user of a name. When this returns, all their names are nobody's: what was received under them until `at` goes,
/// also if it is not stored yet, and what comes later is a new user's. The rest is done by [`carry_out`]. To the microsecond,
/// as the database keeps it.
pub async fn request(
    pool: &PgPool,
    project_id: ProjectId,
    user_id: &str,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    to_its_end(request_owned(pool.clone(), project_id, user_id.to_owned(), at)).await
}

async fn request_owned(
    pool: PgPool,
    project_id: ProjectId,
    user_id: String,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut transaction = pool.begin_with(BEGIN).await?;
    projects::lock(&mut transaction, project_id).await?;
    let person = dictionary::person(&mut transaction, project_id, &user_id).await?;
    let (user_no, names) = person.map_or((None, vec![user_id]), |person| {
        (Some(person.user_no), [vec![person.user_id], person.aliases].concat())
    });
    let hashes: Vec<Vec<u8>> = names.iter().map(|name| dictionary::hash(project_id, name)).collect();
    sqlx::query(
        "insert into deleted_users (project_id, user_hash, deleted_at) select $1, unnest($2::bytea[]), $3
         on conflict (project_id, user_hash) do update set deleted_at = greatest(deleted_users.deleted_at, $3)",
    )
    .bind(project_id.get())
    .bind(hashes)
    .bind(at)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "with gone as (
             delete from users where project_id = $1 and user_no = $2 returning user_no
         ), not_merged_yet as (
             delete from user_merges where project_id = $1 and into_no = $2 returning from_no
         ), merged as (
             delete from former_users where project_id = $1 and into_no = $2
         )
         insert into user_deletions (project_id, user_no, deleted_at)
         select $1, user_no, $3 from gone union all select $1, from_no, $3 from not_merged_yet",
    )
    .bind(project_id.get())
    .bind(user_no)
    .bind(at)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("update upkeep set users_generation = users_generation + 1")
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// Removes what is left of users who were deleted; their number, or nothing if someone else is at it.
pub async fn carry_out(pool: &PgPool) -> Result<Option<usize>, StoreError> {
    // Without activity being rolled up, which moves the rows that are changed here.
    roll_up::alone(pool, async |connection| carry_out_on(connection).await).await
}

async fn carry_out_on(connection: &mut PgConnection) -> Result<usize, StoreError> {
    let rows: Vec<(i32, i32)> =
        sqlx::query_as("select project_id, user_no from user_deletions").fetch_all(&mut *connection).await?;
    let deleted = rows.len();
    if deleted == 0 {
        return Ok(0);
    }
    // Writers that knew these users end first. Those that begin now see that they are gone.
    sqlx::query("select wait_for_writers()").execute(&mut *connection).await?;
    let mut of_projects: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (project_id, user_no) in rows {
        of_projects.entry(project_id).or_default().push(user_no);
    }
    for (project_id, user_nos) in of_projects {
        let project = projects::by_id(&mut *connection, ProjectId::from_stored(project_id)).await?;
        while !remove_events(connection, &project, &user_nos).await? {}
        remove_bits(connection, &project, &user_nos).await?;
    }
    Ok(deleted)
}

/// Removes some events of users, the newest first, and takes them back in activity; true if these were all.
async fn remove_events(
    connection: &mut PgConnection,
    project: &Project,
    user_nos: &[i32],
) -> Result<bool, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let begin = events::begin_of_step(&mut transaction, project.id, user_nos).await?;
    let removed: Vec<(String, DateTime<Utc>, Vec<i32>)> = sqlx::query_as(
        "delete from events
         where project_id = $1 and user_no = any($2) and occurred_at >= coalesce($3, '-infinity')
         returning event_type, occurred_at, array(
             select value_no
             from promoted_properties as promoted join property_values as known using (project_id, property)
             where project_id = $1 and value = coalesce((events.properties -> property)::text, 'null')
         )",
    )
    .bind(project.id.get())
    .bind(user_nos)
    .bind(begin)
    .fetch_all(&mut *transaction)
    .await?;
    let mut deltas = Deltas::default();
    for (event_type, occurred_at, value_nos) in &removed {
        deltas.remove(project.id, event_type, value_nos, project.local_hour(*occurred_at));
    }
    deltas.insert(&mut transaction).await?;
    transaction.commit().await?;
    Ok(begin.is_none())
}

/// Takes users out of all bitmaps of the project, also of those whose events are not kept any more, and ends their
/// deletion.
async fn remove_bits(
    connection: &mut PgConnection,
    project: &Project,
    user_nos: &[i32],
) -> Result<(), StoreError> {
    let gone: RoaringBitmap = user_nos.iter().map(|user_no| user_no.cast_unsigned()).collect();
    let mut bitmap = Vec::with_capacity(gone.serialized_size());
    gone.serialize_into(&mut bitmap).expect("a vector takes all bytes");
    let mut transaction = connection.begin_with(BEGIN).await?;
    sqlx::query("call remove_users($1, $2::bytea::roaringbitmap)")
        .bind(project.id.get())
        .bind(bitmap)
        .execute(&mut *transaction)
        .await?;
    for gone in [
        "delete from user_traits where project_id = $1 and user_no = any($2)",
        "delete from user_deletions where project_id = $1 and user_no = any($2)",
    ] {
        sqlx::query(gone).bind(project.id.get()).bind(user_nos).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Forgets what concerns only events received before `oldest`, when none of them can lie in a stream any more: who was
/// deleted, and which ids were contested.
pub async fn forget(pool: &PgPool, oldest: DateTime<Utc>) -> Result<(), StoreError> {
    for forget in [
        "delete from deleted_users where deleted_at < $1",
        "delete from contested_ids where received_at < $1",
    ] {
        sqlx::query(forget).bind(oldest).execute(pool).await?;
    }
    Ok(())
}

/// Users whose deletion is not complete, and since when the oldest waits.
pub async fn waiting(pool: &PgPool) -> Result<(i64, Option<DateTime<Utc>>), StoreError> {
    Ok(sqlx::query_as("select count(*), min(deleted_at) from user_deletions").fetch_one(pool).await?)
}
