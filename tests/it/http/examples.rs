//! The examples of the document, as somebody tries them in Swagger, one after the other.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Project, Weir, json as json_of};

#[tokio::test]
async fn every_example_of_statistics_shows_the_events_of_the_example() {
    let weir = Weir::start().await;
    let project = weir.project("tried", "UTC").await;
    let empty = weir.project("empty", "UTC").await;
    let document: Value = serde_json::from_str(include_str!("../../../openapi.json")).unwrap();
    let example = |path: &str, name: &str| {
        let body = &document["paths"][path]["post"]["requestBody"]["content"]["application/json"];
        body["examples"][name]["value"].clone()
    };
    assert_eq!(weir.send(&project, &example("/events", "batch")).await.0, 202);
    let view = weir.http.post(weir.url("/event")).header("X-API-Key", &project.write);
    assert!(view.json(&example("/event", "view")).send().await.unwrap().status().is_success());
    weir.wait_for_events(7).await;
    weir.wait_for_roll_up().await;

    let mut tried = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["operationId"] != "site_pages" && operation["tags"][0] != "Statistics" {
                continue;
            }
            tried += 1;
            let shown = try_out(&weir, &project, method, path, operation).await;
            let nothing = try_out(&weir, &empty, method, path, operation).await;
            assert_ne!(shown, nothing, "{method} {path} shows nothing of the example");
        }
    }
    assert!(tried > 10, "{tried} operations");
    weir.stop().await;
}

/// The answer to an operation with its examples and nothing else, without the time at which it was given.
async fn try_out(weir: &Weir, project: &Project, method: &str, path: &str, operation: &Value) -> Value {
    let parameters = operation["parameters"].as_array().unwrap().iter();
    let query: Vec<(&str, &str)> = parameters
        .filter_map(|parameter| {
            let example = parameter.get("example").unwrap_or(&parameter["schema"]["example"]);
            Some((parameter["name"].as_str()?, example.as_str()?))
        })
        .collect();
    let method: Method = method.to_uppercase().parse().unwrap();
    let mut request =
        weir.http.request(method, weir.url(path)).header("X-API-Key", &project.read).query(&query);
    if let Some(name) = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        let document: Value = serde_json::from_str(include_str!("../../../openapi.json")).unwrap();
        request = request.json(&document["components"]["schemas"][name]["example"]);
    }
    let (status, mut answer) = json_of(request.send().await.unwrap()).await;
    assert_eq!(status, 200, "{path}: {answer}");
    for moment in ["as_of", "data_through"] {
        answer[moment] = json!(null);
    }
    answer
}
