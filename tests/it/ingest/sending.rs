//! `POST /events` and what follows from it.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Weir, eventually, json as json_of};

#[tokio::test]
async fn a_batch_is_judged_event_by_event() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let batch = json!({"events": [
        {"event_id": "a", "user_id": "u", "event_type": "view", "occurred_at": "2024-05-01T00:00:00Z"},
        {"event_id": "a", "user_id": "u", "event_type": "view", "occurred_at": "2024-05-01T00:00:00Z"},
        {"event_id": "b", "event": "view", "user_id": ""},
        {"event_id": "c", "event_name": "tick", "metadata": {"n": 1}, "timestamp": "2024-05-01T00:00:01Z"},
        {"event": "view", "colour": "red"},
    ]});
    let (status, answer) = weir.send(&project, &batch).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(2), &json!(1)), "{answer}");
    let rejected = answer["rejected"].as_array().unwrap();
    let facts: Vec<_> = rejected.iter().map(|one| (&one["index"], &one["field"], &one["code"])).collect();
    assert_eq!(
        facts,
        [
            (&json!(2), &json!("user_id"), &json!("empty")),
            (&json!(4), &json!("colour"), &json!("unknown_field"))
        ]
    );
    assert_eq!(rejected[0]["event_id"], "b");

    weir.wait_for_events(2).await;
    let (status, answer) = weir.send(&project, &batch).await;
    assert_eq!((status.as_u16(), &answer["duplicates"]), (200, &json!(3)), "{answer}");
    weir.wait_for_events(2).await;
    // An event of no user counts among events, not among users.
    let top = weir.ask(&project, "/stats/top-events?from=2024-05-01&to=2024-05-01").await;
    let expected = json!([
        {"event_type": "tick", "events": 1, "users": 0},
        {"event_type": "view", "events": 1, "users": 1},
    ]);
    assert_eq!(top["data"], expected);
    weir.stop().await;
}

#[tokio::test]
async fn one_event_is_answered_with_its_id() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let event = json!({"event_id": "order-17", "event_type": "buy", "user_id": "u"});
    let (status, answer) = weir.send(&project, &event).await;
    assert_eq!((status.as_u16(), answer), (202, json!({"status": "accepted", "event_id": "order-17"})));
    let (status, answer) = weir.send(&project, &event).await;
    assert_eq!((status.as_u16(), answer), (200, json!({"status": "duplicate", "event_id": "order-17"})));
    let (status, answer) = weir.send(&project, &json!({"event_type": "buy"})).await;
    assert_eq!((status.as_u16(), &answer["status"]), (202, &json!("accepted")));
    assert!(Uuid::parse_str(answer["event_id"].as_str().unwrap()).is_ok(), "weir gives an id: {answer}");
    let (status, answer) = weir.send(&project, &json!({"user_id": "u"})).await;
    assert_eq!((status.as_u16(), &answer["code"]), (400, &json!("validation_failed")));
    assert_eq!(answer["errors"][0]["field"], "event_type");
    weir.stop().await;
}

#[tokio::test]
async fn a_request_with_an_idempotency_key_can_be_sent_again() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let event = json!({"event_name": "login", "properties": {"source": "web"}});
    let send = async |key: &'static str, body: &Value| {
        json_of(weir.post(&project, body).header("Idempotency-Key", key).send().await.unwrap()).await
    };
    let (status, first) = send("example1", &event).await;
    assert_eq!((status.as_u16(), &first["status"]), (202, &json!("accepted")));
    let (status, replay) = send("example1", &event).await;
    assert_eq!((status.as_u16(), &replay["status"]), (200, &json!("duplicate")));
    assert_eq!(first["event_id"], replay["event_id"]);
    assert_eq!(send("example2", &event).await.0, 202);

    let batch = json!([event, event, event]);
    let (status, answer) = send("batch", &batch).await;
    assert_eq!((status.as_u16(), &answer["accepted"]), (202, &json!(3)), "its events are three: {answer}");
    assert_eq!(send("batch", &batch).await.1["duplicates"], 3);
    let (status, problem) = send("", &event).await;
    assert_eq!(
        (status.as_u16(), &problem["errors"][0]["field"]),
        (400, &json!("Idempotency-Key")),
        "{problem}"
    );
    weir.wait_for_events(5).await;
    weir.stop().await;
}

#[tokio::test]
async fn another_body_under_an_idempotency_key_is_refused_and_never_taken_for_the_first() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let send = async |weir: &Weir, key: &'static str, body: &Value| {
        json_of(weir.post(&project, body).header("Idempotency-Key", key).send().await.unwrap()).await
    };
    let (one, other) = (
        json!([{"event_type": "a"}, {"event_type": "a"}]),
        json!([{"event_type": "a"}, {"event_type": "b"}]),
    );
    assert_eq!(send(&weir, "k", &one).await.0, 202);
    let (status, problem) = send(&weir, "k", &other).await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("idempotency_key_reused")), "{problem}");
    let (_, quoted) = send(&weir, "\"k\"", &one).await;
    assert_eq!(quoted["duplicates"], 2, "{quoted}");
    // What was never durable does not hold the key.
    assert_eq!(send(&weir, "l", &json!([{"event_type": ""}])).await.0, 400);
    assert_eq!(send(&weir, "l", &json!([{"event_type": "c"}])).await.0, 202);
    // Ids of one's own need no key.
    for event_id in ["own-1", "own-2"] {
        assert_eq!(send(&weir, "m", &json!([{"event_id": event_id, "event_type": "d"}])).await.0, 202);
    }
    weir.wait_for_events(5).await;

    // Nobody remembers the first body: the other one is another request, and loses nothing.
    weir.api.kill().await;
    weir.set("REDIS_URL", "redis://127.0.0.1:1");
    weir.start_api().await;
    assert_eq!(send(&weir, "k", &other).await.0, 202);
    assert_eq!(send(&weir, "k", &one).await.1["duplicates"], 2, "the stream knows these");
    weir.wait_until_drained().await;
    weir.wait_for_events(6).await;
    weir.stop().await;
}

#[tokio::test]
async fn bodies_that_cannot_be_taken_say_why() {
    let weir = Weir::start_with(&[("WEIR_MAX_EVENTS", "3"), ("WEIR_MAX_BODY", "1KiB")]).await;
    let project = weir.project("p", "UTC").await;
    let post = |content_type: &'static str, body: String| {
        let request = weir.http.post(weir.url("/events")).header("Content-Type", content_type);
        request.header("Authorization", format!("Bearer {}", project.write)).body(body)
    };
    for (content_type, body, status, code) in [
        ("application/json", "{\"events\":[{]}".into(), 400, "invalid_json"),
        ("application/json", "{\"events\":[]}".into(), 400, "empty_batch"),
        ("application/json", "[{},{},{},{}]".into(), 413, "too_many_events"),
        ("application/json", format!("[\"{}\"]", "x".repeat(2_000)), 413, "body_too_large"),
        ("application/xml", "<event/>".into(), 415, "unsupported_media_type"),
    ] {
        let response = post(content_type, body).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let (found, problem) = json_of(response).await;
        assert_eq!((found.as_u16(), &problem["code"]), (status, &json!(code)), "{problem}");
        assert_eq!(problem["request_id"], *request_id);
    }
    let beacon =
        post("text/plain;charset=UTF-8", json!({"event": "leave"}).to_string()).send().await.unwrap();
    assert_eq!(beacon.status(), 202, "sendBeacon sends text/plain");
    weir.stop().await;
}

#[tokio::test]
async fn a_project_that_sends_too_much_is_told_when_to_send_again() {
    // A thousandth of the bucket comes back in a second: nothing that this test could notice.
    let weir = Weir::start_with(&[("WEIR_RATE_LIMIT", "1"), ("WEIR_RATE_BURST", "1000")]).await;
    let (one, two) = (weir.project("one", "UTC").await, weir.project("two", "UTC").await);
    let batch = |events: usize| json!(vec![json!({"event_type": "e"}); events]);
    let response = weir.post(&one, &batch(600)).send().await.unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(response.headers()["ratelimit-policy"], "\"events\";q=1000;w=1000");
    assert!(response.headers()["ratelimit"].to_str().unwrap().starts_with("\"events\";r=40"), "{response:?}");

    let response = weir.post(&one, &batch(600)).send().await.unwrap();
    let retry_after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((100..=201).contains(&retry_after), "200 events are missing, one comes a second: {retry_after}");
    assert!(response.headers().contains_key("ratelimit"));
    let (status, problem) = json_of(response).await;
    assert_eq!((status.as_u16(), &problem["code"]), (429, &json!("rate_limited")), "{problem}");
    let (status, problem) = weir.send(&one, &batch(1_001)).await;
    assert_eq!((status.as_u16(), &problem["code"]), (413, &json!("batch_exceeds_burst")), "{problem}");

    assert_eq!(weir.send(&two, &batch(600)).await.0, 202, "another project has a bucket of its own");
    weir.wait_for_events(1_200).await;
    assert!((weir.metric(&weir.api, "rate_limit_exceeded_total").await - 1.0).abs() < 0.5);
    // 600 over the rate and 1,001 over the burst: what was received is ingested or has a reason.
    let counted = [
        ("events_received_total", 2_801.0),
        ("events_ingested_total", 1_200.0),
        ("events_rejected_total", 1_601.0),
    ];
    for (metric, value) in counted {
        assert!((weir.metric(&weir.api, metric).await - value).abs() < 0.5, "{metric} is not {value}");
    }
    weir.stop().await;
}

#[tokio::test]
async fn a_users_events_come_in_pages_newest_first() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    // Two of them at the same instant.
    let event = |n: u32| {
        let second = n / 2;
        json!({"event_id": Uuid::from_u128(n.into()), "user_id": "anna", "event_type": "e",
               "occurred_at": format!("2024-05-01T00:00:{second:02}Z"), "properties": {"n": n}})
    };
    let events: Vec<Value> = (0..25).map(event).collect();
    assert_eq!(weir.send(&project, &json!(events)).await.0, 202);
    weir.wait_for_events(25).await;

    let mut seen = Vec::new();
    let mut path = "/events?user_id=anna&limit=10".to_owned();
    loop {
        let page = weir.ask(&project, &path).await;
        let events = page["events"].as_array().unwrap();
        assert_eq!(page["count"], events.len());
        seen.extend(events.iter().map(|event| event["properties"]["n"].as_u64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/events?user_id=anna&limit=10&cursor={next}");
    }
    assert_eq!(seen, (0..25).rev().collect::<Vec<u64>>());
    let nobody = weir.ask(&project, "/events?user_id=nobody").await;
    assert_eq!(nobody, json!({"events": [], "count": 0, "next": null}));
    weir.stop().await;
}

#[tokio::test]
async fn a_request_id_goes_all_the_way_to_the_workers_log() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let event = json!({"event_type": "e"});
    let response = weir.post(&project, &event).header("X-Request-Id", "my-request-17").send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "my-request-17");
    let stored = || async { weir.worker.log().into_iter().find(|line| line["message"] == "stored") };
    let line = eventually("a line of the worker", stored, Option::is_some).await.unwrap();
    assert_eq!((&line["request_id"], &line["events"]), (&json!("my-request-17"), &json!(1)));
    let logged = weir.api.log().into_iter().find(|line| line["span"]["request_id"] == "my-request-17");
    assert_eq!(logged.unwrap()["status"], 202);

    let response = weir.post(&project, &event).header("X-Request-Id", "x".repeat(129)).send().await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap();
    assert!(Uuid::parse_str(id).is_ok(), "an id that is too long is replaced, got {id}");
    weir.stop().await;
}
