//! What weir answers to somebody who is nearly right.

use serde_json::{Value, json};

use crate::support::{Weir, eventually, json as json_of};

#[tokio::test]
async fn an_unknown_parameter_is_reported_with_what_was_meant() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let no_hint = |takes: &str| format!("This endpoint takes {takes}.");
    for (path, name, hint) in [
        ("/events?user=anna", "user", "Did you mean 'user_id'?".into()),
        ("/events?USER_ID=anna", "USER_ID", "Did you mean 'user_id'?".into()),
        ("/stats/dau?start=2024-01-01", "start", "Did you mean 'from'?".into()),
        ("/stats/dau?form=2024-01-01", "form", "Did you mean 'from'?".into()),
        ("/stats/count?EVENT_TYPE=purchase", "EVENT_TYPE", "Did you mean 'event_type'?".into()),
        ("/stats/dau?x=1", "x", no_hint("from, to, segment and format")),
        ("/stats/dau?;", ";", no_hint("from, to, segment and format")),
        ("/health?x=1", "x", "This endpoint takes no parameters.".into()),
        ("/stats/dau?key=weir_rk", "key", "Send the key in the header X-API-Key.".into()),
        ("/stats/dau?api_key=weir_rk", "api_key", "Send the key in the header X-API-Key.".into()),
        (
            "/stats/dau?timezone=UTC",
            "timezone",
            "The time zone of a project is fixed, and its days are counted in it. Leave this out.".into(),
        ),
        (
            "/stats/dau?breakdown=event_type",
            "breakdown",
            "Users by value are at /stats/timeseries, with measure=users and breakdown.".into(),
        ),
        (
            "/stats/retention?breakdown=properties.country",
            "breakdown",
            "Ask once for each value, with segment, such as segment=properties.country:UA.".into(),
        ),
    ] {
        let (status, problem) = json_of(weir.get(&project, path).send().await.unwrap()).await;
        let error = json!({"field": name, "code": "unknown_parameter", "message": hint});
        assert_eq!((status.as_u16(), &problem["errors"]), (400, &json!([error])), "{path}");
        assert_eq!(problem["detail"], format!("Unknown query parameter '{name}'. {hint}"));
    }
    let several = weir.get(&project, "/stats/dau?a=1&frm=2").send().await.unwrap();
    assert_eq!(
        json_of(several).await.1["detail"],
        "Unknown query parameters 'a' and 'frm'. This endpoint takes from, to, segment and format."
    );
    weir.stop().await;
}

#[tokio::test]
async fn a_day_or_a_range_is_reported_as_the_choice_that_it_is() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let errors = async |path: &str| {
        let (status, problem) = json_of(weir.get(&project, path).send().await.unwrap()).await;
        assert_eq!(status, 400, "{path}: {problem}");
        let errors = problem["errors"].as_array().unwrap().iter();
        errors.map(|error| [error["field"].clone(), error["message"].clone()]).collect::<Vec<[Value; 2]>>()
    };
    assert_eq!(errors("/stats/pages").await, [["date", "expected date, or from and to, as YYYY-MM-DD"]]);
    assert_eq!(
        errors("/stats/retention").await,
        [["start_date", "expected start_date, or from and to, as YYYY-MM-DD"]]
    );
    assert_eq!(
        errors("/stats/pages?date=today").await,
        [["date", "expected a day of the calendar as YYYY-MM-DD, got 'today'"]]
    );
    assert_eq!(
        errors("/stats/pages?from=2024-01-01").await,
        [["to", "expected a day of the calendar as YYYY-MM-DD"]]
    );
    let instants = errors("/stats/count?event_type=e&from=2026-11-20&to=2026-11-21T00:00:00").await;
    let message = |index: usize| instants[index][1].as_str().unwrap().to_owned();
    assert!(
        message(0).ends_with("the time of day and the zone are missing; got '2026-11-20'"),
        "{instants:?}"
    );
    assert!(message(1).contains("the zone is missing"), "{instants:?}");
    weir.stop().await;
}

#[tokio::test]
async fn a_slash_too_many_is_seen_in_the_log() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    for path in ["//events", "/events/", "/users/anna/friends"] {
        assert_eq!(weir.get(&project, path).send().await.unwrap().status(), 404);
    }
    let paths = async || {
        let log = weir.api.log().into_iter();
        log.filter(|line| line["status"] == 404).map(|line| line["path"].clone()).collect::<Vec<Value>>()
    };
    // What follows the first part may be a person.
    eventually("the slashes are in the log", paths, |paths| *paths == ["//events", "/events/", "/users"])
        .await;
    weir.stop().await;
}

#[tokio::test]
async fn an_event_type_that_weir_does_not_know_is_answered_with_a_warning() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let event = |event_type: &str| json!({"event_type": event_type, "user_id": "anna"});
    assert_eq!(weir.send(&project, &json!([event("purchase"), event("Käufe")])).await.0, 202);
    weir.wait_for_events(2).await;
    let days = "from=2024-03-01&to=2024-03-02";
    let misspelt = "weir knows no event type 'purchse' in this project. Did you mean 'purchase'?";
    for (path, warnings) in [
        (format!("/stats/dau?{days}&segment=event_type:purchse"), json!([misspelt])),
        (format!("/stats/retention?{days}&start_event=purchse&return_event=purchase"), json!([misspelt])),
        (
            "/stats/count?from=2024-03-01T00:00:00Z&to=2024-03-02T00:00:00Z&event_type=login".into(),
            json!(["weir knows no event type 'login' in this project."]),
        ),
        (format!("/stats/dau?{days}&segment=event_type:purchase,K%C3%A4ufe"), Value::Null),
        (format!("/stats/dau?{days}"), Value::Null),
    ] {
        let answer = weir.ask(&project, &path).await;
        assert_eq!(answer["warnings"], warnings, "{path}");
    }
    let step = |event_type: &str| json!({"event_type": event_type});
    let funnel =
        json!({"from": "2024-03-01", "to": "2024-03-02", "steps": [step("purchse"), step("purchase")]});
    let request = weir.http.post(weir.url("/stats/funnel")).header("X-API-Key", &project.read);
    assert_eq!(json_of(request.json(&funnel).send().await.unwrap()).await.1["warnings"], json!([misspelt]));

    // A table has it beside its rows; and no tag, because the same rows may come without the warning.
    let table = |segment: &str| {
        weir.get(&project, &format!("/stats/dau?{days}&format=csv&segment=event_type:{segment}")).send()
    };
    let response = table("purchse").await.unwrap();
    assert_eq!(response.headers()["x-warning"], misspelt);
    assert!(!response.headers().contains_key("etag"));
    assert_eq!(response.text().await.unwrap(), "date,active_users\n2024-03-01,0\n2024-03-02,0\n");
    let response = table("K%C3%A4uf").await.unwrap();
    let expected = "weir knows no event type 'K%C3%A4uf' in this project. Did you mean 'K%C3%A4ufe'?";
    assert_eq!(response.headers()["x-warning"], expected);
    assert!(!table("purchase").await.unwrap().headers().contains_key("x-warning"));
    weir.stop().await;
}
