//! A project that is deleted is gone: its keys, its events and users, and what waits in the stream. Others notice nothing.

use serde_json::{Value, json};

use super::deletions::differences;
use crate::support::{Project, Weir, eventually};

/// Tables and views that know projects by their numbers.
const TABLES: [&str; 17] = [
    "api_keys",
    "events",
    "activity",
    "activity_hourly",
    "activity_daily",
    "users",
    "user_aliases",
    "event_types",
    "deleted_users",
    "user_deletions",
    "user_merges",
    "promoted_properties",
    "property_values",
    "former_values",
    "contested_ids",
    "unfiltered_projects",
    "recounts",
];

async fn send(weir: &Weir, project: &Project, range: std::ops::Range<u32>) {
    let event = |n: u32| {
        json!({
            "event_id": format!("e-{n}"), "event_type": format!("type {}", n % 3), "user_id": format!("u{}", n % 50),
            "occurred_at": format!("2026-0{}-01T12:00:00Z", 1 + n % 3), "properties": {"country": n % 5},
        })
    };
    let events: Vec<Value> = range.map(event).collect();
    let (status, answer) = weir.send(project, &json!(events)).await;
    assert_eq!((status.as_u16(), &answer["accepted"]), (202, &json!(events.len())), "{answer}");
}

async fn left(weir: &Weir) -> Vec<(&'static str, i64)> {
    let mut left = Vec::new();
    for table in TABLES {
        let statement = format!("select count(*) from {table} where project_id = 1");
        let rows: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(&weir.pool).await.unwrap();
        if rows > 0 {
            left.push((table, rows));
        }
    }
    left
}

#[tokio::test]
async fn a_project_that_is_deleted_is_gone_and_others_notice_nothing() {
    let mut weir = Weir::start().await;
    let (project, other) = (weir.project("shop", "Europe/Kyiv").await, weir.project("other", "UTC").await);
    weir.run(&["project", "promote", "shop", "properties.country"]).await.succeeded();
    send(&weir, &project, 0..300).await;
    send(&weir, &other, 0..300).await;
    weir.wait_for_events(600).await;
    assert_eq!(weir.merge_users(&project, "u1", "u2").await.0, 202);
    assert_eq!(weir.delete_user(&project, "u3").await.0, 202);
    weir.wait_for_roll_up().await;
    let question = "/stats/active-users?from=2026-01-01&to=2026-03-31&interval=month";
    let before = weir.ask(&other, question).await;
    weir.worker.kill().await;
    send(&weir, &project, 300..400).await;

    let asked = weir.run(&["project", "delete", "shop"]).await;
    assert!(!asked.status.success());
    assert!(asked.stderr.contains("events for good; add --yes if you mean that"), "{}", asked.stderr);
    let deleted = weir.run(&["project", "delete", "shop", "--yes"]).await.succeeded();
    assert!(deleted.stdout.starts_with("Deleted."), "{}", deleted.stdout);
    assert!(!weir.run(&["project", "list"]).await.succeeded().stdout.contains("shop"));
    let refused = || async { weir.get(&project, question).send().await.unwrap().status().as_u16() };
    eventually("its keys are refused", refused, |status| *status == 401).await;

    weir.start_worker().await;
    weir.wait_until_drained().await;
    eventually("nothing of it is left", || left(&weir), Vec::is_empty).await;
    let dropped = weir.metric(&weir.worker, "events_dropped_total").await;
    assert!((dropped - 100.0).abs() < f64::EPSILON, "what waited is counted: {dropped}");
    assert_eq!(weir.number("select count(*) from events").await, 300);
    assert_eq!(weir.ask(&other, question).await, before);
    assert_eq!(differences(&weir).await, []);
    let doctor = weir.run(&["doctor"]).await.succeeded().stdout;
    assert!(doctor.contains("weir is well"), "{doctor}");

    // Its name is free, and what comes under it is another project's.
    let again = weir.project("shop", "UTC").await;
    assert_eq!(weir.ask(&again, "/events?user_id=u1").await["count"], json!(0));
    send(&weir, &again, 0..10).await;
    weir.wait_for_events(310).await;

    // A writer that learned of it late has numbered what it did not store.
    weir.execute(
        "insert into property_values (project_id, value_no, property, value) values (1, 99, 'country', '7')",
    )
    .await;
    weir.execute("insert into users (project_id, user_no, user_id) values (1, 99, 'late')").await;
    // Its number is forgotten when no event of it can lie in a stream any more.
    weir.execute(
        "update projects set deleted_at = deleted_at - interval '2 hours' where deleted_at is not null",
    )
    .await;
    let former = || weir.number("select count(*) from projects where project_id = 1");
    eventually("it is forgotten", former, |former| *former == 0).await;
    weir.stop().await;
}
