//! One value is one value, wherever it is shown or asked about; and what strangers send as values bounds what an answer costs.

use serde_json::{Value, json};

use crate::support::{Project, Weir, json as json_of};

/// Events of one day, each of a user of its own, with these properties.
async fn with_values(weir: &Weir, name: &str, properties: &[Value]) -> Project {
    let project = weir.project(name, "UTC").await;
    let event = |(user, properties): (usize, &Value)| {
        json!({"event_type": "e", "user_id": user.to_string(), "occurred_at": "2024-03-10T12:00:00Z",
               "properties": properties})
    };
    let events: Vec<_> = properties.iter().enumerate().map(event).collect();
    let before = weir.counts().await.0;
    assert_eq!(weir.send(&project, &json!(events)).await.0, 202);
    weir.wait_for_events(before + i64::try_from(events.len()).unwrap()).await;
    project
}

const DAY: &str = "from=2024-03-10&to=2024-03-10";

/// The values of a time series and of a funnel, which must be the same: each with whether it is the rest, and its users.
async fn breakdown_of(
    weir: &Weir,
    project: &Project,
    breakdown: &str,
    limit: u32,
) -> Vec<(Value, bool, u64)> {
    let path = format!("/stats/timeseries?{DAY}&measure=users&breakdown={breakdown}&limit={limit}");
    let series = weir.ask(project, &path).await["series"].take();
    let of_series = |series: &Value| {
        let users = series["data"][0]["count"].as_u64().unwrap();
        (series["value"].clone(), series["other"].as_bool().unwrap(), users)
    };
    let series: Vec<_> = series.as_array().unwrap().iter().map(of_series).collect();
    let question = json!({"from": "2024-03-10", "to": "2024-03-10", "breakdown": breakdown, "limit": limit,
                          "steps": [{"event_type": "e"}, {"event_type": "never"}]});
    let asked = weir.http.post(weir.url("/stats/funnel")).header("X-API-Key", &project.read).json(&question);
    let (status, answer) = json_of(asked.send().await.unwrap()).await;
    assert_eq!(status, 200, "{answer}");
    let of_funnel = |value: &Value| {
        let users = value["steps"][0]["users"].as_u64().unwrap();
        (value["value"].clone(), value["other"].as_bool().unwrap(), users)
    };
    let funnel: Vec<_> = answer["breakdown"].as_array().unwrap().iter().map(of_funnel).collect();
    assert_eq!(series, funnel, "{breakdown}");
    series
}

async fn users(weir: &Weir, project: &Project, segment: &str) -> u64 {
    let path = format!("/stats/dau?{DAY}&segment={}", segment.replace('"', "%22"));
    weir.ask(project, &path).await["data"][0]["active_users"].as_u64().unwrap()
}

#[tokio::test]
async fn a_number_is_one_value_however_it_is_written() {
    let weir = Weir::start().await;
    let values =
        [json!({"n": 10}), json!({"n": 10.0}), json!({"n": 1e1}), json!({"n": 1.5}), json!({"n": "x"})];
    let project = with_values(&weir, "p", &values).await;
    let expected = [(json!("10"), false, 3), (json!("1.5"), false, 1), (json!("x"), false, 1)];
    for promoted in [false, true] {
        if promoted {
            weir.run(&["project", "promote", "p", "properties.n"]).await.succeeded();
        }
        assert_eq!(breakdown_of(&weir, &project, "properties.n", 10).await, expected, "promoted: {promoted}");
        for (value, _, number) in &expected {
            let segment = format!("properties.n:{}", value.as_str().unwrap());
            assert_eq!(users(&weir, &project, &segment).await, *number, "{segment}, promoted: {promoted}");
        }
        assert_eq!(users(&weir, &project, "properties.n:10.00").await, 3);
    }
    weir.stop().await;
}

#[tokio::test]
async fn lists_objects_and_long_texts_are_in_the_rest() {
    let weir = Weir::start().await;
    let values = [
        json!({"v": "a"}),
        json!({"v": ["a"]}),
        json!({"v": {"deep": "a"}}),
        json!({"v": "x".repeat(201)}),
        json!({"v": "x".repeat(200)}),
        json!({"v": "$other"}),
        json!({}),
        json!({"v": null}),
        json!({"v": [{"deep": "cup"}]}),
    ];
    let project = with_values(&weir, "p", &values).await;
    let expected = [
        (Value::Null, false, 2),
        (json!("$other"), false, 1),
        (json!("a"), false, 1),
        (json!("x".repeat(200)), false, 1),
        (json!("$other"), true, 4),
    ];
    assert_eq!(breakdown_of(&weir, &project, "properties.v", 10).await, expected);
    // What a segment finds is not missing, and no value of a breakdown by what is missing.
    let deep = [(Value::Null, false, 7), (json!("a"), false, 1), (json!("$other"), true, 1)];
    assert_eq!(breakdown_of(&weir, &project, "properties.v.deep", 10).await, deep);
    assert_eq!(users(&weir, &project, "properties.v.deep:cup").await, 1);
    assert_eq!(users(&weir, &project, "properties.v.deep:null").await, 7);
    weir.stop().await;
}

#[tokio::test]
async fn what_values_cost_an_answer_is_bounded() {
    let weir = Weir::start().await;
    let long: Vec<Value> = (0..2_000).map(|_| json!(1e300)).collect();
    let paths = [
        json!({"path": "x".repeat(10_000), "long": long.clone(), "number": 1e300}),
        json!({"path": "/", "long": long}),
    ];
    let project = with_values(&weir, "p", &paths).await;
    for path in [
        "/stats/timeseries?from=2024-01-01&to=2025-12-31&breakdown=properties.long&limit=20",
        "/stats/timeseries?from=2024-01-01&to=2025-12-31&breakdown=properties.path&limit=20",
        "/stats/timeseries?from=2024-01-01&to=2025-12-31&breakdown=properties.number&limit=20",
        "/stats/pages?date=2024-03-10",
    ] {
        for accept in ["application/json", "text/csv"] {
            let answer = weir.get(&project, path).header("Accept", accept).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            let bytes = answer.bytes().await.unwrap().len();
            assert!(bytes < 300_000, "{path}: {bytes} bytes as {accept}");
        }
    }
    weir.stop().await;
}
