//! Parts that are away, silent or gone, and what that costs a request.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::support::{Way, Weir, eventually, server};

fn events(range: std::ops::Range<u32>) -> serde_json::Value {
    range.map(|n| json!({"event_id": format!("event-{n}"), "event_type": "e"})).collect()
}

#[tokio::test]
async fn a_silent_redis_is_not_asked_again_by_requests_and_is_used_when_it_is_back() {
    let redis = server("REDIS_URL");
    let way = Way::to(redis.trim_start_matches("redis://")).await;
    let url = format!("redis://{}", way.address);
    // So long that only silence exceeds it.
    let weir = Weir::start_with(&[("REDIS_URL", &url), ("WEIR_REDIS_TIMEOUT", "2s")]).await;
    let project = weir.project("p", "UTC").await;
    assert_eq!(weir.send(&project, &events(0..10)).await.0, 202);
    assert_eq!(weir.send(&project, &events(0..10)).await.0, 200, "the filter knows them");

    way.gate.silent.store(true, Ordering::SeqCst);
    assert_eq!(weir.send(&project, &events(10..20)).await.0, 202, "after one timeout");
    let before = way.gate.swallowed.load(Ordering::SeqCst);
    for n in 2..202 {
        assert_eq!(weir.send(&project, &events(n * 10..n * 10 + 10)).await.0, 202);
    }
    let asked = way.gate.swallowed.load(Ordering::SeqCst) - before;
    // Two for each request, if they asked. What is left are probes, each over a new connection, at most one in two seconds.
    assert!(asked < 100, "{asked} pieces were sent to a Redis that does not answer");
    let warnings = |word| {
        weir.api.log().into_iter().filter(|line| line["message"].as_str().unwrap().contains(word)).count()
    };
    assert_eq!(warnings("Redis does not answer"), 1);

    way.gate.silent.store(false, Ordering::SeqCst);
    eventually(
        "Redis is used again",
        async || warnings("Redis takes marks again"),
        |warnings| *warnings == 1,
    )
    .await;
    assert_eq!(weir.send(&project, &events(9_000..9_010)).await.0, 202);
    assert_eq!(weir.send(&project, &events(9_000..9_010)).await.0, 200);
    let filtered = r#"events_duplicate_total{caught_by="redis"}"#;
    let text = weir.http.get(weir.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(text.contains(&format!("{filtered} 20")), "{text}");
    weir.wait_for_events(2_030).await;
    weir.stop().await;
}

#[tokio::test]
async fn a_silent_stream_refuses_at_once_and_is_used_when_it_is_back() {
    let nats = server("NATS_URL");
    let way = Way::to(nats.trim_start_matches("nats://")).await;
    let url = format!("nats://{}", way.address);
    let mut weir = Weir::start_with(&[("WEIR_PUBLISH_TIMEOUT", "2s")]).await;
    let project = weir.project("p", "UTC").await;
    weir.api.kill().await;
    weir.set("NATS_URL", &url);
    weir.start_api().await;
    assert_eq!(weir.send(&project, &events(0..10)).await.0, 202);

    way.gate.silent.store(true, Ordering::SeqCst);
    let answer = weir.post(&project, &events(10..20)).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let before = way.gate.swallowed.load(Ordering::SeqCst);
    // All at once: one of them tries, the others are refused without trying.
    let sending = (2..42).map(|n| {
        let request = weir.post(&project, &events(n * 10..n * 10 + 10)).send();
        async { request.await.unwrap().status() }
    });
    for status in futures::future::join_all(sending).await {
        assert_eq!(status, 503);
    }
    let tried = way.gate.swallowed.load(Ordering::SeqCst) - before;
    assert!(tried < 20, "{tried} pieces were sent to a stream that does not answer");
    let refused = r#"publish_failures_total{reason="silent"}"#;
    let text = weir.http.get(weir.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(text.contains(refused), "{text}");

    way.gate.silent.store(false, Ordering::SeqCst);
    let taken = || async { weir.send(&project, &events(0..420)).await.0.as_u16() };
    eventually("the same events are taken", taken, |status| [200, 202].contains(status)).await;
    weir.wait_for_events(420).await;
    weir.stop().await;
}

#[tokio::test]
async fn a_stream_that_was_deleted_is_created_again() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    assert_eq!(weir.send(&project, &events(0..10)).await.0, 202);
    weir.wait_for_events(10).await;
    let nats = async_nats::connect(server("NATS_URL")).await.unwrap();
    async_nats::jetstream::new(nats).delete_stream(format!("{}-events", weir.namespace())).await.unwrap();

    let taken = || async { weir.send(&project, &events(10..20)).await.0.as_u16() };
    eventually("the events are taken", taken, |status| *status == 202).await;
    weir.wait_for_events(20).await;
    weir.stop().await;
}

#[tokio::test]
async fn a_question_that_is_lost_with_its_connection_holds_up_nobody() {
    let mut weir = Weir::start_with(&[("WEIR_WRITERS", "1")]).await;
    let project = weir.project("p", "UTC").await;
    weir.worker.kill().await;
    let way = Way::to(server("NATS_URL").trim_start_matches("nats://")).await;
    *way.gate.cut.lock().unwrap() = Some("no_wait"); // what else there is, when there is a permit to write it
    weir.set("NATS_URL", &format!("nats://{}", way.address));
    weir.start_worker().await;
    for n in 0..4 {
        assert_eq!(weir.send(&project, &events(n * 10..n * 10 + 10)).await.0, 202);
    }
    weir.wait_for_events(40).await;
    assert_eq!(*way.gate.cut.lock().unwrap(), None, "it was lost");
    weir.stop().await;
}

/// The server's own time of creation changes with the settings.
#[tokio::test]
async fn a_stream_stays_the_one_that_it_was_when_its_settings_change() {
    let mut weir = Weir::start().await;
    let nats = async_nats::connect(server("NATS_URL")).await.unwrap();
    let jetstream = async_nats::jetstream::new(nats);
    let name = format!("{}-events", weir.namespace());
    let identity = || async {
        let stream = jetstream.get_stream(&name).await.unwrap();
        let config = &stream.cached_info().config;
        (config.metadata["weir.created"].clone(), config.max_bytes)
    };
    let (before, _) = identity().await;
    weir.api.kill().await;
    weir.set("WEIR_STREAM_MAX_BYTES", "128MiB");
    weir.start_api().await;
    assert_eq!(identity().await, (before.clone(), 128 << 20));

    jetstream.delete_stream(&name).await.unwrap();
    weir.api.kill().await;
    weir.start_api().await;
    assert_ne!(identity().await.0, before, "a new stream counts from 1 again");
    weir.stop().await;
}
