//! The dictionary of users: a dense number per project for each user id, given on first sight. A user may have further
//! names, their aliases.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::known::{Standing, User};
use crate::model::project::ProjectId;
use crate::store::StoreError;

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

/// A name that somebody has.
#[derive(sqlx::FromRow)]
struct NameRow {
    user_id: String,
    user_no: i32,
    since: Option<DateTime<Utc>>,
    is_known: bool,
    is_alias: bool,
}

/// The users of names, of those that somebody has.
pub(super) async fn find<'a>(
    connection: &mut PgConnection,
    project_id: ProjectId,
    names: &[&'a str],
) -> Result<Vec<(&'a str, User)>, StoreError> {
    let rows: Vec<NameRow> = sqlx::query_as(
        "select user_id, user_no, since, is_known, is_alias
         from user_names where project_id = $1 and user_id = any($2)",
    )
    .bind(project_id.get())
    .bind(names)
    .fetch_all(connection)
    .await?;
    let user = |NameRow { user_id, user_no, since, is_known, is_alias }| {
        (user_id, User { user_no, since, standing: standing(is_known, is_alias) })
    };
    let found: HashMap<String, User> = rows.into_iter().map(user).collect();
    Ok(names.iter().filter_map(|name| Some((*name, *found.get(*name)?))).collect())
}

pub(super) fn standing(is_known: bool, is_alias: bool) -> Standing {
    match (is_known, is_alias) {
        (_, true) => Standing::Alias,
        (true, false) => Standing::Known,
        (false, false) => Standing::Anonymous,
    }
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
