//! Keys, by their hashes.

use chrono::{DateTime, Utc};
use sqlx::{PgPool, Row};

use super::{StoreError, projects};
use crate::{
    key::{Key, KeyHash, KeyKind},
    project::{Project, ProjectId},
};

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

/// The project and the kind of a key that is known and not revoked.
pub async fn lookup(pool: &PgPool, hash: &KeyHash) -> Result<Option<(Project, KeyKind)>, StoreError> {
    let row = sqlx::query(
        "select project_id, name, timezone, week_start, kind
         from api_keys join projects using (project_id)
         where key_hash = $1 and revoked_at is null",
    )
    .bind(hash.as_bytes())
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let kind: String = row.try_get("kind")?;
    Ok(KeyKind::from_name(&kind).zip(Some(projects::from_row(&row)?)).map(|(kind, project)| (project, kind)))
}
