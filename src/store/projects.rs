//! Projects.

use chrono::Weekday;
use chrono_tz::Tz;
use sqlx::{PgPool, Row, postgres::PgRow};

use super::StoreError;
use crate::project::{Project, ProjectId};

/// Why a project was not created.
#[derive(Debug, thiserror::Error)]
pub enum NotCreated {
    #[error("there is a project '{0}' already")]
    Exists(String),
    #[error(
        "'{0}' cannot be a project's name: expected 1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit"
    )]
    Name(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub async fn create(
    pool: &PgPool,
    name: &str,
    timezone: Tz,
    week_start: Weekday,
) -> Result<Project, NotCreated> {
    let row =
        sqlx::query("insert into projects (name, timezone, week_start) values ($1, $2, $3) returning project_id, name, timezone, week_start")
            .bind(name)
            .bind(timezone.name())
            .bind(i16::try_from(week_start.number_from_monday()).expect("1 to 7"))
            .fetch_one(pool)
            .await
            .map_err(|error| match error.as_database_error().and_then(|error| error.constraint()) {
                Some("projects_name_key") => NotCreated::Exists(name.into()),
                Some("projects_name_check") => NotCreated::Name(name.into()),
                _ => NotCreated::Store(error.into()),
            })?;
    Ok(from_row(&row)?)
}

pub async fn list(pool: &PgPool) -> Result<Vec<Project>, StoreError> {
    let rows = sqlx::query("select project_id, name, timezone, week_start from projects order by name")
        .fetch_all(pool)
        .await?;
    rows.iter().map(from_row).collect()
}

pub async fn by_name(pool: &PgPool, name: &str) -> Result<Option<Project>, StoreError> {
    let row = sqlx::query("select project_id, name, timezone, week_start from projects where name = $1")
        .bind(name)
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(from_row).transpose()
}

pub async fn by_id(pool: &PgPool, project_id: ProjectId) -> Result<Project, StoreError> {
    let row =
        sqlx::query("select project_id, name, timezone, week_start from projects where project_id = $1")
            .bind(project_id.get())
            .fetch_optional(pool)
            .await?
            .ok_or(StoreError::NoProject(project_id.get()))?;
    from_row(&row)
}

/// A project from a row that has its columns.
pub(super) fn from_row(row: &PgRow) -> Result<Project, StoreError> {
    let project_id: i32 = row.try_get("project_id")?;
    let timezone: String = row.try_get("timezone")?;
    let week_start: i16 = row.try_get("week_start")?;
    Ok(Project {
        id: ProjectId::from_stored(project_id),
        name: row.try_get("name")?,
        timezone: timezone.parse().map_err(|_| StoreError::Timezone { project_id, timezone })?,
        // The column is checked to be 1 to 7, from Monday.
        week_start: u8::try_from(week_start - 1)
            .ok()
            .and_then(|day| day.try_into().ok())
            .unwrap_or(Weekday::Mon),
    })
}
