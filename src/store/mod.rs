//! TimescaleDB: what is written, and what is read. All SQL of weir is here and in `sql/`.
//!
//! Whatever touches a project's rows takes the project's id first.

mod incarnation;
pub mod migrate;
pub mod projects;
pub mod promotions;
pub mod read;
pub mod upkeep;
pub mod users;
pub mod write;

use std::{borrow::Cow, str::FromStr};

use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::config::Database;

/// The writer's statements rely on seeing what was committed before them, whatever the database's default is.
const BEGIN: &str = "begin isolation level read committed";

/// Classes of SQLSTATE: data exception, integrity constraint violation, view's check option, program limit exceeded, and
/// an exception that a trigger raises.
const REFUSALS: &[&str] = &["22", "23", "44", "54", "P0"];

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("cannot connect to the database at {address} (DATABASE_URL)")]
    Unreachable { address: String, source: sqlx::Error },
    #[error("a bitmap from the database cannot be read")]
    Bitmap(#[source] std::io::Error),
    #[error("project {project_id} has the time zone '{timezone}', which is unknown")]
    Timezone { project_id: i32, timezone: String },
    #[error("there is no project {0}")]
    NoProject(i32),
    #[error("a user has no number")]
    NoUserNumber,
    #[error("the year {0} is in no calendar of weir")]
    Year(i32),
    #[error("the database did not answer in time")]
    TimedOut,
    #[error("no permit to read events became free in time")]
    NoTurn,
    #[error("the answer would have more than {0} rows")]
    TooManyRows(usize),
    #[error("weir panicked over these data; its standard error says where")]
    Panicked,
}

impl StoreError {
    /// The database is away or overloaded: the same may work later.
    pub fn is_transient(&self) -> bool {
        match self {
            // Connection, transaction rollback (deadlock), resources, operator intervention, system.
            Self::Database(sqlx::Error::Database(_)) => self.is_of_class(&["08", "40", "53", "57", "58"]),
            Self::Database(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
            ),
            Self::TimedOut | Self::NoTurn | Self::Unreachable { .. } => true,
            Self::TooManyRows(_)
            | Self::Bitmap(_)
            | Self::Timezone { .. }
            | Self::NoProject(_)
            | Self::NoUserNumber
            | Self::Year(_)
            | Self::Panicked => false,
        }
    }

    /// The question costs more than questions may.
    pub fn is_too_expensive(&self) -> bool {
        // Cancelled: by `statement_timeout`.
        matches!(self, Self::TooManyRows(_)) || self.code().as_deref() == Some("57014")
    }

    /// Not these data are to blame, but the state of the database or of its settings: the same works when time or a
    /// person has changed it.
    pub fn is_operational(&self) -> bool {
        // Transaction state (a server that is read only), authorisation, catalog, privilege and schema, object in use,
        // configuration.
        self.is_transient() || self.is_of_class(&["25", "28", "3D", "42", "55", "F0"])
    }

    /// These data are refused, and would be again.
    pub fn is_refusal(&self) -> bool {
        self.is_of_class(REFUSALS) || matches!(self, Self::Year(_) | Self::Panicked)
    }

    /// All connections are taken, or none can be made.
    pub fn is_of_pool(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::PoolTimedOut))
    }

    /// A value that was asked with is one that the database cannot work with.
    pub fn is_of_data(&self) -> bool {
        self.is_of_class(&["22"])
    }

    /// Something is stored that must be there once.
    pub(crate) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.is_unique_violation())
    }

    /// The connection on which it happened can be used again.
    fn is_in_order(&self) -> bool {
        self.is_of_class(REFUSALS) || matches!(self, Self::Year(_))
    }

    fn is_of_class(&self, classes: &[&str]) -> bool {
        self.code().is_some_and(|code| classes.contains(&&code[..2]))
    }

    /// The SQLSTATE.
    fn code(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.code(),
            _ => None,
        }
    }
}

/// Connections to the database, opened when first needed.
pub fn connect(config: &Database) -> Result<PgPool, StoreError> {
    let options = PgConnectOptions::from_str(&config.database_url)?.application_name("weir");
    // Whoever holds a transaction, and with it locks, and says nothing for so long is gone: a host that vanishes takes no leave.
    let settle = "set idle_in_transaction_session_timeout = '1min'";
    Ok(PgPoolOptions::new()
        .max_connections(config.database_connections)
        .acquire_timeout(config.database_timeout)
        .after_connect(move |connection, _| {
            Box::pin(async move { sqlx::query(settle).execute(connection).await.map(drop) })
        })
        .connect_lazy_with(options))
}

/// The same, for who must have it now: fails with the reason if there is no database.
pub async fn open(config: &Database) -> Result<PgPool, StoreError> {
    let pool = connect(config)?;
    let options = pool.connect_options();
    let connecting = PgConnection::connect_with(&options);
    let failed = |source| StoreError::Unreachable {
        address: format!("{}:{}", options.get_host(), options.get_port()),
        source,
    };
    match tokio::time::timeout(config.database_timeout, connecting).await {
        Ok(connected) => drop(connected.map_err(failed)?.close().await),
        Err(_) => return Err(StoreError::TimedOut),
    }
    Ok(pool)
}

/// Does something to its end, also if nobody waits for it any more. sqlx knows of a transaction only when the database has
/// said that it begins: dropped before that, it would stay open on a connection that others are given.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::spawn(work).await.unwrap_or(Err(StoreError::Panicked))
}

/// Whether the database answers now.
pub async fn is_up(pool: &PgPool) -> bool {
    sqlx::query("select 1").execute(pool).await.is_ok()
}
