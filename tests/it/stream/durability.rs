//! What a 202 promises, when a part is away or ends.

use serde_json::{Value, json};

use crate::support::{Process, Project, Weir, json as json_of};

/// An event without a time of its own: each receipt gives it another.
fn untimed(id: &str) -> Value {
    json!({"event_id": id, "event_type": "e", "user_id": "u"})
}

fn batch(range: std::ops::Range<u32>) -> Value {
    json!({"events": range.map(|n| untimed(&format!("event-{n}"))).collect::<Vec<_>>()})
}

#[tokio::test]
async fn without_redis_the_store_removes_duplicates_also_of_events_without_a_time() {
    // A port where nothing listens.
    let weir = Weir::start_with(&[("REDIS_URL", "redis://127.0.0.1:1")]).await;
    let project = weir.project("p", "UTC").await;
    // Batches that overlap are different messages to the stream: only the store can tell.
    for range in [0..50, 0..49, 1..50, 25..75] {
        let (status, answer) = weir.send(&project, &batch(range)).await;
        assert_eq!(status, 202, "{answer}");
    }
    weir.wait_until_drained().await;
    weir.wait_for_events(75).await;

    let ready = weir.http.get(weir.url("/ready")).send().await.unwrap();
    let (status, answer) = json_of(ready).await;
    assert_eq!(
        (status.as_u16(), &answer["status"], &answer["checks"]["redis"]),
        (200, &json!("degraded"), &json!("down"))
    );
    let warnings =
        weir.api.log().into_iter().filter(|line| line["message"].as_str().unwrap().contains("Redis")).count();
    assert_eq!(warnings, 1, "the log says once that Redis is away");
    weir.stop().await;
}

#[tokio::test]
async fn a_full_stream_is_reported_and_nothing_is_marked_as_seen() {
    let mut weir = Weir::start_with(&[("WEIR_STREAM_MAX_BYTES", "64KiB")]).await;
    let project = weir.project("p", "UTC").await;
    weir.worker.kill().await;
    let mut sent = 0;
    let response = loop {
        let response = weir.post(&project, &batch(sent..sent + 100)).send().await.unwrap();
        if response.status() != 202 {
            break response;
        }
        sent += 100;
    };
    assert!(response.headers().contains_key("retry-after"));
    let (status, problem) = json_of(response).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("stream_unavailable")), "{problem}");
    let logged =
        |line: &Value| line["error"].as_str().is_some_and(|error| error.contains("the stream is full"));
    assert!(weir.api.log().iter().any(logged), "the log says why");

    weir.start_worker().await;
    weir.wait_for_events(sent.into()).await;
    let (status, answer) = weir.send(&project, &batch(sent..sent + 100)).await;
    assert_eq!(
        (status.as_u16(), &answer["accepted"]),
        (202, &json!(100)),
        "what was refused is taken: {answer}"
    );
    weir.wait_for_events(i64::from(sent) + 100).await;
    weir.stop().await;
}

/// Sends batches until a connection fails; the number of events that were answered with 202.
async fn send_until_it_ends(weir: &Weir, project: &Project, lane: u32) -> u32 {
    let mut accepted = 0;
    for n in 0.. {
        let begin = lane * 1_000_000 + n * 10;
        let Ok(response) = weir.post(project, &batch(begin..begin + 10)).send().await else { break };
        if response.status() != 202 {
            break;
        }
        let (_, answer) = json_of(response).await;
        accepted += u32::try_from(answer["accepted"].as_u64().unwrap()).unwrap();
    }
    accepted
}

#[tokio::test]
async fn on_sigterm_what_was_accepted_is_stored() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let stored = || weir.counts();
    let sending = async {
        tokio::join!(send_until_it_ends(&weir, &project, 1), send_until_it_ends(&weir, &project, 2))
    };
    let ending = async {
        crate::support::eventually("load", stored, |counts| counts.0 > 50).await;
        weir.api.signal_termination().await;
        weir.worker.signal_termination().await;
    };
    let ((one, two), ()) = tokio::join!(sending, ending);
    assert!(weir.api.ended().await.success(), "the API ends in order");
    assert!(weir.worker.ended().await.success(), "the worker ends in order");

    weir.start_api().await;
    weir.start_worker().await;
    weir.wait_for_events((one + two).into()).await;
    weir.stop().await;
}

#[tokio::test]
async fn signs_of_life_are_there_before_the_servers_are() {
    let variables = [
        ("DATABASE_URL", "postgres://weir@127.0.0.1:1/weir"),
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("NATS_URL", "nats://127.0.0.1:1"),
        ("WEIR_DATABASE_TIMEOUT", "100ms"),
        ("WEIR_HTTP_ADDR", "127.0.0.1:0"),
        ("WEIR_WORKER_HTTP_ADDR", "127.0.0.1:0"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let http = reqwest::Client::new();
    for (program, arguments) in [("weir", &["serve"][..]), ("weir-worker", &[])] {
        let mut process = Process::start(program, arguments, &variables).await;
        let url = |path: &str| format!("http://{}{path}", process.address);
        assert_eq!(http.get(url("/health")).send().await.unwrap().status(), 200, "{program}");
        assert_eq!(http.get(url("/ready")).send().await.unwrap().status(), 503, "{program}");
        if program == "weir" {
            let post = http.post(url("/events")).header("X-API-Key", "weir_wk_x").json(&untimed("1"));
            let (status, problem) = json_of(post.send().await.unwrap()).await;
            assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("store_unavailable")), "{problem}");
        }
        process.signal_termination().await;
        assert!(process.ended().await.success(), "{program} ends in order also then");
    }
}

#[tokio::test]
async fn signals_that_are_not_meant_for_weir_do_not_kill_it() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    for signal in ["USR1", "USR2"] {
        weir.api.signal(signal).await;
        weir.worker.signal(signal).await;
    }
    assert_eq!(weir.send(&project, &json!({"event_type": "e"})).await.0, 202);
    weir.wait_for_events(1).await;
    weir.api.signal("HUP").await;
    weir.worker.signal("HUP").await;
    assert!(weir.api.ended().await.success(), "the API ends in order when its terminal goes");
    assert!(weir.worker.ended().await.success(), "so does the worker");
    weir.stop().await;
}
