//! Keys, and the walls between projects.

use serde_json::{Value, json};

use crate::support::{Weir, json as json_of};

/// Paths that need no key: they say nothing about any project.
const OPEN: [&str; 4] = ["/health", "/metrics", "/ready", "/ready/ingest"];
/// Calls of SDKs have their keys elsewhere, and answer as their vendors do: see [`crate::sdks`].
const OF_SDKS: &str = "/in/";

#[tokio::test]
async fn every_operation_asks_for_a_key_of_the_right_kind() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let spec: Value = weir.http.get(weir.url("/openapi.json")).send().await.unwrap().json().await.unwrap();
    let mut checked = 0;
    for (path, methods) in spec["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            if OPEN.contains(&path.as_str()) || path.starts_with(OF_SDKS) {
                continue;
            }
            let method: reqwest::Method = method.to_uppercase().parse().unwrap();
            let sends = method == "POST" && !path.starts_with("/stats");
            let wrong = if sends { &project.read } else { &project.write };
            for (key, status, code) in [
                (None, 401, "unauthorized"),
                (Some("weir_rk_no"), 401, "unauthorized"),
                (Some(wrong), 403, "forbidden"),
            ] {
                let mut request = weir.http.request(method.clone(), weir.url(path));
                if let Some(key) = key {
                    request = request.header("X-API-Key", key);
                }
                let response = request.send().await.unwrap();
                assert_eq!(response.headers().contains_key("www-authenticate"), status == 401);
                let (found, problem) = json_of(response).await;
                assert_eq!(
                    (found.as_u16(), &problem["code"]),
                    (status, &json!(code)),
                    "{method} {path}: {problem}"
                );
            }
            checked += 1;
        }
    }
    assert!(checked >= 5, "only {checked} operations were checked");
    weir.stop().await;
}

#[tokio::test]
async fn no_question_shows_another_projects_data() {
    let weir = Weir::start().await;
    let (mine, theirs) = (weir.project("mine", "UTC").await, weir.project("theirs", "UTC").await);
    // The same ids and users, in both.
    let event = |kind| {
        let properties = json!({"path": "/secret", "site_id": "test123"});
        json!({"event_id": kind, "user_id": "anna", "event_type": kind, "occurred_at": "2024-03-01T12:00:00Z",
               "properties": properties})
    };
    assert_eq!(weir.send(&theirs, &json!([event("secret"), event("page_view")])).await.0, 202);
    weir.wait_for_events(2).await;

    let spec: Value = weir.http.get(weir.url("/openapi.json")).send().await.unwrap().json().await.unwrap();
    let mut asked = 0;
    for (path, methods) in spec["paths"].as_object().unwrap() {
        let is_question = !OPEN.contains(&path.as_str()) && !path.starts_with(OF_SDKS);
        let Some(get) = methods.get("get").filter(|_| is_question) else { continue };
        // Every parameter that has an example, except the user, who is the one that has data.
        let parameters = get["parameters"].as_array().unwrap();
        let in_query =
            parameters.iter().filter(|parameter| parameter["in"] == "query").filter_map(|parameter| {
                let name = parameter["name"].as_str()?;
                let example =
                    if name == "user_id" { "anna" } else { parameter["schema"]["example"].as_str()? };
                Some(format!("{name}={example}"))
            });
        let path = path.replace("{user_id}", "anna");
        let question = format!("{path}?{}", in_query.collect::<Vec<_>>().join("&"));
        // Of their user, who is none of mine, I learn that there is no such user.
        let (status, of_mine) = json_of(weir.get(&mine, &question).send().await.unwrap()).await;
        assert_eq!(status.as_u16(), if path.ends_with("/anna") { 404 } else { 200 }, "{question}: {of_mine}");
        let of_theirs = weir.ask(&theirs, &question).await;
        // Numbers that are not zero, and texts that they sent, are theirs.
        assert_ne!(
            facts(&of_mine),
            facts(&of_theirs),
            "{question} shows data of a project at all: {of_theirs}"
        );
        assert!(!of_mine.to_string().contains("secret"), "{question}: {of_mine}");
        asked += 1;
    }
    assert!(asked >= 8, "only {asked} questions were asked");

    assert_eq!(weir.send(&mine, &event("page_view")).await.0, 202, "their ids are not mine");
    weir.wait_for_events(3).await;
    let own = weir.ask(&mine, "/stats/top-events?from=2024-03-01&to=2024-03-01").await;
    assert_eq!(own["data"], json!([{"event_type": "page_view", "events": 1, "users": 1}]));
    weir.stop().await;
}

/// An answer without what is of the question and not of events.
fn facts(answer: &Value) -> Value {
    let mut answer = answer.clone();
    for of_the_question in ["as_of", "warnings"] {
        answer.as_object_mut().unwrap().remove(of_the_question);
    }
    answer
}

#[tokio::test]
async fn a_revoked_key_stops_working_and_keys_are_not_kept() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    weir.ask(&project, "/events?user_id=u").await;
    let list = weir.run(&["key", "list", "--project", "p"]).await.succeeded().stdout;
    assert!(!list.contains(&project.read), "a list shows no whole key");
    let id = list.lines().find(|line| line.contains("read")).unwrap().split_whitespace().next().unwrap();
    weir.run(&["key", "revoke", "--project", "p", id]).await.succeeded();
    let again = weir.run(&["key", "revoke", "--project", "p", id]).await.succeeded();
    assert!(again.stdout.contains("was revoked already, at "), "{again:?}");
    let unknown = weir.run(&["key", "revoke", "--project", "p", "4711"]).await;
    assert!(unknown.stderr.contains("the project 'p' has no such key"), "{unknown:?}");
    let status = || async { weir.get(&project, "/events?user_id=u").send().await.unwrap().status().as_u16() };
    crate::support::eventually("the key is refused", status, |status| *status == 401).await;

    let texts: Vec<String> =
        sqlx::query_scalar("select api_keys::text from api_keys").fetch_all(&weir.pool).await.unwrap();
    assert!(!texts.iter().any(|row| row.contains(&project.write) || row.contains(&project.read)));
    let logs = format!("{:?}{:?}", weir.api.log(), weir.worker.log());
    assert!(!logs.contains("weir_rk_") && !logs.contains("weir_wk_"), "no key is logged");
    weir.stop().await;
}

#[tokio::test]
async fn a_project_that_this_weir_does_not_know_hurts_no_other() {
    let weir = Weir::start().await;
    let (known, unknown) = (weir.project("known", "UTC").await, weir.project("unknown", "UTC").await);
    // As a newer weir would save it.
    weir.execute("update projects set timezone = 'Mars/Olympus' where name = 'unknown'").await;
    let event = json!({"event_type": "e"});
    let (of_unknown, of_known) = tokio::join!(weir.send(&unknown, &event), weir.send(&known, &event));
    assert_eq!((of_unknown.0.as_u16(), of_known.0.as_u16()), (401, 202));
    let list = weir.run(&["project", "list"]).await.succeeded();
    assert!(list.stdout.contains("known"), "{list:?}");
    assert!(list.stderr.contains("'Mars/Olympus', which is unknown: run a newer weir"), "{list:?}");
    weir.stop().await;
}
