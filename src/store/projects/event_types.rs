//! The event types of projects, whose number is bounded.

use std::num::NonZeroU32;

use sqlx::{Connection, PgConnection, PgExecutor, PgPool};

use crate::model::project::ProjectId;
use crate::store::{BEGIN, StoreError, to_its_end};

/// Which of these types the project has; those that are new become its own while there is room for them. If there was no
/// room for all, all types of the project.
pub async fn admit(
    pool: &PgPool,
    project_id: ProjectId,
    event_types: &[&str],
    limit: NonZeroU32,
) -> Result<Vec<String>, StoreError> {
    let event_types = event_types.iter().map(ToString::to_string).collect();
    to_its_end(admit_owned(pool.clone(), project_id, event_types, limit)).await
}

async fn admit_owned(
    pool: PgPool,
    project_id: ProjectId,
    event_types: Vec<String>,
    limit: NonZeroU32,
) -> Result<Vec<String>, StoreError> {
    let mut connection = pool.acquire().await?;
    let known = known(&mut connection, project_id, &event_types).await?;
    if known.len() == event_types.len() {
        return Ok(known);
    }
    let mut transaction = connection.begin_with(BEGIN).await?;
    // Instances with new types come one after the other, so that together they keep to the limit.
    sqlx::query("select pg_advisory_xact_lock(hashtext('weir.event_types'), $1)")
        .bind(project_id.get())
        .execute(&mut *transaction)
        .await?;
    // Of what is new, as much as there is room for, in the order in which it came.
    sqlx::query(
        "insert into event_types (project_id, event_type)
         select $1, event_type
         from unnest($2::text[]) with ordinality as sent (event_type, place)
         where not exists (
             select from event_types as known
             where known.project_id = $1 and known.event_type = sent.event_type
         )
         order by place
         limit greatest(0, $3 - (select count(*) from event_types where project_id = $1))",
    )
    .bind(project_id.get())
    .bind(&event_types)
    .bind(i64::from(limit.get()))
    .execute(&mut *transaction)
    .await?;
    let admitted = self::known(&mut transaction, project_id, &event_types).await?;
    let admitted = if admitted.len() == event_types.len() {
        admitted
    } else {
        all(&mut *transaction, project_id).await?
    };
    transaction.commit().await?;
    Ok(admitted)
}

/// All types of a project.
pub async fn all(connection: impl PgExecutor<'_>, project_id: ProjectId) -> Result<Vec<String>, StoreError> {
    let all = sqlx::query_scalar("select event_type from event_types where project_id = $1");
    Ok(all.bind(project_id.get()).fetch_all(connection).await?)
}

async fn known(
    connection: &mut PgConnection,
    project_id: ProjectId,
    event_types: &[String],
) -> Result<Vec<String>, StoreError> {
    let known = sqlx::query_scalar(
        "select event_type from event_types where project_id = $1 and event_type = any($2)",
    )
    .bind(project_id.get())
    .bind(event_types)
    .fetch_all(connection)
    .await?;
    Ok(known)
}
