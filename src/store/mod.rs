//! TimescaleDB: what is written, and what is read. All SQL of weir is here and in `sql/`.
//!
//! Whatever touches a project's rows takes the project's id first.

mod error;
mod incarnation;
pub mod migrate;
pub mod projects;
pub mod promotions;
pub mod read;
pub mod upkeep;
pub mod users;
pub mod write;

use std::str::FromStr;

use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub use self::error::{ErrorKind, StoreError};
use crate::config::Database;

/// The writer's statements rely on seeing what was committed before them, whatever the database's default is.
const BEGIN: &str = "begin isolation level read committed";

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
///
/// It begins at once: what waits for it would otherwise be as large as the work, and be moved with all of it.
fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> impl Future<Output = Result<T, StoreError>> {
    let work = tokio::spawn(work);
    async { work.await.unwrap_or(Err(StoreError::Panicked)) }
}

/// Whether the database answers now.
pub async fn is_up(pool: &PgPool) -> bool {
    sqlx::query("select 1").execute(pool).await.is_ok()
}
