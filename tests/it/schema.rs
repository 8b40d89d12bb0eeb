//! `weir migrate`.

use super::support::{Process, create_database, drop_database};

async fn migrate(database: &str) -> super::support::Finished {
    Process::run("weir", &["migrate"], &[("DATABASE_URL".into(), database.into())]).await
}

#[tokio::test]
async fn migrations_run_twice_and_at_the_same_time() {
    let database = create_database(&format!("weir_test_{}", uuid::Uuid::new_v4().simple())).await;
    let (one, two, three) = tokio::join!(migrate(&database), migrate(&database), migrate(&database));
    for run in [one, two, three] {
        run.succeeded();
    }
    let again = migrate(&database).await.succeeded();
    assert!(again.stdout.starts_with("The database was at version"), "{again:?}");
    drop_database(&database).await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let database = create_database(&format!("weir_test_{}", uuid::Uuid::new_v4().simple())).await;
    migrate(&database).await.succeeded();
    let pool = sqlx::PgPool::connect(&database).await.unwrap();
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
