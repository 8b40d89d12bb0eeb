//! Projects.

pub mod deletions;
pub mod event_types;
pub mod keys;
pub mod zones;

use std::{num::NonZeroU32, sync::LazyLock};

use chrono::Weekday;
use sqlx::{AssertSqlSafe, PgConnection, PgExecutor, PgPool, Row, postgres::PgRow};

use super::{BEGIN, StoreError};
use crate::model::{
    origin::Origins,
    project::{Overrides, Project, ProjectId},
    zone::Zone,
};

/// The columns that [`from_row`] reads, of the table `projects`.
pub(crate) static COLUMNS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "project_id, coalesce(name, '') as name, timezone, week_start, rate_limit, rate_burst, max_event_types, allowed_origins,
         (select {} from time_zones where time_zones.name = projects.timezone) as rules",
        *zones::RULES
    )
});

/// Why a project was not created or changed.
#[derive(Debug, thiserror::Error)]
pub enum NotSaved {
    #[error("there is a project '{0}' already")]
    Exists(String),
    #[error(
        "'{0}' cannot be a project's name: expected 1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit"
    )]
    Name(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NotSaved {
    fn from_sqlx(name: &str, error: sqlx::Error) -> Self {
        match error.as_database_error().and_then(|error| error.constraint()) {
            Some("projects_name_key") => Self::Exists(name.into()),
            Some("projects_name_check") => Self::Name(name.into()),
            _ => Self::Store(error.into()),
        }
    }
}

pub async fn create(
    pool: &PgPool,
    name: &str,
    timezone: &Zone,
    week_start: Weekday,
    overrides: &Overrides,
) -> Result<Project, NotSaved> {
    let statement = format!(
        "insert into projects
             (name, timezone, week_start, rate_limit, rate_burst, max_event_types, allowed_origins)
         values ($1, $2, $3, $4, $5, $6, $7)
         returning {}",
        *COLUMNS
    );
    let failed = |error| NotSaved::from_sqlx(name, error);
    let mut transaction = pool.begin_with(BEGIN).await.map_err(failed)?;
    zones::add(&mut transaction, timezone).await.map_err(failed)?;
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(name)
        .bind(timezone.name())
        .bind(i16::try_from(week_start.number_from_monday()).expect("1 to 7"))
        .bind(number(overrides.rate_limit))
        .bind(number(overrides.rate_burst))
        .bind(number(overrides.max_event_types))
        .bind(overrides.allowed_origins.as_ref().map(Origins::texts))
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(from_row(&row)?)
}

/// Saves a project's name and overrides. Its time zone and the start of its weeks stay: activity is kept by them.
pub async fn save(pool: &PgPool, project: &Project) -> Result<(), NotSaved> {
    let overrides = &project.overrides;
    sqlx::query(
        "update projects
         set name = $2, rate_limit = $3, rate_burst = $4, max_event_types = $5, allowed_origins = $6
         where project_id = $1 and deleted_at is null",
    )
    .bind(project.id.get())
    .bind(&project.name)
    .bind(number(overrides.rate_limit))
    .bind(number(overrides.rate_burst))
    .bind(number(overrides.max_event_types))
    .bind(overrides.allowed_origins.as_ref().map(Origins::texts))
    .execute(pool)
    .await
    .map_err(|error| NotSaved::from_sqlx(&project.name, error))?;
    Ok(())
}

/// Those that are not deleted. Those that a newer weir made may be unknown to this one, and are errors of their own.
pub async fn list(pool: &PgPool) -> Result<Vec<Result<Project, StoreError>>, StoreError> {
    let statement =
        format!("select {} from projects where deleted_at is null order by projects.name", *COLUMNS);
    let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(pool).await?;
    Ok(rows.iter().map(from_row).collect())
}

pub async fn by_name(pool: &PgPool, name: &str) -> Result<Option<Project>, StoreError> {
    let statement = format!("select {} from projects where projects.name = $1", *COLUMNS);
    let row = sqlx::query(AssertSqlSafe(statement)).bind(name).fetch_optional(pool).await?;
    row.as_ref().map(from_row).transpose()
}

/// Also one that is deleted, as long as events of it may come; it has no name then.
pub async fn by_id(executor: impl PgExecutor<'_>, project_id: ProjectId) -> Result<Project, StoreError> {
    let statement = format!("select {} from projects where project_id = $1", *COLUMNS);
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(project_id.get())
        .fetch_optional(executor)
        .await?
        .ok_or(StoreError::NoProject(project_id.get()))?;
    from_row(&row)
}

/// The last numbers that were given in a project.
#[derive(sqlx::FromRow)]
pub(crate) struct LastNumbers {
    #[sqlx(rename = "last_user_no")]
    pub user_no: i32,
    #[sqlx(rename = "last_value_no")]
    pub value_no: i32,
}

/// Makes other transactions wait that change the users of a project, its promotions or their values.
pub(crate) async fn lock(
    transaction: &mut PgConnection,
    project_id: ProjectId,
) -> Result<LastNumbers, StoreError> {
    sqlx::query_as("select last_user_no, last_value_no from projects where project_id = $1 for no key update")
        .bind(project_id.get())
        .fetch_optional(transaction)
        .await?
        .ok_or(StoreError::NoProject(project_id.get()))
}

/// A project from a row that has [`COLUMNS`].
pub(crate) fn from_row(row: &PgRow) -> Result<Project, StoreError> {
    let project_id: i32 = row.try_get("project_id")?;
    let timezone: String = row.try_get("timezone")?;
    let rules: Option<&[u8]> = row.try_get("rules")?;
    let week_start: i16 = row.try_get("week_start")?;
    let origins: Option<Vec<String>> = row.try_get("allowed_origins")?;
    let positive = |column| {
        let number: Option<i32> = row.try_get(column)?;
        // The column is checked to be positive.
        Ok::<_, sqlx::Error>(number.and_then(|number| NonZeroU32::new(number.unsigned_abs())))
    };
    Ok(Project {
        id: ProjectId::from_stored(project_id),
        name: row.try_get("name")?,
        timezone: zones::from_stored(&timezone, rules)
            .ok_or(StoreError::Timezone { project_id, timezone })?,
        // The column is checked to be 1 to 7, from Monday.
        week_start: u8::try_from(week_start - 1)
            .ok()
            .and_then(|day| day.try_into().ok())
            .unwrap_or(Weekday::Mon),
        overrides: Overrides {
            rate_limit: positive("rate_limit")?,
            rate_burst: positive("rate_burst")?,
            max_event_types: positive("max_event_types")?,
            // What cannot be read, because a newer weir wrote it, allows none.
            allowed_origins: origins
                .map(|texts| Origins::parse(texts.iter().map(String::as_str)).unwrap_or_default()),
        },
    })
}

fn number(number: Option<NonZeroU32>) -> Option<i32> {
    number.map(|number| i32::try_from(number.get()).unwrap_or(i32::MAX))
}
