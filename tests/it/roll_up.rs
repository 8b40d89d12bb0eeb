//! Rolling activity up, where one sees it in the tables alone: what is counted stays the same.

use std::path::Path;

use chrono::Utc;
use serde_json::json;
use sqlx::{Connection, PgConnection, PgPool, migrate::Migrator};

use super::support::{Process, Weir, create_database, drop_database, eventually};

#[tokio::test]
async fn the_deltas_of_an_hour_become_one_when_it_is_quiet() {
    let weir = Weir::start().await;
    let project = weir.project("quiet", "UTC").await;
    let now = Utc::now();
    for (count, user) in (1..).zip(["anna", "boris", "anna"]) {
        let event = json!({"event_type": "e", "user_id": user, "occurred_at": now.to_rfc3339()});
        assert_eq!(weir.send(&project, &event).await.0, 202);
        weir.wait_for_events(count).await; // each in a transaction of its own
    }
    weir.execute("update activity set written_at = written_at - interval '2 minutes'").await;
    let most = || async {
        let query = "select max(deltas) from (
                         select count(*) as deltas from activity group by project_id, event_type, local_hour
                     ) as hours";
        sqlx::query_scalar::<_, Option<i64>>(query).fetch_one(&weir.pool).await.unwrap()
    };
    eventually("one delta per hour and type", most, |most| *most == Some(1)).await;
    assert_eq!(weir.counts().await, (3, 3, 3));
    let day = now.date_naive();
    let answer = weir.ask(&project, &format!("/stats/dau?from={day}&to={day}")).await;
    assert_eq!(answer["data"], json!([{"date": day, "active_users": 2}]));
    weir.stop().await;
}

/// Brings a database to an earlier version.
async fn migrate_to(version: i64, pool: &PgPool) {
    sqlx::query("create extension if not exists timescaledb").execute(pool).await.unwrap();
    let license: String = sqlx::query_scalar("show timescaledb.license").fetch_one(pool).await.unwrap();
    let edition = if license == "apache" { "apache" } else { "community" };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut migrations = Migrator::new(folder.as_path()).await.unwrap().migrations.to_vec();
    migrations.extend(Migrator::new(folder.join(edition)).await.unwrap().migrations.to_vec());
    migrations.retain(|migration| migration.version <= version);
    migrations.sort_by_key(|migration| migration.version);
    Migrator::with_migrations(migrations).run(pool).await.unwrap();
}

#[tokio::test]
async fn activity_of_before_there_were_totals_gets_them() {
    let database = create_database(&format!("weir_test_{}", uuid::Uuid::new_v4().simple())).await;
    let pool = PgPool::connect(&database).await.unwrap();
    migrate_to(5, &pool).await;
    let hour = |hour: u32| format!("2024-03-01 {hour:02}:00");
    for (event_type, hour, users, events) in [
        ("a", hour(1), "{1,2}", 3),
        ("b", hour(1), "{2,3}", 4),
        ("a", hour(7), "{1}", 1),
        ("a", hour(7), "{4}", 1),
    ] {
        sqlx::query(
            "insert into activity (project_id, event_type, local_hour, users, events)
             values (1, $1, $2::text::timestamp, $3::text::roaringbitmap, $4)",
        )
        .bind(event_type)
        .bind(hour)
        .bind(users)
        .bind(events)
        .execute(&pool)
        .await
        .unwrap();
    }
    pool.close().await;
    Process::run("weir", &["migrate"], &[("DATABASE_URL".into(), database.clone())]).await.succeeded();

    let mut connection = PgConnection::connect(&database).await.unwrap();
    // As they come from the migration, and as the next roll-up leaves them.
    for _ in 0..2 {
        let hours: Vec<(String, Vec<i32>, i64)> = sqlx::query_as(
            "select local_hour::text, rb_to_array(rb_or_agg(users)), sum(events)::bigint
             from activity_hourly where project_id = 1 and event_type = '' group by local_hour order by local_hour",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let row = |hour: &str, users: &[i32], events| (hour.to_owned(), users.to_vec(), events);
        assert_eq!(
            hours,
            [row("2024-03-01 01:00:00", &[1, 2, 3], 7), row("2024-03-01 07:00:00", &[1, 4], 2)]
        );
        sqlx::query("call roll_up('2024-04-01')").execute(&mut connection).await.unwrap();
    }
    let days: Vec<(i64, i64)> =
        sqlx::query_as("select rb_cardinality(users), events from activity_daily where event_type = ''")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(days, [(4, 9)]);
    drop(connection);
    drop_database(&database).await;
}

#[tokio::test]
async fn activity_of_before_there_were_promotions_is_that_of_all_values() {
    let database = create_database(&format!("weir_test_{}", uuid::Uuid::new_v4().simple())).await;
    let pool = PgPool::connect(&database).await.unwrap();
    migrate_to(7, &pool).await;
    let add = async |hour: &str, users: &str| {
        sqlx::query(
            "insert into activity (project_id, event_type, local_hour, users, events)
             select 1, event_type, $1::text::timestamp, $2::text::roaringbitmap, 1
             from unnest(array['', 'a']) as event_type",
        )
        .bind(hour)
        .bind(users)
        .execute(&pool)
        .await
        .unwrap();
    };
    // Some is rolled up, some is not yet.
    add("2024-03-01 01:00", "{1,2}").await;
    add("2024-03-01 02:00", "{3}").await;
    sqlx::query("call roll_up('2024-03-02')").execute(&pool).await.unwrap();
    add("2024-03-01 02:00", "{4}").await;
    add("2024-03-02 02:00", "{5}").await;
    Process::run("weir", &["migrate"], &[("DATABASE_URL".into(), database.clone())]).await.succeeded();

    for _ in 0..2 {
        let days: Vec<(String, i32, String, Vec<i32>, i64)> = sqlx::query_as(
            "select event_type, value_no, local_day::date::text, rb_to_array(rb_or_agg(users)), sum(events)::bigint
             from activity_daily where project_id = 1
             group by event_type, value_no, local_day order by event_type, local_day",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        let row = |event_type: &str, day: &str, users: &[i32], events| {
            (event_type.to_owned(), 0, format!("2024-03-{day}"), users.to_vec(), events)
        };
        let of_type = |name| [row(name, "01", &[1, 2, 3, 4], 3), row(name, "02", &[5], 1)];
        assert_eq!(days, [of_type(""), of_type("a")].concat());
        sqlx::query("call roll_up('2024-04-01')").execute(&pool).await.unwrap();
    }
    pool.close().await;
    drop_database(&database).await;
}
