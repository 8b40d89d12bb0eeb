//! A project with a long queue does not make all others wait.

use serde_json::json;

use crate::support::{Weir, eventually};

#[tokio::test]
async fn a_small_project_is_stored_while_a_large_one_has_a_long_queue() {
    let mut weir = Weir::start_with(&[("WEIR_WRITE_EVENTS", "100"), ("WEIR_WRITERS", "1")]).await;
    // The ids of projects are given in order, and decide the lane.
    let (large, small) = (weir.project("large", "UTC").await, weir.project("small", "UTC").await);
    weir.worker.kill().await;
    // A message may go to a worker whose end NATS has not noticed yet, and comes again only after a while.
    let doctor = || async { weir.run(&["doctor"]).await.stdout };
    eventually("NATS knows that the worker is gone", doctor, |report| report.contains("no worker asks"))
        .await;
    for batch in 0..60 {
        let event = |n: u32| json!({"event_id": format!("{batch}-{n}"), "event_type": "e", "user_id": format!("u{n}")});
        let events: Vec<_> = (0..100).map(event).collect();
        assert_eq!(weir.send(&large, &json!(events)).await.0, 202);
    }
    assert_eq!(weir.send(&small, &json!({"event_type": "e"})).await.0, 202);
    weir.start_worker().await;
    weir.wait_for_events(6_001).await;
    // Which transactions were before that of the small one? Their numbers tell.
    let before: i64 = sqlx::query_scalar(
        "select count(*) from events
         where project_id = 1
           and xmin::text::bigint < (select xmin::text::bigint from events where project_id = 2)",
    )
    .fetch_one(&weir.pool)
    .await
    .unwrap();
    // A turn is one of sixty messages here; the small project's comes when its lane has asked for it.
    assert!(before < 4_500, "{before} of 6,000 events of the large project were stored first");
    weir.stop().await;
}

#[tokio::test]
async fn what_was_accepted_is_accounted_for() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    weir.execute("alter table events add check (event_type <> 'poison')").await;
    let event = |id: u32, event_type: &str| json!({"event_id": id.to_string(), "event_type": event_type});
    let batch: Vec<_> = (0..30).map(|n| event(n, if n % 10 == 3 { "poison" } else { "e" })).collect();
    assert_eq!(weir.send(&project, &json!(batch)).await.0, 202);
    assert_eq!(weir.send(&project, &json!([event(1, "e"), event(40, "e"), {"event_typ": "e"}])).await.0, 202);
    let metric = async |name: &str| {
        let process = if name.starts_with("events_re") { &weir.api } else { &weir.worker };
        weir.metric(process, name).await
    };
    weir.wait_until_drained().await;
    weir.wait_for_events(28).await;
    let stored = || metric("events_stored_total");
    eventually("all is counted", stored, |stored| (*stored - 28.0).abs() < 0.5).await;
    let of_api = weir.metric(&weir.api, "events_duplicate_total").await;
    let of_worker = weir.metric(&weir.worker, "events_duplicate_total").await;
    let parts = [
        of_api,
        of_worker,
        metric("events_rejected_total").await,
        metric("events_stored_total").await,
        metric("events_dead_lettered_total").await,
        metric("events_dropped_total").await,
    ];
    let received = metric("events_received_total").await;
    assert!((received - 33.0).abs() < 0.5 && (received - parts.iter().sum::<f64>()).abs() < 0.5, "{parts:?}");
    weir.stop().await;
}
