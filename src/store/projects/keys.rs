//! Keys, by their hashes.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgPool, Row};
use tracing::warn;

use crate::model::{
    key::{Key, KeyHash, KeyKind},
    project::{Project, ProjectId},
};
use crate::store::{StoreError, projects};

/// What is known of a key.
#[derive(Debug)]
pub struct KeyRecord {
    pub key_id: i32,
    pub kind: String,
    /// The key's first characters.
    pub hint: String,
    pub created_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
}

pub async fn create(
    pool: &PgPool,
    project_id: ProjectId,
    kind: KeyKind,
    key: &Key,
) -> Result<i32, StoreError> {
    let key_id = sqlx::query_scalar(
        "insert into api_keys (project_id, kind, key_hash, hint) values ($1, $2, $3, $4) returning key_id",
    )
    .bind(project_id.get())
    .bind(kind.name())
    .bind(key.hash().as_bytes())
    .bind(key.hint())
    .fetch_one(pool)
    .await?;
    Ok(key_id)
}

pub async fn list(pool: &PgPool, project_id: ProjectId) -> Result<Vec<KeyRecord>, StoreError> {
    let rows = sqlx::query("select key_id, kind, hint, created_at, revoked_at from api_keys where project_id = $1 order by key_id")
        .bind(project_id.get())
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(KeyRecord {
                key_id: row.try_get("key_id")?,
                kind: row.try_get("kind")?,
                hint: row.try_get("hint")?,
                created_at: row.try_get("created_at")?,
                revoked_at: row.try_get("revoked_at")?,
            })
        })
        .collect()
}

/// The id of a key of the project.
pub async fn id_of(pool: &PgPool, project_id: ProjectId, hash: &KeyHash) -> Result<Option<i32>, StoreError> {
    let query = sqlx::query_scalar("select key_id from api_keys where project_id = $1 and key_hash = $2");
    Ok(query.bind(project_id.get()).bind(hash.as_bytes()).fetch_optional(pool).await?)
}

/// Revokes a key of the project; false if it has no such key.
pub async fn revoke(pool: &PgPool, project_id: ProjectId, key_id: i32) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "update api_keys set revoked_at = coalesce(revoked_at, now()) where project_id = $1 and key_id = $2",
    )
    .bind(project_id.get())
    .bind(key_id)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A key that is known and not revoked.
#[derive(Debug)]
pub struct StoredKey {
    pub project: Project,
    pub key_id: i32,
    pub kind: KeyKind,
}

/// Of each of these keys that is known and not revoked: its project and its kind.
pub async fn lookup(pool: &PgPool, hashes: &[KeyHash]) -> Result<HashMap<KeyHash, StoredKey>, StoreError> {
    let statement = format!(
        "select key_id, key_hash, kind, {} from api_keys join projects using (project_id)
         where key_hash = any($1) and revoked_at is null and deleted_at is null",
        *projects::COLUMNS
    );
    let hashes: Vec<&[u8]> = hashes.iter().map(KeyHash::as_bytes).collect();
    let rows = sqlx::query(AssertSqlSafe(statement)).bind(hashes).fetch_all(pool).await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let (hash, kind): (Vec<u8>, String) = (row.try_get("key_hash")?, row.try_get("kind")?);
        // The columns are checked to hold these.
        if let Some((hash, kind)) = KeyHash::from_stored(&hash).zip(KeyKind::from_name(&kind)) {
            match projects::from_row(row) {
                Ok(project) => {
                    let key_id = row.try_get("key_id")?;
                    found.insert(hash, StoredKey { project, key_id, kind });
                }
                // A newer weir made it: its keys are refused, those of others are not.
                Err(error @ StoreError::Timezone { .. }) => {
                    warn!(error = error.to_string(), "a key is refused");
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}
