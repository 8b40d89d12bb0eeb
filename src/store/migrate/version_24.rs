//! Databases from before there was a start: 24 migrations made the schema that the start makes now. A database that has
//! had all of them lacks only what the start says about tables and columns, and another record of migrations.

use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    migrate::{Migrate, Migration, Migrator},
};

use super::{Edition, SchemaError, TABLE};

/// The version that the 24 migrations end with.
pub(super) const VERSION: i64 = 24;
/// The newest version of the start.
const START: i64 = 26;

/// SHA-256 of the checksums that sqlx has of the 24 migrations of an edition, in their order.
fn digest(edition: Edition) -> &'static str {
    match edition {
        Edition::Community => "5610962bd6160edfba6e774bb071518623148f1ff3118bc74bf091a687f50ade",
        Edition::Apache => "e1b665f4652fa1ef211e09ef986fe1c5d8c23ae3105c478d21f9c1943dbf9f71",
    }
}

/// Brings a database of version 24 to the start. It changes no table, so it takes a moment, whatever the database holds.
/// The caller holds the lock of migrations.
pub(super) async fn bring_over(
    connection: &mut PgConnection,
    edition: Edition,
    migrator: &Migrator,
) -> Result<(), SchemaError> {
    let mut transaction = connection.begin().await?;
    let found: Option<String> = sqlx::query_scalar(
        "select encode(sha256(string_agg(checksum, '' order by version)), 'hex') from _sqlx_migrations",
    )
    .fetch_one(&mut *transaction)
    .await?;
    if found.as_deref() != Some(digest(edition)) {
        return Err(SchemaError::Different(VERSION));
    }
    sqlx::query("delete from _sqlx_migrations").execute(&mut *transaction).await?;
    for migration in migrator.iter().filter(|migration| migration.version <= START) {
        sqlx::raw_sql(AssertSqlSafe(comments(migration))).execute(&mut *transaction).await?;
        transaction.skip(TABLE, migration).await.map_err(SchemaError::Failed)?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The `comment on` statements of a migration. Each begins on a line of its own, right after another statement.
fn comments(migration: &Migration) -> String {
    let statements = migration.sql.as_str().split_inclusive(";\n");
    statements.filter(|statement| statement.starts_with("comment on ")).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sha2::{Digest, Sha256};

    use super::*;

    static SHARED: Migrator = sqlx::migrate!("tests/data/version_24");
    static COMMUNITY: Migrator = sqlx::migrate!("tests/data/version_24/community");
    static APACHE: Migrator = sqlx::migrate!("tests/data/version_24/apache");

    #[test]
    fn the_digests_are_those_of_the_24_migrations() {
        for (edition, own) in [(Edition::Community, &COMMUNITY), (Edition::Apache, &APACHE)] {
            let all = Migrator::with_migrations(SHARED.iter().chain(own.iter()).cloned().collect());
            let mut sha256 = Sha256::new();
            all.iter().for_each(|migration| sha256.update(&migration.checksum));
            assert_eq!(
                format!("{:x}", Bytes::copy_from_slice(&sha256.finalize())),
                digest(edition),
                "{edition:?}"
            );
        }
    }
}
