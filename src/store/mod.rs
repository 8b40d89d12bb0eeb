//! TimescaleDB: what is written, and what is read. All SQL of weir is here and in `sql/`.
//!
//! Whatever touches a project's rows takes the project's id first.

pub mod activity;
mod copy;
pub mod event_types;
pub mod events;
pub mod keys;
pub mod migrate;
pub mod pages;
pub mod projects;
pub mod users;
pub mod write;

use std::str::FromStr;

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::config::Database;

/// The writer's statements rely on seeing what was committed before them, whatever the database's default is.
const BEGIN: &str = "begin isolation level read committed";

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
    #[error("a user has no number")]
    NoUserNumber,
    #[error("the database did not answer in time")]
    TimedOut,
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
            Self::TimedOut => true,
            Self::Bitmap(_) | Self::Timezone { .. } | Self::NoProject(_) | Self::NoUserNumber => false,
        }
    }

    /// The database refuses these data, and would refuse them again. Everything else, a missing privilege or a
    /// read-only server among it, is a matter of its operation, and no reason to give data up.
    pub fn is_refusal(&self) -> bool {
        match self {
            // Data exception, integrity constraint violation, program limit exceeded.
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| ["22", "23", "54"].contains(&&code[..2]))
            }
            _ => false,
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
