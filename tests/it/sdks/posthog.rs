//! PostHog's SDKs, as python 7.91, node 5.70 and posthog-js 1.449 send, and as older ones did.

use std::{io::Write, slice, sync::atomic::Ordering};

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Duration, SubsecRound, Utc};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Project, Way, Weir, eventually, json as json_of, server};

const TEXT: &str = "text/plain";
const JSON: &str = "application/json";

async fn post(weir: &Weir, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Response {
    let request = weir.http.post(weir.url(path)).header("Content-Type", content_type);
    request.body(body).send().await.unwrap()
}

/// Status and text.
async fn answer(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

fn ok() -> (u16, String) {
    (200, r#"{"status":"Ok"}"#.to_owned())
}

fn gzip(body: &Value) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body.to_string().as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn event(name: &str) -> Value {
    json!({"event": name, "distinct_id": "user-42", "uuid": Uuid::new_v4(), "properties": {"$lib": "posthog-python"}})
}

fn batch(project: &Project, events: &[Value]) -> Value {
    json!({"api_key": project.write, "batch": events, "sent_at": Utc::now()})
}

/// The properties of the event with this id.
async fn properties(weir: &Weir, event: &Value) -> Value {
    let id: Uuid = event["uuid"].as_str().unwrap().parse().unwrap();
    let query = sqlx::query_scalar("select properties from events where event_id = $1").bind(id);
    query.fetch_one(&weir.pool).await.unwrap()
}

/// When the events of a type happened.
async fn times(weir: &Weir, event_type: &str) -> Vec<DateTime<Utc>> {
    let query = sqlx::query_scalar("select occurred_at from events where event_type = $1 order by 1");
    query.bind(event_type).fetch_all(&weir.pool).await.unwrap()
}

#[tokio::test]
async fn servers_send_batches_and_each_event_is_stored_once() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let mut viewed = event("Product Viewed");
    viewed["properties"]["product"] = "Café crème".into();
    let mut identify = event("$identify");
    identify["properties"] =
        json!({"$anon_distinct_id": "a7c9", "$set": {"plan": "pro"}, "$set_once": {}, "$ip": "192.0.2.1"});
    let mut alias = event("$create_alias");
    alias["properties"] = json!({"distinct_id": "user-42", "alias": "b1d5"});
    let mut group = event("$groupidentify");
    group["distinct_id"] = "$company_7".into();
    group["properties"] = json!({"$group_type": "company", "$group_key": "7", "$group_set": {"plan": "pro"}});
    let events = [viewed, identify, alias, group];
    let body = batch(&project, &events);

    assert_eq!(answer(post(&weir, "/in/posthog/batch/", JSON, body.to_string()).await).await, ok());
    let again = weir.http.post(weir.url("/in/posthog/batch")).header("Content-Encoding", "gzip");
    let again = again.header("Content-Type", JSON).body(gzip(&body)).send().await.unwrap();
    assert!(again.headers().contains_key("ratelimit"));
    assert_eq!(answer(again).await, ok());
    weir.wait_for_events(4).await;

    assert_eq!(properties(&weir, &events[0]).await["product"], "Café crème");
    assert_eq!(properties(&weir, &events[1]).await, json!({"$anon_distinct_id": "a7c9"}));
    assert_eq!(properties(&weir, &events[2]).await, json!({"alias": "b1d5"}));
    let timeline = weir.ask(&project, "/events?user_id=user-42").await;
    let mut types: Vec<&str> = timeline["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event_type"].as_str().unwrap())
        .collect();
    types.sort_unstable();
    assert_eq!(types, ["$create_alias", "$identify", "Product Viewed"], "the group is no user");
    weir.stop().await;
}

#[tokio::test]
async fn browsers_send_gzip_as_text_and_forms_as_beacons() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let page = "https://shop.example";
    let preflight = weir
        .http
        .request(Method::OPTIONS, weir.url("/e/"))
        .header("Origin", page)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type,x-posthog-session-id");
    let response = preflight.send().await.unwrap();
    assert_eq!(response.status(), 204);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("access-control-allow-origin"), page);
    assert_eq!(header("access-control-allow-credentials"), "true");
    assert_eq!(header("access-control-allow-headers"), "content-type,x-posthog-session-id");

    let of_js = |name: &str| {
        json!({"uuid": Uuid::new_v4(), "event": name, "$set_once": {"utm_source": null}, "timestamp": Utc::now(),
               "properties": {"distinct_id": "d", "token": project.write, "$is_identified": false, "$insert_id": name}})
    };
    let pageview = of_js("$pageview");
    let body = batch(&project, slice::from_ref(&pageview));
    let request =
        weir.http.post(weir.url("/e/?retry_count=1")).header("Content-Type", TEXT).header("Origin", page);
    let response = request.body(gzip(&body)).send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], page);
    let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.contains("Retry-After"), "{exposed}");
    assert_eq!(answer(response).await, ok());

    // As posthog-js sends it when the page is left; by weir's prefix and at the root.
    let base64 = |body: &Value| BASE64_STANDARD.encode(body.to_string());
    let encoded = |body: &Value| base64(body).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let form = "application/x-www-form-urlencoded";
    let left = format!("data={}", encoded(&batch(&project, &[of_js("$pageleave")])));
    let path = "/in/posthog/e/?compression=base64&beacon=1";
    assert_eq!(answer(post(&weir, path, form, left).await).await, (204, String::new()));
    let left = format!("data={}", base64(&batch(&project, &[of_js("$pageleave")])));
    assert_eq!(answer(post(&weir, "/i/v0/e/?ip=1&compression=base64", form, left).await).await, ok());
    // A list, and one event, as others did.
    let list = json!([of_js("listed"), of_js("listed")]).to_string();
    assert_eq!(answer(post(&weir, "/capture", JSON, list).await).await, ok());
    let path = format!("/e/?data={}&_=1700000000000", encoded(&of_js("asked")));
    assert_eq!(answer(weir.http.get(weir.url(&path)).send().await.unwrap()).await, ok());
    let engaged = json!({"$distinct_id": "d", "$token": project.write, "$set": {"plan": "pro"}}).to_string();
    assert_eq!(answer(post(&weir, "/in/posthog/engage/", JSON, engaged).await).await, ok());

    weir.wait_for_events(7).await;
    assert_eq!(
        properties(&weir, &pageview).await,
        json!({"$is_identified": false, "$insert_id": "$pageview"})
    );
    assert_eq!(times(&weir, "$identify").await.len(), 1);
    weir.stop().await;
}

#[tokio::test]
async fn a_key_that_is_not_one_projects_own_is_refused() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let other = weir.project("q", "UTC").await;
    let with = |place: &str, key: &str| json!({place: key, "event": "e", "distinct_id": "d"});
    for (body, status) in [
        (json!([with("token", &project.write), with("api_key", &other.write)]), 401),
        (with("token", ""), 401),
        (with("token", "phx_personal"), 401),
        (with("token", "weir_wk_no"), 401),
        (with("nothing", "x"), 401),
        (with("token", &project.read), 403),
        (json!([with("token", &project.write), with("$token", &project.write)]), 200),
    ] {
        let got = answer(post(&weir, "/in/posthog/batch", JSON, body.to_string()).await).await;
        assert_eq!(got.0, status, "{body}: {}", got.1);
        assert!(status == 200 || !got.1.starts_with('{'), "a text: {}", got.1);
    }
    // Here it is a bearer token and nothing else.
    let path = "/in/posthog/i/v1/analytics/events";
    let (status, problem) =
        json_of(post(&weir, path, JSON, batch(&project, &[event("e")]).to_string()).await).await;
    assert_eq!((status.as_u16(), &problem["error"]), (401, &json!("unauthorized")), "{problem}");
    weir.wait_for_events(2).await;
    weir.stop().await;
}

#[tokio::test]
async fn what_is_not_valid_is_left_out_and_what_cannot_be_read_is_refused() {
    let limits = [("WEIR_MAX_EVENTS", "10"), ("WEIR_MAX_BODY", "64KiB"), ("WEIR_MAX_DECOMPRESSED", "128KiB")];
    let weir = Weir::start_with(&limits).await;
    let project = weir.project("p", "UTC").await;
    let of_nobody = json!({"event": "e", "uuid": Uuid::new_v4()});
    let old = json!({"event": "e", "distinct_id": "d", "timestamp": "1999-01-01T00:00:00Z"});
    let body = batch(&project, &[of_nobody.clone(), event("good"), old, json!(17)]).to_string();
    assert_eq!(answer(post(&weir, "/in/posthog/batch", JSON, body).await).await, ok());

    let all_bad = batch(&project, &[of_nobody]).to_string();
    let large = batch(&project, &[json!({"event": "e", "distinct_id": "x".repeat(70_000)})]);
    let bomb = gzip(&batch(&project, &[json!({"event": "e", "distinct_id": "x".repeat(200_000)})]));
    let cut = gzip(&batch(&project, &[event("e")]))[..40].to_vec();
    for (path, body, status, detail) in [
        ("/batch", all_bad.into_bytes(), 400, "distinct_id: the id of the user is required"),
        ("/batch", batch(&project, &[]).to_string().into_bytes(), 400, "no events"),
        ("/batch", batch(&project, &vec![event("e"); 11]).to_string().into_bytes(), 413, "11 events"),
        ("/batch", large.to_string().into_bytes(), 413, "65536 bytes"),
        ("/e", bomb, 413, ""),
        ("/e", cut, 400, ""),
        ("/e", b"{\"token\":".to_vec(), 401, ""),
        ("/e?compression=lz64", b"N4IgpgbglgzgDg".to_vec(), 400, "got lz-string"),
        ("/e", b"data=%%%".to_vec(), 400, "expected JSON, gzip or base64"),
        ("/e", Vec::new(), 400, ""),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        // A connection of its own: weir closes it when it leaves a body unread.
        let request =
            Client::new().post(weir.url(&format!("/in/posthog{path}"))).header("Content-Type", TEXT);
        let got = answer(request.body(body).send().await.unwrap()).await;
        assert_eq!(got.0, status, "{path} {shown}: {}", got.1);
        assert!(got.1.contains(detail), "{path} {shown}: {}", got.1);
    }
    weir.wait_for_events(1).await;
    assert_eq!(times(&weir, "good").await.len(), 1);
    weir.stop().await;
}

#[tokio::test]
async fn clocks_are_corrected_and_the_future_is_now() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let begun = Utc::now().trunc_subsecs(6);
    let slow_by = Duration::days(3);
    let body = json!({"token": project.write, "sent_at": Utc::now() - slow_by, "batch": [
        {"event": "slow", "distinct_id": "d", "timestamp": Utc::now() - slow_by - Duration::hours(1)},
        {"event": "left alone", "distinct_id": "d", "timestamp": "2026-01-01T00:00:00Z", "properties": {"$ignore_sent_at": true}},
        {"event": "offset", "distinct_id": "d", "offset": 7_200_000},
        {"event": "future", "distinct_id": "d", "timestamp": Utc::now() + Duration::days(30)},
        {"event": "unreadable", "distinct_id": "d", "timestamp": "soon"},
        {"event": "none", "distinct_id": "d"},
    ]});
    assert_eq!(answer(post(&weir, "/in/posthog/batch", JSON, body.to_string()).await).await, ok());
    weir.wait_for_events(6).await;
    let ended = Utc::now();
    for (event_type, ago) in [
        ("slow", Duration::hours(1)),
        ("offset", Duration::hours(2)),
        ("future", Duration::zero()),
        ("unreadable", Duration::zero()),
        ("none", Duration::zero()),
    ] {
        let time = times(&weir, event_type).await[0] + ago;
        assert!((begun..=ended).contains(&time), "{event_type}: {begun} {time} {ended}");
    }
    let left_alone: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(times(&weir, "left alone").await, [left_alone]);
    weir.stop().await;
}

#[tokio::test]
async fn the_newer_call_says_of_each_event_what_became_of_it() {
    let weir = Weir::start_with(&[("WEIR_MAX_EVENT_TYPES", "2")]).await;
    let project = weir.project("p", "UTC").await;
    let send = async |events: &[Value]| {
        let request = weir
            .http
            .post(weir.url("/i/v1/analytics/events"))
            .bearer_auth(&project.write)
            .header("PostHog-Sdk-Info", "posthog-python/7.91.1")
            .header("PostHog-Attempt", "1")
            .header("PostHog-Request-Id", Uuid::new_v4().to_string())
            .header("PostHog-Request-Timestamp", Utc::now().to_rfc3339());
        json_of(request.json(&json!({"created_at": Utc::now(), "batch": events})).send().await.unwrap()).await
    };
    let id = |event: &Value| event["uuid"].as_str().unwrap().to_owned();
    let (one, two, mut bad) = (event("one"), event("two"), event("one"));
    bad["distinct_id"] = Value::Null;
    let (status, answer) = send(&[one.clone(), bad.clone(), two.clone()]).await;
    assert_eq!(status, 200, "{answer}");
    let dropped = json!({"result": "drop", "details": "distinct_id: the id of the user is required"});
    let taken = json!({"result": "ok"});
    assert_eq!(answer, json!({"results": {id(&one): taken, id(&two): taken, id(&bad): dropped}}));
    assert_eq!(
        send(slice::from_ref(&one)).await.1,
        json!({"results": {id(&one): taken}}),
        "a duplicate is fine"
    );
    let (status, answer) = send(slice::from_ref(&bad)).await;
    assert_eq!((status.as_u16(), &answer), (200, &json!({"results": {id(&bad): dropped}})));
    let third = event("three");
    let (_, answer) = send(&[third.clone(), one.clone()]).await;
    assert_eq!(answer["results"][id(&third)]["result"], "drop", "a type too many: {answer}");
    assert_eq!(answer["results"][id(&one)]["result"], "ok", "{answer}");
    let (status, answer) = send(&[]).await;
    assert_eq!((status.as_u16(), &answer["error"]), (400, &json!("empty_batch")), "{answer}");
    weir.wait_for_events(2).await;
    weir.stop().await;
}

#[tokio::test]
async fn what_is_to_be_sent_again_is_answered_with_503() {
    let nats = server("NATS_URL");
    let way = Way::to(nats.trim_start_matches("nats://")).await;
    let mut weir = Weir::start_with(&[("WEIR_RATE_LIMIT", "1"), ("WEIR_RATE_BURST", "40")]).await;
    let project = weir.project("p", "UTC").await;
    let events = vec![json!({"event": "e", "distinct_id": "d"}); 30];
    let body = batch(&project, &events).to_string();
    let calls = ["/in/posthog/batch", "/in/posthog/i/v1/analytics/events"];
    let send = async |weir: &Weir, path: &str, body: String| {
        let request = weir.http.post(weir.url(path)).bearer_auth(&project.write);
        request.body(body).send().await.unwrap()
    };
    assert_eq!(send(&weir, calls[0], body.clone()).await.status(), 200);
    for path in calls {
        let refused = send(&weir, path, body.clone()).await;
        assert_eq!(refused.status(), 503, "over the rate: {path}");
        let seconds: u32 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=30).contains(&seconds), "{seconds}");
    }

    weir.api.kill().await;
    weir.set("NATS_URL", &format!("nats://{}", way.address));
    weir.set("WEIR_RATE_BURST", "10000");
    weir.set("WEIR_PUBLISH_TIMEOUT", "2s");
    weir.start_api().await;
    assert_eq!(send(&weir, calls[0], batch(&project, &[event("e")]).to_string()).await.status(), 200);
    way.gate.silent.store(true, Ordering::SeqCst);
    let one = event("late");
    let body = batch(&project, slice::from_ref(&one)).to_string();
    for path in calls {
        let refused = send(&weir, path, body.clone()).await;
        assert_eq!(refused.status(), 503, "no stream: {path}");
        assert!(refused.headers().contains_key("retry-after"));
    }
    way.gate.silent.store(false, Ordering::SeqCst);
    let taken = || async { send(&weir, calls[0], body.clone()).await.status().as_u16() };
    eventually("the same event is taken", taken, |status| *status == 200).await;
    weir.wait_for_events(32).await;
    assert_eq!(times(&weir, "late").await.len(), 1);
    weir.stop().await;
}

#[tokio::test]
async fn sdks_find_what_they_ask_for_besides() {
    let weir = Weir::start().await;
    let packed = gzip(&json!({"token": "weir_wk_x", "distinct_id": "user-42"}));
    for path in ["/flags/?v=2", "/in/posthog/flags/?v=4"] {
        let (status, flags) = json_of(post(&weir, path, TEXT, packed.clone()).await).await;
        assert_eq!((status.as_u16(), &flags["flags"]), (200, &json!({})), "{flags}");
        assert_eq!(flags["errorsWhileComputingFlags"], false);
        assert!(flags["requestId"].as_str().unwrap().parse::<Uuid>().is_ok());
        assert_eq!(flags.as_object().unwrap().len(), 3, "{flags}");
    }
    let get = async |path: &str| weir.http.get(weir.url(path)).send().await.unwrap();
    let (_, flags) = json_of(get("/flags/?v=2&config=true").await).await;
    assert_eq!(flags["supportedCompression"], json!(["gzip-js"]), "{flags}");
    let (_, decided) = json_of(post(&weir, "/decide/?v=3", JSON, "{}").await).await;
    assert_eq!(
        (&decided["featureFlags"], &decided["sessionRecording"]),
        (&json!({}), &json!(false)),
        "{decided}"
    );
    let (status, settings) = json_of(get("/in/posthog/array/weir_wk_x/config").await).await;
    assert_eq!((status.as_u16(), &settings["hasFeatureFlags"]), (200, &json!(false)), "{settings}");
    assert!(settings.get("surveys").is_none(), "{settings}");
    let script = get("/array/weir_wk_x/config.js").await;
    assert_eq!(script.status(), 200);
    assert!(script.headers()["content-type"].to_str().unwrap().starts_with("text/javascript"));
    assert_eq!(answer(post(&weir, "/in/posthog/s/", TEXT, packed).await).await, ok());
    assert_eq!(get("/in/posthog/static/recorder.js").await.status(), 404);
    let logs = format!("{:?}", weir.api.log());
    assert!(!logs.contains("weir_wk_x"), "no key is logged");
    weir.stop().await;
}
