//! Mixpanel's SDKs: for Python, Node.js and browsers, as they were captured.

use std::io::Write;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{EVENTS, post, preflight};
use crate::support::{Project, Weir, eventually, json as json_of};

const FORM: &str = "application/x-www-form-urlencoded";

fn now() -> f64 {
    f64::from(u32::try_from(chrono::Utc::now().timestamp()).unwrap())
}

/// As the SDK for Python writes it.
fn form(body: &Value) -> String {
    let data: String = form_urlencoded::byte_serialize(body.to_string().as_bytes()).collect();
    format!("data={data}&verbose=1&ip=0")
}

fn event(project: &Project, id: &str, more: &Value) -> Value {
    let mut event = json!({"event": "Order Completed", "properties": {
        "token": project.write, "distinct_id": "user-42", "time": now() - 0.25, "$insert_id": id,
        "mp_lib": "python", "$lib_version": "5.4.1", "product": "Café crème", "tags": ["a", "b"]}});
    event["properties"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
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
    let done = (200, json!({"status": 1, "error": null}));

    let python = form(&event(&project, "55614dbf827b498ab2ad11f83dd52400", &json!({})));
    for _ in 0..2 {
        assert_eq!(post(&weir, "/in/mixpanel/track", FORM, python.clone()).await, done);
    }

    let node = event(&project, "n1", &json!({"time": now() * 1e3, "quantity": 4, "odd": "~~~???>>>"}));
    let data = BASE64_STANDARD.encode(node.to_string());
    let query = [("ip", "0"), ("verbose", "0"), ("data", &data)];
    let answer = weir.http.get(weir.url("/in/mixpanel/track")).query(&query).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "1"));

    // It escapes nothing of it.
    let nodes = json!([node, event(&project, "n2", &json!({"odd": "~~~???>>>"}))]);
    let data = BASE64_STANDARD.encode(nodes.to_string());
    assert!(data.contains('+'), "{data}");
    let answer = post(&weir, "/in/mixpanel/track?ip=0&verbose=0", FORM, format!("data={data}")).await;
    assert_eq!(answer, (200, json!(1)));

    let browser = json!([event(&project, "b1", &json!({"distinct_id": "$device:d", "$device_id": "d"}))]);
    let data: String =
        form_urlencoded::byte_serialize(BASE64_STANDARD.encode(browser.to_string()).as_bytes()).collect();
    for content_type in [FORM, "text/plain;charset=UTF-8"] {
        let path = "/in/mixpanel/track/?verbose=1&ip=1&_=1795648276196";
        assert_eq!(post(&weir, path, content_type, format!("data={data}")).await, done);
    }

    stored(&weir, 4).await;
    let timeline = weir.ask(&project, "/events?user_id=user-42").await;
    assert_eq!(timeline["count"], 3);
    let properties = &timeline["events"][0]["properties"];
    assert_eq!((&properties["product"], &properties["token"]), (&json!("Café crème"), &Value::Null));
    let visitor = weir.ask(&project, "/events?user_id=$device:d").await;
    assert_eq!(visitor["count"], 1);
    weir.stop().await;
}

#[tokio::test]
async fn users_are_described_without_events() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let token = &project.write;
    let identify = json!({"event": "$identify", "properties": {
        "token": token, "distinct_id": "user-42", "$identified_id": "user-42", "$anon_id": "anon-1"}});
    let alias = json!({"event": "$create_alias", "properties": {
        "token": token, "distinct_id": "user-42", "alias": "b1d5f3e8"}});
    let set = json!([{"$token": token, "$distinct_id": "user-42", "$set": {"plan": "pro"}},
                     {"$token": token, "$distinct_id": "user-42", "$set_once": {"utm": "n", "none": null}},
                     {"$token": token, "$distinct_id": "user-42", "$add": {"logins": 1}}]);
    let group = json!({"$token": token, "$group_key": "company", "$group_id": "c7", "$set": {"plan": "pro"}});
    for (path, body) in [("track", &identify), ("track", &alias), ("engage", &set), ("groups", &group)] {
        let answer = post(&weir, &format!("/in/mixpanel/{path}"), FORM, form(body)).await;
        assert_eq!(answer, (200, json!({"status": 1, "error": null})), "{path}");
    }
    stored(&weir, 0).await;
    assert!((weir.metric(&weir.api, "events_ingested_total").await - 4.0).abs() < 0.5);
    let not_kept = weir.metric(&weir.api, "events_rejected_total").await;
    assert!((not_kept - 2.0).abs() < 0.5, "{not_kept}");

    let nobody = json!({"$token": token, "$distinct_id": "undefined", "$set": {"plan": "pro"}});
    let (status, answer) = post(&weir, "/in/mixpanel/engage", FORM, form(&nobody)).await;
    assert_eq!((status, &answer["status"]), (400, &json!(0)), "{answer}");
    weir.stop().await;
}

#[tokio::test]
async fn imports_say_which_events_have_failed() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let import = async |query: &str, content_type: &str, body: &[u8]| {
        let request = weir.http.post(weir.url(&format!("/in/mixpanel/import{query}")));
        let request = request.basic_auth(&project.write, Some("")).header("Content-Type", content_type);
        let encoding = if body.starts_with(b"\x1f\x8b") { "gzip" } else { "identity" };
        let request = request.header("Content-Encoding", encoding).body(body.to_vec());
        let (status, answer) = json_of(request.send().await.unwrap()).await;
        (status.as_u16(), answer)
    };
    let good = event(&project, "1", &json!({}));
    let late = event(&project, "2", &json!({"time": "yesterday"}));
    let nameless = json!({"properties": {"$insert_id": "3", "distinct_id": "user-42"}});
    let list = json!([good, late, nameless, 7]).to_string();

    let (status, answer) = import("?strict=1", "application/json", list.as_bytes()).await;
    assert_eq!((status, &answer["code"], &answer["status"]), (400, &json!(400), &json!("Bad Request")));
    assert_eq!(answer["num_records_imported"], 1, "{answer}");
    let failed: Vec<_> = answer["failed_records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["index"].as_u64().unwrap(), one["$insert_id"].as_str(), one["field"].as_str()))
        .collect();
    assert_eq!(failed, [(1, Some("2"), Some("time")), (2, Some("3"), Some("event")), (3, None, None)]);

    let (status, answer) = import("?strict=0", "application/json", list.as_bytes()).await;
    assert_eq!((status, &answer["num_records_imported"]), (200, &json!(1)), "{answer}");

    let lines = format!("{}\n{}\n", good, event(&project, "4", &json!({})));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(lines.as_bytes()).unwrap();
    let answer = import("?strict=1", "application/x-ndjson", &encoder.finish().unwrap()).await;
    assert_eq!(answer, (200, json!({"code": 200, "status": "OK", "num_records_imported": 2})));

    // SDKs send a form here, too.
    let python = form(&event(&project, "5", &json!({})));
    let answer = import("", FORM, python.as_bytes()).await;
    assert_eq!(answer, (200, json!({"status": 1, "error": null})));
    let node = format!("data={}", BASE64_STANDARD.encode(json!([good]).to_string()));
    assert_eq!(import("?ip=0&verbose=0", FORM, node.as_bytes()).await, (200, json!(1)));

    let data = BASE64_STANDARD.encode(good.to_string());
    let query = [("ip", "0"), ("verbose", "0"), ("data", &data)];
    let request = weir.http.get(weir.url("/in/mixpanel/import")).query(&query);
    let answer = request.basic_auth(&project.write, Some("")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "1"));

    let (status, answer) = import("?strict=1", "application/json", b"[{]").await;
    assert_eq!((status, &answer["code"]), (400, &json!(400)), "{answer}");
    stored(&weir, 3).await;

    let request = weir.http.post(weir.url("/in/mixpanel/import?strict=1&project_id=1"));
    let request = request.basic_auth("service.account", Some(&project.write)).body(list);
    assert_eq!(request.send().await.unwrap().status(), 400, "the key is known");
    weir.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_said_as_sdks_read_it() {
    let weir = Weir::start_with(&[("WEIR_MAX_BODY", "4KiB"), ("WEIR_MAX_EVENTS", "2")]).await;
    let project = weir.project("p", "UTC").await;
    let nobody = json!({"event": "a", "properties": {"token": "weir_wk_unknown", "distinct_id": "u"}});
    let known = event(&project, "1", &json!({}));
    let large = event(&project, "1", &json!({"long": "x".repeat(5_000)}));
    let many = json!([known, known, known]);
    for (body, status) in [
        (form(&nobody), 401),
        (form(&json!({"event": "a"})), 401),
        (form(&large), 413),
        (form(&many), 413),
        ("data=%7B&verbose=1".into(), 401),
        ("verbose=1".into(), 400),
    ] {
        let (answered, answer) = post(&weir, "/in/mixpanel/track", FORM, body.clone()).await;
        assert_eq!((answered, &answer["status"]), (status, &json!(0)), "{body}: {answer}");
        assert!(answer["error"].is_string(), "{body}: {answer}");
    }
    let answer =
        post(&weir, "/in/mixpanel/track?verbose=0", FORM, form(&nobody).replace("&verbose=1", "")).await;
    assert_eq!(answer, (401, json!(0)));

    let data = BASE64_STANDARD.encode(known.to_string());
    let query = [("img", "1"), ("data", &data)];
    let answer = weir.http.get(weir.url("/in/mixpanel/track")).query(&query).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"image/gif".parse().unwrap())
    );
    assert!(answer.bytes().await.unwrap().starts_with(b"GIF89a"));

    let headers = preflight(&weir, "/in/mixpanel/track/").await;
    assert_eq!(headers["access-control-allow-origin"], "https://shop.example");
    assert_eq!(headers["access-control-allow-credentials"], "true");
    assert_eq!(headers["access-control-allow-headers"], "content-encoding,content-type");
    weir.stop().await;
}
