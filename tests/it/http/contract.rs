//! The interface as it is described, and what the framework answers by itself.

use serde_json::{Value, json};

use crate::support::{Weir, eventually, json as json_of};

#[tokio::test]
async fn the_committed_openapi_document_is_the_served_one() {
    let weir = Weir::start().await;
    let served: Value = weir.http.get(weir.url("/openapi.json")).send().await.unwrap().json().await.unwrap();
    let committed: Value = serde_json::from_str(include_str!("../../../openapi.json")).unwrap();
    assert_eq!(served, committed, "run `weir openapi > openapi.json` and look at the difference");
    let printed = weir.run(&["openapi"]).await.succeeded().stdout;
    assert_eq!(printed, include_str!("../../../openapi.json"));
    let yaml = weir.http.get(weir.url("/openapi.yaml")).send().await.unwrap().text().await.unwrap();
    assert!(yaml.contains("operationId: send_events"));
    weir.stop().await;
}

/// Lists of which the bound is a setting: events of a request, and event types of a project.
const BOUNDED_BY_SETTINGS: [&str; 3] = ["BatchTaken/rejected", "Problem/errors", "UserProfile/event_types"];

#[test]
fn every_list_and_every_parameter_has_a_bound() {
    let document: Value = serde_json::from_str(include_str!("../../../openapi.json")).unwrap();
    let mut unbounded = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        lists_without_bound(name, schema, &mut unbounded);
    }
    unbounded.retain(|list| !BOUNDED_BY_SETTINGS.contains(&list.as_str()));
    assert!(unbounded.is_empty(), "`validator(max_items = …)` is missing at {unbounded:?}");

    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
    for (_, operation) in operations {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = format!("{} {}", operation["operationId"], parameter["name"]);
            let schema = &parameter["schema"];
            lists_without_bound(&name, schema, &mut unbounded);
            let bounds = ["maxItems", "maxLength", "maximum", "enum", "format", "pattern"];
            if schema["type"] != "boolean" && bounds.iter().all(|bound| schema[bound].is_null()) {
                unbounded.push(name);
            }
        }
    }
    assert!(unbounded.is_empty(), "parameters without a bound: {unbounded:?}");
}

fn lists_without_bound(name: &str, schema: &Value, found: &mut Vec<String>) {
    if schema["type"] == "array" && schema["maxItems"].is_null() {
        found.push(name.to_owned());
    }
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        lists_without_bound(&format!("{name}/{field}"), schema, found);
    }
    for part in ["items", "additionalProperties", "allOf", "anyOf", "oneOf"] {
        match &schema[part] {
            Value::Array(parts) => parts.iter().for_each(|part| lists_without_bound(name, part, found)),
            part if part.is_object() => lists_without_bound(name, part, found),
            _ => {}
        }
    }
}

#[tokio::test]
async fn every_answer_of_the_framework_is_a_problem_document() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    for (method, path, status, code) in [
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/events", 405, "method_not_allowed"),
        ("GET", "/stats/dau", 400, "validation_failed"),
        ("GET", "/stats/dau?from=2024-01-01&to=2024-01-02&too=3", 400, "validation_failed"),
        ("GET", "/stats/dau?from=2024-01-02&to=2024-01-01", 400, "validation_failed"),
        ("GET", "/stats/dau?from=2024-01-01&from=2024-01-02&to=2024-01-02", 400, "validation_failed"),
        ("GET", "/stats/dau?from=-9999-1-01&to=-9999-1-01", 400, "validation_failed"),
        ("GET", "/stats/dau?from=0001-01-01&to=9999-12-31", 400, "validation_failed"),
        ("GET", "/stats/retention?from=2024-01-01&to=2024-12-31&windows=366", 400, "validation_failed"),
        ("GET", "/stats/retention?start_date=2024-01-01&to=2024-12-31", 400, "validation_failed"),
        ("GET", "/events?user_id=u&cursor=nonsense", 400, "validation_failed"),
        ("GET", "/events?user_id=%00", 400, "validation_failed"),
    ] {
        let request =
            weir.http.request(method.parse().unwrap(), weir.url(path)).header("X-API-Key", &project.read);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        let (found, problem) = json_of(response).await;
        assert_eq!((found.as_u16(), &problem["code"]), (status, &json!(code)), "{method} {path}: {problem}");
        assert_eq!(problem["status"], status);
    }
    weir.stop().await;
}

#[tokio::test]
async fn all_wrong_parameters_are_reported_at_once() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let response = weir.get(&project, "/stats/top-events?from=2024-13-01&limit=0").send().await.unwrap();
    let (_, problem) = json_of(response).await;
    assert_eq!(problem["detail"], "Missing or not valid: 'from', 'to', 'limit'");
    let expected = json!([
        {"field": "from", "code": "invalid_date", "message": "expected a day of the calendar as YYYY-MM-DD, got '2024-13-01'"},
        {"field": "to", "code": "missing", "message": "expected a day of the calendar as YYYY-MM-DD"},
        {"field": "limit", "code": "out_of_range", "message": "expected a number from 1 to 1000, got '0'"},
    ]);
    assert_eq!(problem["errors"], expected);
    weir.stop().await;
}

#[tokio::test]
async fn the_documentation_page_needs_no_other_host() {
    let weir = Weir::start().await;
    let page = weir.http.get(weir.url("/docs")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("SwaggerUIBundle"));
    for loaded in ["src=\"http", "href=\"http", "src='http", "href='http", "@import", "url(http"] {
        assert!(!page.contains(loaded), "the page loads something: {loaded}");
    }
    weir.stop().await;
}

#[tokio::test]
async fn signs_of_life_and_the_metrics_that_people_chart() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    assert_eq!(weir.send(&project, &json!([{"event_type": "e"}, {}])).await.0, 202);
    for path in ["/health", "/ready", "/ready/ingest"] {
        let (status, answer) = json_of(weir.http.get(weir.url(path)).send().await.unwrap()).await;
        assert_eq!((status.as_u16(), &answer["status"]), (200, &json!("ok")), "{path}");
    }
    for (metric, value) in [
        ("events_received_total", 2.0),
        ("events_ingested_total", 1.0),
        ("events_rejected_total", 1.0),
        ("events_duplicate_total", 0.0),
        ("ingestion_duration_seconds_count", 1.0),
    ] {
        assert!((weir.metric(&weir.api, metric).await - value).abs() < 0.5, "{metric} is not {value}");
    }
    assert!(weir.metric(&weir.api, "api_requests_total").await >= 4.0);
    for path in ["/health", "/ready"] {
        let url = format!("http://{}{path}", weir.worker.address);
        let status = || async { weir.http.get(&url).send().await.unwrap().status().as_u16() };
        eventually(path, status, |status| *status == 200).await;
    }
    weir.wait_for_events(1).await;
    weir.stop().await;
}
