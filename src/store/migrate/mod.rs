//! The database's schema: the files of `sql/`, and of the folder of the edition that the database runs.
//!
//! Both editions' files share one sequence of versions, so a database has one version, whatever its edition. It begins
//! with the start, which makes the schema of version 24: earlier databases are brought over ([`version_24`]).

mod version_24;

use sqlx::{
    Connection, PgConnection, PgExecutor, PgPool,
    migrate::{Migrate, MigrateError, Migrator},
};

/// Where sqlx records which migrations the database has had.
const TABLE: &str = "_sqlx_migrations";

static SHARED: Migrator = sqlx::migrate!("./sql");
static COMMUNITY: Migrator = sqlx::migrate!("./sql/community");
static APACHE: Migrator = sqlx::migrate!("./sql/apache");

/// Which TimescaleDB the database runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// Under the Timescale License: has continuous aggregates.
    Community,
    /// Under the Apache License.
    Apache,
}

/// Why the schema is not what this weir needs.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("cannot ask the database")]
    Database(#[from] sqlx::Error),
    #[error(
        "the extension timescaledb cannot be created: it must be installed, stand in `shared_preload_libraries`, and \
         the user must be allowed to create it"
    )]
    NoTimescale(#[source] sqlx::Error),
    #[error(
        "the database has version {0}, which this weir does not know: run a newer weir, or give this one another database"
    )]
    Newer(i64),
    #[error(
        "version {0} of the database is not the one of this weir: either another edition of TimescaleDB made it, \
         or its migration was changed"
    )]
    Different(i64),
    #[error("the database has version {found}, this weir needs {needed}: run `weir migrate`")]
    Older { found: i64, needed: i64 },
    #[error(
        "the database has version {0}, and this weir goes on from version 24 or newer: check out commit 7b1c68b of weir, \
         run its `weir migrate`, and then this one again"
    )]
    TooOld(i64),
    #[error("a migration failed")]
    Failed(#[source] MigrateError),
}

/// What [`migrate`] found and did.
#[derive(Clone, Copy, Debug)]
pub struct Migrated {
    pub edition: Edition,
    /// 0: the database was empty.
    pub from: i64,
    pub to: i64,
}

/// Brings the database to the newest version. Safe to run again, and from several places at once: a lock in the
/// database lets one run at a time.
pub async fn migrate(pool: &PgPool) -> Result<Migrated, SchemaError> {
    let edition = create_extension(pool).await?;
    // A connection of its own: whatever fails, the lock ends with it.
    let mut connection = pool.acquire().await?.detach();
    connection.lock().await.map_err(SchemaError::Failed)?;
    let from = version(&mut connection).await?;
    let mut migrator = migrator(edition);
    match from {
        1..version_24::VERSION => return Err(SchemaError::TooOld(from)),
        version_24::VERSION => version_24::bring_over(&mut connection, edition, &migrator).await?,
        _ => {}
    }
    migrator.set_locking(false).run(&mut connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => SchemaError::Newer(version),
        MigrateError::VersionMismatch(version) => SchemaError::Different(version),
        error => SchemaError::Failed(error),
    })?;
    connection.close().await?;
    Ok(Migrated { edition, from, to: newest(&migrator) })
}

/// Whether the database has the version that this weir was built for.
pub async fn check(pool: &PgPool) -> Result<(), SchemaError> {
    let (found, needed) = (version(&mut *pool.acquire().await?).await?, newest(&migrator(Edition::Apache)));
    match found.cmp(&needed) {
        std::cmp::Ordering::Less => Err(SchemaError::Older { found, needed }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(SchemaError::Newer(found)),
    }
}

/// The setting that names the edition exists once the extension does, so this makes it.
async fn create_extension(pool: &PgPool) -> Result<Edition, SchemaError> {
    let mut transaction = pool.begin().await?;
    // `if not exists` alone would fail when two do it at once.
    sqlx::query("select pg_advisory_xact_lock(hashtext('weir.migrate'))").execute(&mut *transaction).await?;
    sqlx::query("create extension if not exists timescaledb").execute(&mut *transaction).await.map_err(
        |error| match error {
            sqlx::Error::Database(_) => SchemaError::NoTimescale(error),
            error => error.into(),
        },
    )?;
    let edition = edition(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(edition)
}

/// Which TimescaleDB the database runs. It must have the extension.
pub async fn edition(executor: impl PgExecutor<'_>) -> Result<Edition, SchemaError> {
    let license: String = sqlx::query_scalar("show timescaledb.license").fetch_one(executor).await?;
    Ok(if license == "apache" { Edition::Apache } else { Edition::Community })
}

async fn version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let has_table: bool = sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(TABLE)
        .fetch_one(&mut *connection)
        .await?;
    if !has_table {
        return Ok(0);
    }
    sqlx::query_scalar("select coalesce(max(version), 0) from _sqlx_migrations where success")
        .fetch_one(connection)
        .await
}

fn migrator(edition: Edition) -> Migrator {
    let own = match edition {
        Edition::Community => &COMMUNITY,
        Edition::Apache => &APACHE,
    };
    Migrator::with_migrations(SHARED.iter().chain(own.iter()).cloned().collect())
}

fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_editions_have_the_same_versions_and_each_version_one_file() {
        let versions = |edition| migrator(edition).iter().map(|one| one.version).collect::<Vec<_>>();
        assert_eq!(versions(Edition::Community), versions(Edition::Apache));
        assert!(versions(Edition::Apache).is_sorted_by(|a, b| a < b));
    }
}
