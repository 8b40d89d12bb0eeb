//! The dictionary of users: a dense number per project for each user id, given on first sight. A user may have further
//! names, their aliases.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};

use crate::model::project::ProjectId;
use crate::store::{BEGIN, StoreError, incarnation::Generation, projects};

/// Users remembered between transactions, about 400 bytes each.
const REMEMBERED: u64 = 300_000;

/// Users, remembered.
#[derive(Clone)]
pub struct Users {
    known: Cache<(ProjectId, Box<str>), Remembered>,
    /// Of the users in the database, as it was last seen: it grows when users are deleted or merged.
    generation: Arc<RwLock<Generation>>,
}

/// What the dictionary says of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub user_no: i32,
    /// Who had this name before was deleted then, and what was received under it until then is not this user's.
    pub since: Option<DateTime<Utc>>,
}

/// Worth something in its generation alone.
#[derive(Clone, Copy)]
struct Remembered {
    user: User,
    generation: Generation,
}

impl Default for Users {
    fn default() -> Self {
        Self { known: Cache::new(REMEMBERED), generation: Arc::default() }
    }
}

impl Users {
    /// The generation whose users [`Users::find_or_add`] gives. Whoever uses their numbers must make sure, in the
    /// transaction in which they are used, that it is still that of the database.
    pub(crate) fn generation(&self) -> Generation {
        *self.generation.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was remembered of other generations is looked up again. It may be an earlier one: of an older copy of the
    /// database.
    pub(crate) fn set_generation(&self, generation: Generation) {
        *self.generation.write().unwrap_or_else(PoisonError::into_inner) = generation;
    }

    /// The users of these ids; who is new gets a number.
    pub async fn find_or_add<'a>(
        &self,
        connection: &mut PgConnection,
        project_id: ProjectId,
        user_ids: impl Iterator<Item = &'a str>,
    ) -> Result<HashMap<&'a str, User>, StoreError> {
        let generation = self.generation();
        let mut users = HashMap::with_capacity(user_ids.size_hint().0);
        let mut unknown = Vec::new();
        for user_id in user_ids {
            match self.known.get(&(project_id, user_id.into())) {
                Some(known) if known.generation == generation => {
                    users.insert(user_id, known.user);
                }
                _ => unknown.push(user_id),
            }
        }
        if unknown.is_empty() {
            return Ok(users);
        }
        let mut found = find(connection, project_id, &unknown).await?;
        if found.len() < unknown.len() {
            let new: Vec<&str> = unknown.iter().copied().filter(|id| !found.contains_key(*id)).collect();
            add(connection, project_id, &new).await?;
            found.extend(find(connection, project_id, &new).await?);
        }
        for user_id in unknown {
            let &user = found.get(user_id).ok_or(StoreError::NoUserNumber)?;
            self.known.insert((project_id, user_id.into()), Remembered { user, generation });
            users.insert(user_id, user);
        }
        Ok(users)
    }
}

/// What stands for a user who was deleted.
pub(crate) fn hash(project_id: ProjectId, user_id: &str) -> Vec<u8> {
    Sha256::new().chain_update(project_id.get().to_be_bytes()).chain_update(user_id).finalize().to_vec()
}

/// A user with all their names.
#[derive(Debug, sqlx::FromRow)]
pub struct Person {
    pub user_no: i32,
    pub user_id: String,
    /// In their order; at most [`super::merges::MOST_ALIASES`].
    pub aliases: Vec<String>,
}

/// The user of a name, if there is one.
pub async fn person(
    connection: &mut PgConnection,
    project_id: ProjectId,
    user_id: &str,
) -> Result<Option<Person>, StoreError> {
    let query = sqlx::query_as(
        "select user_no, user_id,
                array(select user_id from user_aliases
                      where project_id = $1 and user_aliases.user_no = users.user_no order by user_id) as aliases
         from users
         where project_id = $1
           and user_no = (select user_no from user_names where project_id = $1 and user_id = $2)",
    );
    Ok(query.bind(project_id.get()).bind(user_id).fetch_optional(connection).await?)
}

/// The ids of users, in the order of their numbers; without those who were deleted.
pub async fn names(
    connection: &mut PgConnection,
    project_id: ProjectId,
    numbers: &[i32],
) -> Result<Vec<String>, StoreError> {
    let query = sqlx::query_scalar(
        "select user_id from users where project_id = $1 and user_no = any($2) order by user_no",
    );
    Ok(query.bind(project_id.get()).bind(numbers).fetch_all(connection).await?)
}

async fn find(
    connection: &mut PgConnection,
    project_id: ProjectId,
    user_ids: &[&str],
) -> Result<HashMap<String, User>, StoreError> {
    let rows: Vec<(String, i32, Option<DateTime<Utc>>)> = sqlx::query_as(
        "select user_id, user_no, since from user_names where project_id = $1 and user_id = any($2)",
    )
    .bind(project_id.get())
    .bind(user_ids)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(user_id, user_no, since)| (user_id, User { user_no, since })).collect())
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
    let last = projects::lock(&mut transaction, project_id).await?;
    add_after(&mut transaction, project_id, last.user_no, user_ids).await?;
    transaction.commit().await?;
    Ok(())
}

/// Numbers new users in a transaction that holds the project's lock, from the number after `last` on.
pub(crate) async fn add_after(
    transaction: &mut PgConnection,
    project_id: ProjectId,
    last: i32,
    user_ids: &[&str],
) -> Result<(), StoreError> {
    let hashes: Vec<Vec<u8>> = user_ids.iter().map(|user_id| hash(project_id, user_id)).collect();
    // A statement of its own: it sees the users whom the holder of the lock before us has added, merged or deleted.
    let added = sqlx::query(
        "insert into users (project_id, user_no, user_id, since)
         select $1, $2 + row_number() over (), user_id, deleted_at
         from unnest($3::text[], $4::bytea[]) as new (user_id, user_hash)
              left join deleted_users on deleted_users.project_id = $1 and deleted_users.user_hash = new.user_hash
         where not exists (select from user_names where user_names.project_id = $1 and user_names.user_id = new.user_id)",
    )
    .bind(project_id.get())
    .bind(last)
    .bind(user_ids)
    .bind(hashes)
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    sqlx::query("update projects set last_user_no = last_user_no + $2 where project_id = $1")
        .bind(project_id.get())
        .bind(i32::try_from(added).unwrap_or(i32::MAX))
        .execute(transaction)
        .await?;
    Ok(())
}
