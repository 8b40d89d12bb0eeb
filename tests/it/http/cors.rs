//! Pages in browsers.

use reqwest::Method;
use serde_json::json;

use crate::support::{Weir, eventually, json as json_of};

#[tokio::test]
async fn a_preflight_is_answered_without_a_key_and_without_servers() {
    let weir = Weir::start().await;
    let preflight = weir
        .http
        .request(Method::OPTIONS, weir.url("/events"))
        .header("Origin", "https://shop.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type,x-api-key");
    let response = preflight.send().await.unwrap();
    assert_eq!(response.status(), 204);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("access-control-allow-origin"), "*");
    assert!(header("access-control-allow-methods").contains("POST"));
    assert!(header("access-control-allow-headers").contains("X-API-Key"));
    assert!(header("access-control-max-age").parse::<u32>().unwrap() > 600);
    weir.stop().await;
}

#[tokio::test]
async fn a_project_says_whose_pages_may_use_its_keys() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let from = async |origin: &str| {
        let request = weir.post(&project, &json!({"event_type": "e"})).header("Origin", origin);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["access-control-allow-origin"], "*", "the page can read why");
        let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap();
        for name in ["X-Request-Id", "Retry-After", "ETag", "X-Total-Count", "X-Next-Cursor"] {
            assert!(exposed.split(", ").any(|one| one == name), "{name}: {exposed}");
        }
        json_of(response).await
    };
    assert_eq!(from("https://anywhere.example").await.0, 202, "by default, keys are the protection");
    weir.run(&["project", "set", "p", "--origins", "https://shop.example,https://*.shop.example"])
        .await
        .succeeded();
    let refused = || async { from("https://evil.example").await.0.as_u16() };
    eventually("the page is refused", refused, |status| *status == 403).await;
    let (_, problem) = from("https://evil.example").await;
    assert_eq!(problem["code"], "origin_not_allowed", "{problem}");
    assert_eq!(from("https://shop.example").await.0, 202);
    assert_eq!(from("https://www.shop.example").await.0, 202);
    let own = format!("http://{}", weir.api.address);
    assert_eq!(from(&own).await.0, 202, "weir's own page");
    assert_eq!(weir.send(&project, &json!({"event_type": "e"})).await.0, 202, "a program has no origin");
    weir.stop().await;
}

#[tokio::test]
async fn a_beacon_has_its_key_in_the_address_if_it_may_only_send() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let beacon = async |path: &str, key: &str| {
        let request = weir
            .http
            .post(weir.url(&format!("{path}?key={key}")))
            .header("Content-Type", "text/plain;charset=UTF-8");
        request.body(r#"{"event_type": "leave"}"#).send().await.unwrap().status().as_u16()
    };
    assert_eq!(beacon("/events", &project.write).await, 202);
    assert_eq!(beacon("/events", "weir_wk_no").await, 401);
    let admin = weir.run(&["key", "create", "--project", "p", "--kind", "admin"]).await.succeeded().stdout;
    assert_eq!(beacon("/events", admin.trim()).await, 403, "logs keep addresses");
    let question = weir.http.get(weir.url(&format!("/events?user_id=u&key={}", project.read)));
    assert_eq!(question.send().await.unwrap().status(), 400, "questions take no such parameter");
    let logs = format!("{:?}", weir.api.log());
    assert!(!logs.contains("weir_wk_") && !logs.contains(admin.trim()), "no key is logged");
    weir.stop().await;
}
