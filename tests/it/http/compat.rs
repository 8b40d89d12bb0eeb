//! The calls of other systems, with the bodies that their users send.

use serde_json::{Value, json};

use crate::support::{Project, Weir, json as json_of};

async fn post(weir: &Weir, project: &Project, path: &str, body: &Value) -> reqwest::Response {
    weir.http.post(weir.url(path)).header("X-API-Key", &project.write).json(body).send().await.unwrap()
}

#[tokio::test]
async fn the_intakes_events_go_in_and_come_out_under_its_names() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let event = json!({"event": "user_signed_up", "user_id": "user_123", "client_ts": "2024-06-01T12:00:00Z",
                       "metadata": {"plan": "premium", "source": "mobile_app"}, "request_id": "req_12345678"});
    let response = post(&weir, &project, "/api/v1/events", &event).await;
    assert_eq!(response.headers()["x-request-id"], "req_12345678");
    let (status, answer) = json_of(response).await;
    assert_eq!((status.as_u16(), &answer["accepted"]), (201, &json!(true)), "{answer}");

    weir.wait_for_events(1).await;
    let timeline = weir.ask(&project, "/api/v1/events?user_id=user_123&limit=10").await;
    assert_eq!((&timeline["count"], &timeline["user_id"]), (&json!(1), &json!("user_123")));
    let stored = &timeline["events"][0];
    assert_eq!(stored["id"], answer["event_id"]);
    assert_eq!((&stored["event"], &stored["client_ts"]), (&event["event"], &event["client_ts"]));
    assert_eq!(stored["metadata"], event["metadata"]);
    let line = weir.worker.log().into_iter().find(|line| line["message"] == "stored").unwrap();
    assert_eq!(line["request_id"], "req_12345678", "the body's id goes all the way");

    let response = post(&weir, &project, "/api/v1/events", &json!({"user_id": "u", "request_id": {}})).await;
    let (status, problem) = json_of(response).await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (400, &json!("request_id")), "{problem}");
    let (status, problem) = json_of(post(&weir, &project, "/events", &event).await).await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["code"]), (400, &json!("unknown_field")), "{problem}");
    weir.stop().await;
}

#[tokio::test]
async fn a_tenants_event_is_counted_once_in_a_window_of_instants() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let event =
        json!({"event_name": "login", "timestamp": "2026-02-13T20:00:00Z", "properties": {"source": "web"}});
    let send = async || {
        let request = weir.post(&project, &event).header("Idempotency-Key", "example1");
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((send().await, send().await), (202, 200));
    weir.wait_for_events(1).await;
    for (from, to, count) in [
        ("2026-02-13T00:00:00Z", "2026-02-14T00:00:00Z", 1),
        ("2026-02-13T20:00:00Z", "2026-02-13T20:00:00.000001Z", 1),
        ("2026-02-13T00:00:00Z", "2026-02-13T20:00:00Z", 0),
        ("2026-02-13T22:00:00%2B02:00", "2026-02-14T00:00:00Z", 1),
    ] {
        let answer = weir.ask(&project, &format!("/stats/count?event_name=login&from={from}&to={to}")).await;
        assert_eq!(answer, json!({"event_name": "login", "count": count}), "{from} {to}");
    }
    weir.stop().await;
}

#[tokio::test]
async fn a_sites_day_has_its_views_users_and_paths() {
    let weir = Weir::start().await;
    let project = weir.project("p", "Asia/Kolkata").await;
    // Half an hour around the midnight of Kolkata, which is 18:30 in UTC.
    for (site, path, user, time) in [
        ("test123", "/home", "user1", "2025-11-13T18:29:59Z"),
        ("test123", "/home", "user1", "2025-11-13T18:30:00Z"),
        ("test123", "/home", "user2", "2025-11-14T10:00:00Z"),
        ("test123", "/pricing", "user1", "2025-11-14T18:29:59Z"),
        ("other", "/home", "user3", "2025-11-14T10:00:00Z"),
    ] {
        let event = json!({"site_id": site, "event_type": "page_view", "path": path, "user_id": user, "timestamp": time});
        let response = post(&weir, &project, "/event", &event).await;
        assert_eq!(response.status(), 204);
        assert!(response.headers().contains_key("ratelimit"));
    }
    weir.wait_for_events(5).await;
    let day = weir.ask(&project, "/stats?site_id=test123&date=2025-11-14").await;
    let paths = json!([{"path": "/home", "views": 2}, {"path": "/pricing", "views": 1}]);
    assert_eq!(
        day,
        json!({"site_id": "test123", "date": "2025-11-14", "timezone": "Asia/Kolkata", "total_views": 3,
               "unique_users": 2, "top_paths": paths})
    );
    let all = weir.ask(&project, "/stats/pages?from=2025-11-13&to=2025-11-14&limit=1").await;
    assert_eq!((&all["total_views"], &all["unique_users"]), (&json!(5), &json!(3)), "{all}");
    assert_eq!(all["top_paths"], json!([{"path": "/home", "views": 4}]));
    weir.stop().await;
}

#[tokio::test]
async fn a_call_that_takes_one_event_refuses_a_list_and_what_is_not_valid() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let event = json!({"event_type": "e", "user_id": "u"});
    for path in ["/api/v1/events", "/event"] {
        for body in
            [json!([event, event]), json!([event]), json!({"events": [event]}), json!({"user_id": "u"})]
        {
            let (status, problem) = json_of(post(&weir, &project, path, &body).await).await;
            assert_eq!(status, 400, "{path} {body}: {problem}");
        }
    }
    assert_eq!(post(&weir, &project, "/event", &event).await.status(), 204);
    weir.wait_for_events(1).await;
    weir.stop().await;
}

#[tokio::test]
async fn the_names_of_one_system_are_not_those_of_another() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    for (path, event, meant) in [
        ("/api/v1/events", json!({"event_name": "e"}), "event_type"),
        ("/api/v1/events", json!({"event": "e", "timestamp": "2024-06-01T12:00:00Z"}), "occurred_at"),
        ("/event", json!({"event": "e"}), "event_type"),
        ("/event", json!({"event_type": "e", "client_ts": "2024-06-01T12:00:00Z"}), "occurred_at"),
        ("/event", json!({"event_type": "e", "metadata": {}}), "properties"),
    ] {
        let (status, problem) = json_of(post(&weir, &project, path, &event).await).await;
        let error = &problem["errors"][0];
        assert_eq!((status.as_u16(), &error["code"]), (400, &json!("unknown_field")), "{path} {problem}");
        let message = error["message"].as_str().unwrap();
        assert!(message.ends_with(&format!("weir calls it '{meant}'")), "{path} {problem}");
    }
    for name in ["event_type", "event_name", "event"] {
        assert_eq!(post(&weir, &project, "/events", &json!({name: "e"})).await.status(), 202, "{name}");
    }
    weir.wait_for_events(3).await;
    weir.stop().await;
}
