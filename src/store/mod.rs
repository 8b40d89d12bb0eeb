//! TimescaleDB: what is written, and what is read. All SQL of weir is here and in `sql/`.
//!
//! Whatever touches a project's rows takes the project's id first.

pub mod activity;
mod copy;
pub mod events;
pub mod keys;
pub mod migrate;
pub mod projects;
pub mod users;
pub mod write;

use std::str::FromStr;

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::config::Database;

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("a bitmap from the database cannot be read")]
    Bitmap(#[source] std::io::Error),
    #[error("project {project_id} has the time zone '{timezone}', which is unknown")]
    Timezone { project_id: i32, timezone: String },
    #[error("there is no project {0}")]
    NoProject(i32),
}

impl StoreError {
    /// The database is away or overloaded: the same may work later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                // Connection, transaction rollback (deadlock), resources, operator intervention, system.
                error.code().is_some_and(|code| ["08", "40", "53", "57", "58"].contains(&&code[..2]))
            }
            Self::Database(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
            ),
            Self::Bitmap(_) | Self::Timezone { .. } | Self::NoProject(_) => false,
        }
    }
}

/// Connections to the database, opened when first needed.
pub fn connect(config: &Database) -> Result<PgPool, StoreError> {
    let options = PgConnectOptions::from_str(&config.database_url)?.application_name("weir");
    Ok(PgPoolOptions::new()
        .max_connections(config.database_connections)
        .acquire_timeout(config.database_timeout)
        .connect_lazy_with(options))
}

/// Whether the database answers now.
pub async fn is_up(pool: &PgPool) -> bool {
    sqlx::query("select 1").execute(pool).await.is_ok()
}
