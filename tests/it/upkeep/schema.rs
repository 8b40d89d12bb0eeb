//! `weir migrate`, and the schema that it makes.

use std::path::Path;

use sqlx::{PgPool, migrate::Migrator};
use tokio::process::Command;

use super::merges::{merge, settled};
use crate::{
    stats::promotions::{answers, assert_same, assert_twins, of_activity, promote, send},
    support::{Finished, Process, Weir, drop_database, missing_tool, new_database},
};

async fn migrate(database: &str) -> Finished {
    Process::run("weir", &["migrate"], &[("DATABASE_URL".into(), database.into())]).await
}

/// Brings a new database to one of the versions that were before the start.
async fn migrate_to(version: i64, database: &str) {
    let pool = PgPool::connect(database).await.unwrap();
    sqlx::query("create extension if not exists timescaledb").execute(&pool).await.unwrap();
    let license: String = sqlx::query_scalar("show timescaledb.license").fetch_one(&pool).await.unwrap();
    let edition = if license == "apache" { "apache" } else { "community" };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/version_24");
    let mut migrations = Migrator::new(folder.as_path()).await.unwrap().migrations.to_vec();
    migrations.extend(Migrator::new(folder.join(edition)).await.unwrap().migrations.to_vec());
    migrations.retain(|migration| migration.version <= version);
    Migrator::with_migrations(migrations).run(&pool).await.unwrap();
    pool.close().await;
}

/// Compares the schema of a database with the committed one of its edition.
async fn assert_committed(database: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/schema");
    let compared = Command::new(script).args(["--check", database]).output().await.unwrap();
    if compared.status.code() == Some(3) {
        return missing_tool("pg_dump of PostgreSQL 17", "`scripts/schema --help` says how to name it");
    }
    assert!(compared.status.success(), "{compared:?}");
}

#[tokio::test]
async fn migrations_run_twice_and_at_the_same_time() {
    let database = new_database().await;
    let (one, two, three) = tokio::join!(migrate(&database), migrate(&database), migrate(&database));
    for run in [one, two, three] {
        run.succeeded();
    }
    let again = migrate(&database).await.succeeded();
    assert!(again.stdout.starts_with("The database was at version"), "{again:?}");
    drop_database(&database).await;
}

#[tokio::test]
async fn the_committed_schema_is_what_the_migrations_make() {
    let database = new_database().await;
    migrate(&database).await.succeeded();
    assert_committed(&database).await;
    drop_database(&database).await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let database = new_database().await;
    migrate(&database).await.succeeded();
    let pool = PgPool::connect(&database).await.unwrap();
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9999, 'from the future', true, '', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    for command in ["migrate", "serve"] {
        let variables =
            [("DATABASE_URL".into(), database.clone()), ("WEIR_HTTP_ADDR".into(), "127.0.0.1:0".into())];
        let refused = Process::run("weir", &[command], &variables).await;
        assert!(!refused.status.success());
        assert!(refused.stderr.contains("version 9999, which this weir does not know"), "{refused:?}");
    }
    drop_database(&database).await;
}

#[tokio::test]
async fn a_database_of_version_24_gets_the_schema_of_a_new_one_whoever_else_migrates_it() {
    let database = new_database().await;
    migrate_to(24, &database).await;
    let variables =
        [("DATABASE_URL".into(), database.clone()), ("WEIR_HTTP_ADDR".into(), "127.0.0.1:0".into())];
    let refused = Process::run("weir", &["serve"], &variables).await;
    assert!(refused.stderr.contains("the database has version 24, this weir needs "), "{refused:?}");

    let (one, two, three) = tokio::join!(migrate(&database), migrate(&database), migrate(&database));
    let said = [one, two, three].map(|run| run.succeeded().stdout);
    let brought_over = said.iter().filter(|said| said.starts_with("The database is now at version"));
    assert_eq!(brought_over.count(), 1, "{said:?}");
    assert_committed(&database).await;

    let new = new_database().await;
    migrate(&new).await.succeeded();
    assert_eq!(ledger(&database).await, ledger(&new).await);
    for database in [database, new] {
        drop_database(&database).await;
    }
}

/// What sqlx has recorded of the migrations of a database.
async fn ledger(database: &str) -> Vec<(i64, String, Vec<u8>, bool)> {
    let pool = PgPool::connect(database).await.unwrap();
    let query = "select version, description, checksum, success from _sqlx_migrations order by version";
    let ledger = sqlx::query_as(query).fetch_all(&pool).await.unwrap();
    pool.close().await;
    ledger
}

/// Takes back what migrations after the start have added.
const LATER: [&str; 8] = [
    "drop view present_users",
    "drop table former_users",
    "alter table user_merges drop column generation",
    "drop function trait_wins",
    "drop table user_traits",
    "drop view user_names",
    "alter table users drop column is_known",
    "create view user_names as
     select project_id, user_id, user_no, since from users
     union all
     select project_id, user_id, user_no, since from user_aliases",
];

#[tokio::test]
async fn a_database_of_version_24_is_brought_over_with_all_that_it_holds() {
    let database = new_database().await;
    migrate_to(24, &database).await;
    let pool = PgPool::connect(&database).await.unwrap();
    sqlx::query("create table former_ledger as table _sqlx_migrations").execute(&pool).await.unwrap();
    pool.close().await;

    // This weir writes what that of version 24 wrote. So it is the ledger and what later migrations added that make it such
    // a database again.
    let mut weir = Weir::start_on(database, &[]).await;
    let (promoted, plain) = (weir.project("promoted", "UTC").await, weir.project("plain", "UTC").await);
    let twins = [&promoted, &plain];
    send(&weir, &twins, 0..200).await;
    weir.wait_for_events(400).await;
    promote(&weir, &promoted, "properties.x").await;
    for project in twins {
        merge(&weir, project, "user-1", "user-4").await;
        assert_eq!(weir.delete_user(project, "user-9").await.0, 202);
    }
    settled(&weir).await;
    let questions = of_activity("from=2024-03-29&to=2024-04-16", "properties.x:>0", "properties.x");
    let before = answers(&weir, &promoted, &questions).await;
    let timeline = weir.ask(&plain, "/events?user_id=user-4").await;
    for process in [&mut weir.api, &mut weir.worker] {
        process.signal_termination().await;
        process.ended().await;
    }
    weir.execute("delete from _sqlx_migrations").await;
    weir.execute("insert into _sqlx_migrations select * from former_ledger").await;
    weir.execute("drop table former_ledger").await;
    for statement in LATER {
        weir.execute(statement).await;
    }

    let said = weir.run(&["migrate"]).await.succeeded().stdout;
    assert!(said.starts_with("The database is now at version"), "{said}");
    weir.start_api().await;
    weir.start_worker().await;
    assert_same(&questions, &answers(&weir, &promoted, &questions).await, &before, "when it is brought over");
    assert_eq!(weir.ask(&plain, "/events?user_id=user-4").await["events"], timeline["events"]);

    send(&weir, &twins, 200..300).await;
    weir.wait_until_drained().await;
    merge(&weir, &promoted, "user-16", "user-4").await;
    merge(&weir, &plain, "user-16", "user-4").await;
    settled(&weir).await;
    assert_twins(&weir, &twins, "when it goes on").await;
    weir.stop().await;
}

#[tokio::test]
async fn an_older_database_is_refused_with_what_to_run_first() {
    let database = new_database().await;
    migrate_to(23, &database).await;
    let before = ledger(&database).await;
    let refused = migrate(&database).await;
    assert!(!refused.status.success());
    let expected = "the database has version 23, and this weir goes on from version 24 or newer: check out commit 7b1c68b \
                    of weir, run its `weir migrate`, and then this one again";
    assert!(refused.stderr.contains(expected), "{refused:?}");
    assert_eq!(ledger(&database).await, before);
    drop_database(&database).await;
}

#[tokio::test]
async fn a_database_whose_version_24_is_another_is_left_alone() {
    let database = new_database().await;
    migrate_to(24, &database).await;
    let pool = PgPool::connect(&database).await.unwrap();
    sqlx::query("update _sqlx_migrations set checksum = 'changed' where version = 9")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let before = ledger(&database).await;
    let refused = migrate(&database).await;
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("version 24 of the database is not the one of this weir"), "{refused:?}");
    assert_eq!(ledger(&database).await, before);
    drop_database(&database).await;
}
