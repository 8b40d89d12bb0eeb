//! The dictionary of users: a dense number per project for each user id, given on first sight.

use std::collections::HashMap;

use moka::sync::Cache;
use sqlx::{Connection, PgConnection, PgPool};

use super::{BEGIN, StoreError};
use crate::project::ProjectId;

/// Users remembered between transactions.
const REMEMBERED: u64 = 1_000_000;

/// Numbers of users, remembered.
#[derive(Clone)]
pub struct Users {
    known: Cache<(ProjectId, Box<str>), i32>,
}

impl Default for Users {
    fn default() -> Self {
        Self { known: Cache::new(REMEMBERED) }
    }
}

impl Users {
    /// The numbers of these users; who is new gets one.
    pub async fn numbers<'a>(
        &self,
        connection: &mut PgConnection,
        project_id: ProjectId,
        user_ids: impl Iterator<Item = &'a str>,
    ) -> Result<HashMap<&'a str, i32>, StoreError> {
        let mut numbers = HashMap::new();
        let mut unknown = Vec::new();
        for user_id in user_ids {
            match self.known.get(&(project_id, user_id.into())) {
                Some(number) => {
                    numbers.insert(user_id, number);
                }
                None => unknown.push(user_id),
            }
        }
        if unknown.is_empty() {
            return Ok(numbers);
        }
        let mut found = find(connection, project_id, &unknown).await?;
        if found.len() < unknown.len() {
            let new: Vec<&str> = unknown.iter().copied().filter(|id| !found.contains_key(*id)).collect();
            add(connection, project_id, &new).await?;
            found.extend(find(connection, project_id, &new).await?);
        }
        for user_id in unknown {
            let &number = found.get(user_id).ok_or(StoreError::NoUserNumber)?;
            self.known.insert((project_id, user_id.into()), number);
            numbers.insert(user_id, number);
        }
        Ok(numbers)
    }
}

/// The number of one user, if there is one.
pub async fn number(pool: &PgPool, project_id: ProjectId, user_id: &str) -> Result<Option<i32>, StoreError> {
    Ok(find(&mut *pool.acquire().await?, project_id, &[user_id]).await?.remove(user_id))
}

async fn find(
    connection: &mut PgConnection,
    project_id: ProjectId,
    user_ids: &[&str],
) -> Result<HashMap<String, i32>, StoreError> {
    let rows: Vec<(String, i32)> =
        sqlx::query_as("select user_id, user_no from users where project_id = $1 and user_id = any($2)")
            .bind(project_id.get())
            .bind(user_ids)
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().collect())
}

/// Numbers new users, in a short transaction of its own: it holds the project's row, and two writers with new users
/// must not wait for each other's events. If the events fail afterwards, a user without events remains, which counts
/// nowhere.
async fn add(
    connection: &mut PgConnection,
    project_id: ProjectId,
    user_ids: &[&str],
) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let last: i32 =
        sqlx::query_scalar("select last_user_no from projects where project_id = $1 for no key update")
            .bind(project_id.get())
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or(StoreError::NoProject(project_id.get()))?;
    // A statement of its own: it sees the users whom the holder of the lock before us has added.
    let added = sqlx::query(
        "insert into users (project_id, user_no, user_id)
         select $1, $2 + row_number() over (), user_id
         from unnest($3::text[]) as new (user_id)
         where not exists (select from users where users.project_id = $1 and users.user_id = new.user_id)",
    )
    .bind(project_id.get())
    .bind(last)
    .bind(user_ids)
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    sqlx::query("update projects set last_user_no = last_user_no + $2 where project_id = $1")
        .bind(project_id.get())
        .bind(i32::try_from(added).unwrap_or(i32::MAX))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}
