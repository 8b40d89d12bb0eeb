//! Amplitude's SDKs: for Python, Node.js and browsers, as they were captured.

use std::io::Write;

use serde_json::{Value, json};

use super::{EVENTS, post, preflight};
use crate::support::{Project, Weir, eventually, json as json_of};

const JSON: &str = "application/json";

fn event(id: &str, more: &Value) -> Value {
    let mut event = json!({
        "user_id": "user-42", "device_id": "a7c9e1f2-0d34", "time": chrono::Utc::now().timestamp_millis(),
        "insert_id": id, "event_type": "Order Completed", "event_properties": {"product": "Café crème"},
        "event_id": 3, "library": "amplitude-node-ts/1.5.73", "ip": "$remote"});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

fn body(project: &Project, events: &Value) -> String {
    let uploaded = chrono::Utc::now().to_rfc3339();
    json!({"api_key": project.write, "events": events, "options": {}, "client_upload_time": uploaded})
        .to_string()
}

async fn stored(weir: &Weir, events: i64) {
    weir.wait_until_drained().await;
    eventually("events are stored", || weir.number(EVENTS), |stored| *stored >= events).await;
    assert_eq!(weir.number(EVENTS).await, events);
}

#[tokio::test]
async fn what_sdks_send_is_an_event_once() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let identify = json!({"event_type": "$identify", "user_properties": {"$set": {"plan": "pro"}}});
    let group = json!({"event_type": "$groupidentify", "groups": {"company": "c7"}});
    let other_device = json!({"device_id": "another-device"});
    let events = json!([
        event("1", &json!({"session_id": 1_795_648_287_357_u64, "groups": {"company": "c7"}})),
        event("2", &identify),
        event("3", &group),
        event("1", &other_device)
    ]);
    let sent = body(&project, &events);
    for path in ["/2/httpapi", "/in/amplitude/2/httpapi", "/in/amplitude/batch"] {
        let (status, answer) = post(&weir, path, JSON, sent.clone()).await;
        assert_eq!(
            (status, &answer["code"], &answer["events_ingested"]),
            (200, &json!(200), &json!(4)),
            "{answer}"
        );
        assert_eq!(answer["payload_size_bytes"], sent.len());
        assert!(answer["server_upload_time"].is_u64());
    }

    let sent = body(&project, &json!([event("4", &json!({"device_id": null}))]));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(sent.as_bytes()).unwrap();
    let request = weir.http.post(weir.url("/in/amplitude/2/httpapi")).header("Content-Encoding", "gzip");
    let (status, answer) = json_of(request.body(encoder.finish().unwrap()).send().await.unwrap()).await;
    assert_eq!((status.as_u16(), &answer["code"]), (200, &json!(200)), "{answer}");

    let form = format!(
        "api_key={}&identification=%5B%7B%22user_id%22%3A%22user-42%22%2C%22user_properties%22%3A%7B%22a%22%3A1%7D%7D%5D",
        project.write
    );
    let (status, answer) =
        post(&weir, "/in/amplitude/identify", "application/x-www-form-urlencoded", form).await;
    assert_eq!((status, &answer["code"]), (200, &json!(200)), "{answer}");

    stored(&weir, 3).await;
    let timeline = weir.ask(&project, "/events?user_id=user-42").await;
    let first = timeline["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|event| !event["properties"]["session_id"].is_null());
    let expected = json!({"library": "amplitude-node-ts/1.5.73", "session_id": 1_795_648_287_357_u64,
        "groups": {"company": "c7"}, "product": "Café crème"});
    assert_eq!(first.unwrap()["properties"], expected);
    weir.stop().await;
}

#[tokio::test]
async fn one_event_that_is_not_valid_keeps_all_others_out() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let good = event("1", &json!({}));
    let events = json!([
        good,
        event("2", &json!({"time": "2026-01-01T00:00:00Z"})),
        event("3", &json!({"user_id": "42"})),
        event("4", &json!({"event_type": null})),
        event("5", &json!({"time": 1}))
    ]);
    let (status, mut answer) = post(&weir, "/in/amplitude/2/httpapi", JSON, body(&project, &events)).await;
    assert!(answer["error"].take().is_string());
    let expected = json!({
        "code": 400, "error": null, "events_with_invalid_fields": {"time": [1, 4]},
        "events_with_invalid_id_lengths": {"user_id": [2]}, "events_with_missing_fields": {"event_type": [3]}});
    assert_eq!((status, answer), (400, expected));
    assert!(weir.metric(&weir.api, "events_ingested_total").await < 0.5);

    // The others come again at once.
    let (status, answer) = post(&weir, "/in/amplitude/2/httpapi", JSON, body(&project, &json!([good]))).await;
    assert_eq!((status, &answer["events_ingested"]), (200, &json!(1)), "{answer}");
    stored(&weir, 1).await;
    weir.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_said_as_sdks_read_it() {
    let limits = [
        ("WEIR_MAX_BODY", "4KiB"),
        ("WEIR_MAX_EVENTS", "3"),
        ("WEIR_RATE_LIMIT", "1"),
        ("WEIR_RATE_BURST", "3"),
    ];
    let weir = Weir::start_with(&limits).await;
    let project = weir.project("p", "UTC").await;
    let unknown = json!({"api_key": "weir_wk_unknown", "events": [event("1", &json!({}))]}).to_string();
    let many = body(&project, &json!([7, 7, 7, 7]));
    let large =
        body(&project, &json!([event("1", &json!({"event_properties": {"long": "x".repeat(5_000)}}))]));
    for (sent, status, begin) in [
        (unknown, 400, "Invalid API key"),
        (r#"{"events":[]}"#.to_owned(), 400, "Invalid API key"),
        (large, 413, "Payload too large"),
        (many, 413, "Payload too large"),
    ] {
        let (answered, answer) = post(&weir, "/in/amplitude/2/httpapi", JSON, sent).await;
        assert_eq!((answered, &answer["code"]), (status, &json!(status)), "{answer}");
        assert!(answer["error"].as_str().unwrap().starts_with(begin), "{answer}");
    }
    let (status, answer) = post(&weir, "/in/amplitude/2/httpapi", JSON, body(&project, &json!([]))).await;
    assert_eq!((status, &answer["missing_field"]), (400, &json!("events")), "{answer}");

    let three =
        body(&project, &json!([event("1", &json!({})), event("2", &json!({})), event("3", &json!({}))]));
    let send = || post(&weir, "/in/amplitude/2/httpapi", JSON, three.clone());
    let (_, answer) = eventually("the rate is used up", send, |(status, _)| *status == 429).await;
    assert_eq!((&answer["code"], &answer["eps_threshold"]), (&json!(429), &json!(1)), "{answer}");
    assert_eq!(answer["throttled_events"][2], 2);

    let headers = preflight(&weir, "/2/httpapi").await;
    assert_eq!(headers["access-control-allow-origin"], "https://shop.example");
    assert_eq!(headers["access-control-allow-headers"], "content-encoding,content-type");
    weir.stop().await;
}
