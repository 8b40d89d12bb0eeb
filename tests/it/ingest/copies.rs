//! One id is one event, whatever the times of its copies, and whatever dies between them.

use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use uuid::Uuid;
use weir::{
    model::{
        event::{Batch, Copies, Event},
        project::ProjectId,
    },
    store::projects,
    stream::message,
};

use crate::support::{Way, Weir, eventually, server};

/// The same event, stamped anew with each try, beside one that is new each time: the stream does not take them for a
/// message that it has.
fn stamped(event_id: &str, tried: i64) -> Value {
    let occurred_at = DateTime::from_timestamp(1_700_000_000 + tried, 0).unwrap();
    json!([
        {"event_id": event_id, "event_type": "e", "user_id": "u", "occurred_at": occurred_at},
        {"event_id": format!("{event_id}-{tried}"), "event_type": "e", "user_id": "u"},
    ])
}

async fn redis() -> MultiplexedConnection {
    let client = redis::Client::open(server("REDIS_URL")).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Its keys that begin so.
async fn keys(weir: &Weir, beginning: &str) -> Vec<String> {
    let pattern = format!("{}:{beginning}*", weir.namespace());
    redis::cmd("KEYS").arg(pattern).query_async(&mut redis().await).await.unwrap()
}

/// The instances that have requests of the first project under way.
async fn reserving(weir: &Weir) -> Vec<String> {
    keys(weir, "taken:*:1:").await
}

async fn wait_until_nothing_is_reserved(weir: &Weir) {
    eventually("nothing is reserved", || reserving(weir), Vec::is_empty).await;
}

/// What Redis knows of a namespace is lost, as when it restarts without a copy on disk.
async fn empty_redis(weir: &Weir) {
    let (keys, mut redis) = (keys(weir, "").await, redis().await);
    assert!(!keys.is_empty());
    redis::cmd("DEL").arg(keys).query_async::<i64>(&mut redis).await.unwrap();
}

#[tokio::test]
async fn forty_senders_of_one_id_with_forty_times_make_one_event() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let another = weir.another_api().await;
    for round in 0..5 {
        let event_id = format!("id-{round}");
        let send = async |tried: i64| {
            let address = if tried % 2 == 0 { &weir.api.address } else { &another.address };
            let request = weir.http.post(format!("http://{address}/events"));
            let request = request.header("X-API-Key", &project.write).json(&stamped(&event_id, tried));
            request.send().await.unwrap().status().as_u16()
        };
        for status in join_all((0..40).map(send)).await {
            assert!(matches!(status, 200 | 202), "{status}");
        }
    }
    weir.wait_until_drained().await;
    weir.wait_for_events(5 + 5 * 40).await;
    weir.stop().await;
}

#[tokio::test]
async fn who_sends_an_id_that_another_instance_has_reserved_is_looked_up() {
    let nats = server("NATS_URL");
    let way = Way::to(nats.trim_start_matches("nats://")).await;
    let mut weir = Weir::start_with(&[("WEIR_PUBLISH_TIMEOUT", "5s")]).await;
    let project = weir.project("p", "UTC").await;
    weir.set("NATS_URL", &format!("nats://{}", way.address));
    let another = weir.another_api().await;

    way.gate.silent.store(true, Ordering::SeqCst);
    let first =
        weir.http.post(format!("http://{}/events", another.address)).header("X-API-Key", &project.write);
    let first = tokio::spawn(first.json(&stamped("a", 0)).send());
    eventually("the first has a reservation", || reserving(&weir), |instances| instances.len() == 1).await;
    assert_eq!(weir.send(&project, &stamped("a", 1)).await.0, 202);
    weir.wait_for_events(2).await;
    let noted = weir.number("select count(*) from contested_ids").await;
    assert_eq!(noted, 2, "if the first is stored after all, it is looked up too");
    assert_eq!(first.await.unwrap().unwrap().status(), 503);
    weir.stop().await;
}

#[tokio::test]
async fn ids_of_a_request_that_failed_are_in_doubt_until_they_are_durable() {
    let mut weir = Weir::start_with(&[("WEIR_STREAM_MAX_BYTES", "64KiB")]).await;
    let project = weir.project("p", "UTC").await;
    weir.worker.kill().await;
    let mut tried = 0;
    let refused = loop {
        let mut body = stamped(&format!("id-{tried}"), tried);
        body[0]["properties"] = json!({"text": "x".repeat(5_000)});
        match weir.send(&project, &body).await.0.as_u16() {
            202 => tried += 1,
            status => break (status, format!("id-{tried}")),
        }
    };
    assert_eq!(refused.0, 503);
    wait_until_nothing_is_reserved(&weir).await;
    assert_eq!(keys(&weir, "in-doubt:").await.len(), 1, "the store must look for copies of what was refused");

    weir.start_worker().await;
    weir.wait_for_events(2 * tried).await;
    for expected in [(202, json!(0)), (200, json!(2))] {
        let (status, answer) = weir.send(&project, &stamped(&refused.1, tried)).await;
        assert_eq!((status.as_u16(), answer["duplicates"].clone()), expected);
        wait_until_nothing_is_reserved(&weir).await;
        assert_eq!(keys(&weir, "in-doubt:").await, [""; 0], "all are durable");
    }
    weir.wait_until_drained().await;
    weir.wait_for_events(2 * tried + 2).await;
    weir.stop().await;
}

#[tokio::test]
async fn copies_are_found_when_redis_is_emptied_between_them() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    for tried in 0..4 {
        let (status, answer) = weir.send(&project, &stamped("a", tried)).await;
        assert_eq!(status, 202, "{answer}");
        weir.wait_until_drained().await;
        weir.wait_for_events(1 + tried + 1).await;
        empty_redis(&weir).await;
    }
    weir.stop().await;
}

#[tokio::test]
async fn copies_are_found_when_redis_goes_and_comes_between_them() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let addresses = ["redis://127.0.0.1:1", &server("REDIS_URL"), "redis://127.0.0.1:1"];
    for (tried, redis) in (0..).zip(addresses) {
        weir.api.kill().await;
        weir.set("REDIS_URL", redis);
        weir.start_api().await;
        for event_id in ["a", "b"] {
            let body = stamped(event_id, tried);
            let (status, answer) = weir.send(&project, &body).await;
            assert_eq!(status, 202, "{answer}");
        }
        weir.wait_until_drained().await;
        weir.wait_for_events(2 + 2 * (tried + 1)).await;
    }
    weir.stop().await;
}

#[tokio::test]
async fn events_without_a_time_are_one_event_too() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    for tried in 0..2 {
        let mut untimed = stamped("a", tried);
        untimed[0].as_object_mut().unwrap().remove("occurred_at");
        assert_eq!(weir.send(&project, &untimed).await.0, 202);
        weir.wait_until_drained().await;
        empty_redis(&weir).await;
    }
    assert_eq!(weir.send(&project, &stamped("a", 2)).await.0, 202);
    weir.wait_until_drained().await;
    weir.wait_for_events(1 + 3).await;
    weir.stop().await;
}

/// Publishes a copy as an API would that knows this of the others.
async fn publish(weir: &Weir, project_id: ProjectId, event_id: Uuid, (tried, copies): (usize, Copies)) {
    let received_at = Utc::now();
    let event = Event {
        event_id,
        user_id: Some("u".into()),
        event_type: "e".into(),
        occurred_at: Some(received_at - TimeDelta::days(i64::try_from(tried).unwrap())),
        properties: "{}".into(),
        is_anonymous: false,
        about_user: None,
    };
    let batch = Batch { project_id, request_id: "r".into(), received_at, copies, events: vec![event] };
    let jetstream = async_nats::jetstream::new(async_nats::connect(server("NATS_URL")).await.unwrap());
    let subject = format!("{}.events.1.1", weir.namespace());
    jetstream.publish(subject, message::encode(&batch).into()).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn copies_are_found_in_whatever_order_they_are_stored() {
    let weir = Weir::start().await;
    let (p, q) = (weir.project("p", "UTC").await, weir.project("q", "UTC").await);
    let id_of = async |name| projects::by_name(&weir.pool, name).await.unwrap().unwrap().id;
    let (project_id, other) = (id_of(&p.name).await, id_of(&q.name).await);
    let event_ids = [1, 2, 3].map(Uuid::from_u128);
    for (event_id, copies) in event_ids.into_iter().zip([
        // The one that knows of another is stored first.
        [Copies::Beside, Copies::None],
        [Copies::None, Copies::Before],
        [Copies::Unknown, Copies::None],
    ]) {
        for copy in copies.into_iter().enumerate() {
            publish(&weir, project_id, event_id, copy).await;
            weir.wait_until_drained().await;
        }
    }
    // Another project's event with the same id is another event.
    publish(&weir, other, event_ids[0], (0, Copies::Before)).await;
    weir.wait_until_drained().await;
    weir.wait_for_events(4).await;
    weir.stop().await;
}
