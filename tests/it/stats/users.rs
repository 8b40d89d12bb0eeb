//! Users by name: what is known of one, and who is behind a number.

use serde_json::{Value, json};

use crate::support::{Project, Weir, json as json_of};

async fn project_with(weir: &Weir) -> Project {
    let project = weir.project("p", "UTC").await;
    let event = |user: &str, event_type: &str, day: u32| json!({"user_id": user, "event_type": event_type, "occurred_at": format!("2024-03-{day:02}T12:00:00Z")});
    // One request each, so that weir meets them in this order.
    let stories = [
        vec![event("anna", "signup", 4), event("anna", "open", 5), event("anna", "buy", 6)],
        vec![event("ben", "signup", 4), event("ben", "open", 6)],
        vec![event("eve", "signup", 5)],
    ];
    let mut sent = 0;
    for events in stories {
        assert_eq!(weir.send(&project, &json!(events)).await.0, 202);
        sent += i64::try_from(events.len()).unwrap();
        weir.wait_for_events(sent).await;
    }
    project
}

fn names(answer: &Value) -> Vec<&str> {
    answer["users"].as_array().unwrap().iter().map(|user| user["user_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn behind_each_number_are_its_users() {
    let weir = Weir::start().await;
    let project = project_with(&weir).await;
    let retention =
        "retention/users?from=2024-03-04&to=2024-03-05&windows=3&start_event=signup&return_event=open";
    for (path, expected) in [
        ("active-users/users?from=2024-03-04&to=2024-03-10".to_owned(), &["anna", "ben", "eve"][..]),
        ("active-users/users?from=2024-03-06&to=2024-03-06".into(), &["anna", "ben"]),
        ("active-users/users?from=2024-03-04&to=2024-03-10&segment=event_type:buy".into(), &["anna"]),
        ("lifecycle/users?period=2024-03-05&state=new".into(), &["eve"]),
        ("lifecycle/users?period=2024-03-05&state=returning".into(), &["anna"]),
        ("lifecycle/users?period=2024-03-05&state=dormant".into(), &["ben"]),
        ("lifecycle/users?period=2024-03-06&state=resurrecting".into(), &["ben"]),
        ("stickiness/users?from=2024-03-04&to=2024-03-10&days=2".into(), &["ben"]),
        ("stickiness/users?from=2024-03-04&to=2024-03-10&days=9".into(), &[]),
        (format!("{retention}&cohort_date=2024-03-04&period=1"), &["anna"]),
        (format!("{retention}&cohort_date=2024-03-04&period=1&who=missing"), &["ben"]),
        (format!("{retention}&cohort_date=2024-03-04&period=1&who=all"), &["anna", "ben"]),
        (format!("{retention}&cohort_date=2024-03-04&period=2&window=elapsed"), &["ben"]),
        (format!("{retention}&cohort_date=2024-03-04&criteria=on_or_after&period=1"), &["anna", "ben"]),
    ] {
        let answer = weir.ask(&project, &format!("/stats/{path}")).await;
        assert_eq!(names(&answer), expected, "{path}");
        assert_eq!((&answer["total"], &answer["next"]), (&json!(expected.len()), &json!(null)), "{path}");
    }
    for (path, field) in
        [("&cohort_date=2024-03-07", "cohort_date"), ("&cohort_date=2024-03-04&period=9", "period")]
    {
        let path = format!("/stats/{retention}{path}");
        let (status, problem) = json_of(weir.get(&project, &path).send().await.unwrap()).await;
        assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (400, &json!(field)), "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("'{field}' is not valid: expected")), "{problem}");
    }

    let steps = ["signup", "open", "buy"].map(|event_type| json!({"event_type": event_type}));
    let funnel = json!({"from": "2024-03-04", "to": "2024-03-05", "steps": steps});
    for (step, who, expected) in [
        (1, "reached", &["anna", "ben", "eve"][..]),
        (1, "dropped", &["eve"]),
        (2, "dropped", &["ben"]),
        (3, "dropped", &["anna"]),
    ] {
        let question = json!({"funnel": funnel, "step": step, "who": who});
        let request = weir.http.post(weir.url("/stats/funnel/users")).header("X-API-Key", &project.read);
        let (status, answer) = json_of(request.json(&question).send().await.unwrap()).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(names(&answer), expected, "{question}");
    }
    weir.stop().await;
}

#[tokio::test]
async fn users_come_in_pages() {
    let weir = Weir::start().await;
    let project = project_with(&weir).await;
    let path = "/stats/active-users/users?from=2024-03-04&to=2024-03-10&limit=2";
    let first = weir.ask(&project, path).await;
    assert_eq!((names(&first), &first["total"]), (vec!["anna", "ben"], &json!(3)));
    let next = format!("{path}&cursor={}", first["next"].as_str().unwrap());
    let second = weir.ask(&project, &next).await;
    assert_eq!((names(&second), &second["total"], &second["next"]), (vec!["eve"], &json!(3), &json!(null)));
    weir.stop().await;
}

#[tokio::test]
async fn a_user_has_a_page() {
    let weir = Weir::start().await;
    let project = project_with(&weir).await;
    let user = weir.ask(&project, "/users/anna").await;
    assert_eq!(user["first_seen"], "2024-03-04T12:00:00Z");
    assert_eq!(user["last_seen"], "2024-03-06T12:00:00Z");
    assert_eq!(user["events"], 3);
    let buy = json!({"event_type": "buy", "events": 1, "first_seen": "2024-03-06T12:00:00Z",
                     "last_seen": "2024-03-06T12:00:00Z"});
    assert_eq!(user["event_types"][0], buy);
    assert_eq!(
        (&user["timeline"]["count"], &user["timeline"]["events"][0]["event_type"]),
        (&json!(3), &json!("buy"))
    );
    let (status, problem) = json_of(weir.get(&project, "/users/nobody").send().await.unwrap()).await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("not_found")), "{problem}");
    weir.stop().await;
}
