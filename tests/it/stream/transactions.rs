//! A transaction goes to its end also if nobody waits for it any more.

use std::{num::NonZeroU32, time::Duration};

use sqlx::postgres::PgPoolOptions;
use weir::{
    config::{Database, Queries},
    store::{
        self,
        projects::{self, event_types},
        read::snapshot::Reader,
    },
};

use crate::support::{Weir, eventually};

#[tokio::test]
async fn what_was_begun_goes_to_its_end_without_who_asked() {
    let weir = Weir::start().await;
    weir.project("p", "UTC").await;
    let project_id = projects::by_name(&weir.pool, "p").await.unwrap().unwrap().id;
    let mut holder = weir.pool.acquire().await.unwrap();
    let lock = |name| format!("select {name}(hashtext('weir.event_types'), {})", project_id.get());
    let in_the_way = sqlx::AssertSqlSafe(lock("pg_advisory_lock"));
    sqlx::query(in_the_way).execute(&mut *holder).await.unwrap();

    let pool = PgPoolOptions::new().max_connections(1).connect(&weir.database_url()).await.unwrap();
    let waiting = async || {
        sqlx::query_scalar::<_, i64>(
            "select count(*) from pg_locks join pg_database on pg_database.oid = database
             where locktype = 'advisory' and not granted and datname = current_database()",
        )
        .fetch_one(&weir.pool)
        .await
        .unwrap()
    };
    let limit = NonZeroU32::new(10).unwrap();
    tokio::select! {
        _ = event_types::admit(&pool, project_id, &["e"], limit) => panic!("it waits for the lock"),
        _ = eventually("the transaction waits", waiting, |waiting| *waiting == 1) => {} // who asked is gone
    }
    sqlx::query(sqlx::AssertSqlSafe(lock("pg_advisory_unlock"))).execute(&mut *holder).await.unwrap();
    let admitted = async || {
        sqlx::query_scalar::<_, i64>("select count(*) from event_types").fetch_one(&weir.pool).await.unwrap()
    };
    eventually("the type is admitted", admitted, |types| *types == 1).await;
    drop(holder);
    pool.close().await;
    weir.stop().await;
}

/// A client may go at any moment. What is asked next on the connection must not see the past, nor be kept from writing.
#[tokio::test]
async fn a_question_whose_client_is_gone_leaves_no_transaction_behind() {
    let weir = Weir::start().await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&weir.database_url()).await.unwrap();
    let limits = Queries { query_timeout: Duration::from_mins(1), event_queries: 2 };
    let reader = Reader::new(pool.clone(), pool.clone(), &limits);
    for polls in 1..=12 {
        let mut asking = Box::pin(reader.snapshot());
        for _ in 0..polls {
            if futures::poll!(&mut asking).is_ready() {
                break;
            }
            // Meanwhile the answer to what was sent may arrive.
            sqlx::query("select 1").execute(&weir.pool).await.unwrap();
        }
        drop(asking);
        let isolation: String =
            sqlx::query_scalar("show transaction_isolation").fetch_one(&pool).await.unwrap();
        assert_eq!(isolation, "read committed", "dropped after {polls} polls");
    }
    pool.close().await;
    weir.stop().await;
}

#[tokio::test]
async fn the_database_ends_what_a_host_that_vanished_has_begun() {
    let weir = Weir::start().await;
    let config = Database {
        database_url: weir.database_url(),
        database_connections: 1,
        database_timeout: Duration::from_secs(10),
    };
    let pool = store::connect(&config).unwrap();
    let patience: String =
        sqlx::query_scalar("show idle_in_transaction_session_timeout").fetch_one(&pool).await.unwrap();
    assert_eq!(patience, "1min");
    pool.close().await;
    weir.stop().await;
}
