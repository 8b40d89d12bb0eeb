//! `weir doctor` says what is well and what is not.

use async_nats::jetstream::consumer::PullConsumer;
use futures::StreamExt;
use serde_json::json;

use crate::support::{Weir, server};

/// The first words of each line, for a line that says this.
fn line<'a>(report: &'a str, what: &str) -> &'a str {
    report.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no line on {what}: {report}"))
}

#[tokio::test]
async fn a_doctor_finds_a_well_weir_well_and_names_what_was_taken_from_it() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "Asia/Kolkata").await;
    for n in 0..5 {
        assert_eq!(
            weir.send(&project, &json!([{"event_type": "e", "event_id": n.to_string()}])).await.0,
            202
        );
    }
    weir.wait_for_events(5).await;
    weir.wait_until_drained().await;
    let report = weir.run(&["doctor"]).await.succeeded().stdout;
    assert!(report.ends_with("weir is well.\n"), "{report}");
    assert!(line(&report, "accepted").contains("all 5 that left the stream"), "{report}");
    assert!(line(&report, "statistics").contains("count all 5 events"), "{report}");
    assert!(line(&report, "database").contains("edition"), "{report}");

    assert!(line(&report, "workers").contains("ask for messages"), "{report}");

    // Without Redis it works, and says so.
    let redis = weir.run(&["doctor", "--redis-url", "redis://127.0.0.1:1"]).await.succeeded().stdout;
    assert!(line(&redis, "Redis").starts_with("warning"), "{redis}");

    // A worker that died with a message in hand: nobody stores it.
    weir.worker.kill().await;
    assert_eq!(weir.send(&project, &json!([{"event_type": "e", "event_id": "in hand"}])).await.0, 202);
    let nats = async_nats::connect(server("NATS_URL")).await.unwrap();
    let stream = format!("{}-events", weir.namespace());
    let stream = async_nats::jetstream::new(nats).get_stream(stream).await.unwrap();
    let mut in_hand = 0;
    for lane in 0..4 {
        let writer: PullConsumer = stream.get_consumer(&format!("writer-{lane}")).await.unwrap();
        in_hand += writer.fetch().max_messages(1).messages().await.unwrap().count().await;
    }
    assert_eq!(in_hand, 1);
    let stopped = weir.run(&["doctor"]).await;
    assert!(
        line(&stopped.stdout, "stream").contains("1 message is not stored yet, 1 of them with a worker"),
        "{stopped:?}"
    );
    assert!(line(&stopped.stdout, "workers").starts_with("WRONG"), "{stopped:?}");

    // An older copy of the database, a lost event, no stream.
    weir.execute("update settled_messages set sequences = sequences - '{[2,4)}'::int8multirange").await;
    weir.execute("delete from events where event_id = (select event_id from events limit 1)").await;
    let sick = weir.run(&["doctor"]).await;
    assert!(!sick.status.success());
    let accepted = line(&sick.stdout, "accepted");
    assert!(accepted.starts_with("WRONG"), "{}", sick.stdout);
    assert!(
        accepted
            .contains("2 messages, the first with number 2, left the stream and did not reach this database"),
        "{accepted}"
    );
    assert!(line(&sick.stdout, "statistics").contains("p: 4 events, 5 of them counted"), "{}", sick.stdout);
    assert!(line(&sick.stdout, "workers").starts_with("WRONG"), "{}", sick.stdout);

    let nowhere = weir.run(&["doctor", "--nats-url", "nats://127.0.0.1:1"]).await;
    assert!(line(&nowhere.stdout, "stream").contains("503"), "{}", nowhere.stdout);
    let nowhere = weir.run(&["doctor", "--database-url", "postgres://weir@127.0.0.1:1/weir"]).await;
    assert!(line(&nowhere.stdout, "database").starts_with("WRONG"), "{}", nowhere.stdout);
    weir.stop().await;
}
