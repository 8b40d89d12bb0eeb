//! What all questions have in common: segments, CSV, limits of what they cost. What the numbers are is compared with
//! definitions in `oracle.rs` and `shop.rs`.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection;

use crate::support::{Project, Weir, eventually, json as json_of};

async fn clicks(weir: &Weir) -> Project {
    let project = weir.project("clicks", "UTC").await;
    let event = |user: &str, event_type: &str, minute: u32, properties: Value| {
        json!({"user_id": user, "event_type": event_type, "occurred_at": format!("2024-03-10T12:{minute:02}:00Z"),
               "properties": properties})
    };
    let events = json!([
        event("anna", "view", 0, json!({"country": "UA", "path": "a,\"b\""})),
        event("anna", "buy", 10, json!({"country": "UA", "amount": 49.9})),
        event("ben", "view", 1, json!({"country": "PL"})),
        event("ben", "view", 2, json!({})),
        event("eve", "view", 3, json!({"country": "UA, or so"})),
    ]);
    assert_eq!(weir.send(&project, &events).await.0, 202);
    weir.wait_for_events(5).await;
    project
}

#[tokio::test]
async fn every_answer_is_a_table_for_whoever_asks_for_one() {
    let weir = Weir::start().await;
    let project = clicks(&weir).await;
    let day = "from=2024-03-10&to=2024-03-10";
    for (path, table) in [
        (format!("/stats/dau?{day}"), "date,active_users\n2024-03-10,3\n"),
        (
            format!("/stats/active-users?{day}&interval=month"),
            "period,active_users,complete\n2024-03-01,3,true\n",
        ),
        (format!("/stats/top-events?{day}"), "event_type,events,users\nview,4,3\nbuy,1,1\n"),
        (
            format!("/stats/timeseries?{day}&breakdown=properties.country&limit=1"),
            "value,period,count,complete,other\nUA,2024-03-10,2,true,false\n$other,2024-03-10,3,true,true\n",
        ),
        (format!("/stats/stickiness?{day}"), "days,users\n1,3\n"),
        (
            format!("/stats/lifecycle?{day}"),
            "period,new,returning,resurrecting,dormant,complete\n2024-03-10,3,0,0,0,true\n",
        ),
        (
            format!("/stats/retention?{day}&windows=1&return_event=buy"),
            "cohort,size,period,last_period,users,rate,complete\n2024-03-10,3,0,,1,0.333,true\n2024-03-10,3,1,,0,0,true\n\
             overall,3,0,,1,0.333,true\noverall,3,1,,0,0,true\n",
        ),
        (
            "/stats/count?event_type=view&from=2024-03-10T12:00:00Z&to=2024-03-10T12:02:00Z".into(),
            "event_type,count\nview,2\n",
        ),
        ("/stats/pages?date=2024-03-10".into(), "path,views,unique_users\n,0,0\n"),
    ] {
        let answer = weir.get(&project, &path).header("Accept", "text/csv").send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8", "{path}");
        assert_eq!(answer.text().await.unwrap(), table, "{path}");
    }
    let question = json!({"from": "2024-03-10", "to": "2024-03-10", "breakdown": "properties.path",
                          "steps": [{"event_type": "view"}, {"event_type": "buy"}]});
    let answer = ask_funnel(&weir, &project, &question).header("Accept", "text/csv").send().await.unwrap();
    let table = "value,step,event_type,users,rate,step_rate,median_seconds,other\n\
                 $all,1,view,3,1,1,,false\n$all,2,buy,1,0.333,0.333,600,false\n\
                 ,1,view,2,1,1,,false\n,2,buy,0,0,0,,false\n\
                 \"a,\"\"b\"\"\",1,view,1,1,1,,false\n\"a,\"\"b\"\"\",2,buy,1,1,1,600,false\n";
    assert_eq!(answer.text().await.unwrap(), table);

    // A link sets no header.
    let link = async |form: &str| {
        weir.get(&project, &format!("/stats/dau?{day}&format={form}")).send().await.unwrap()
    };
    let answer = link("csv").await;
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
    assert_eq!(answer.bytes().await.unwrap(), "date,active_users\n2024-03-10,3\n");
    assert_eq!(link("excel").await.bytes().await.unwrap(), "\u{feff}date,active_users\n2024-03-10,3\n");
    let (status, problem) = json_of(link("xml").await).await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (400, &json!("format")), "{problem}");
    weir.stop().await;
}

#[tokio::test]
async fn a_table_distinguishes_nothing_from_the_empty_text() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let event = |user: &str, properties: Value| json!({"user_id": user, "event_type": "e", "occurred_at": "2024-03-10T12:00:00Z", "properties": properties});
    let events =
        json!([event("a", json!({"v": ""})), event("b", json!({"v": ""})), event("c", json!({"v": null}))]);
    assert_eq!(weir.send(&project, &events).await.0, 202);
    weir.wait_for_events(3).await;
    let path = "/stats/timeseries?from=2024-03-10&to=2024-03-10&breakdown=properties.v&format=csv";
    let table = weir.get(&project, path).send().await.unwrap().text().await.unwrap();
    let rows = "\"\",2024-03-10,2,true,false\n,2024-03-10,1,true,false\n";
    assert_eq!(table, format!("value,period,count,complete,other\n{rows}"));
    weir.stop().await;
}

#[tokio::test]
async fn an_answer_that_a_client_has_is_not_sent_again_until_it_is_another() {
    let weir = Weir::start().await;
    let project = clicks(&weir).await;
    let path = "/stats/dau?from=2024-03-10&to=2024-03-10";
    let answer = weir.get(&project, path).send().await.unwrap();
    let tag = answer.headers()["etag"].clone();
    let again = || weir.get(&project, path).header("If-None-Match", tag.clone());
    let answer = again().send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["etag"].clone()), (304, tag.clone()));
    assert_eq!(answer.bytes().await.unwrap().len(), 0);
    let answer = again().header("Accept", "text/csv").send().await.unwrap();
    assert_eq!(answer.status(), 200, "a table is another answer");
    // A late event of a period that was over long ago.
    let late = json!({"user_id": "late", "event_type": "view", "occurred_at": "2024-03-10T09:00:00Z"});
    assert_eq!(weir.send(&project, &late).await.0, 202);
    weir.wait_for_events(6).await;
    let (status, answer) = json_of(again().send().await.unwrap()).await;
    assert_eq!((status.as_u16(), &answer["data"][0]["active_users"]), (200, &json!(4)));
    weir.stop().await;
}

fn ask_funnel(weir: &Weir, project: &Project, question: &Value) -> reqwest::RequestBuilder {
    weir.http.post(weir.url("/stats/funnel")).header("X-API-Key", &project.read).json(question)
}

#[tokio::test]
async fn segments_ask_about_some_events_only() {
    let weir = Weir::start().await;
    let project = clicks(&weir).await;
    for (segments, users) in [
        (&["event_type:view"][..], 3),
        (&["event_type:!view"], 1),
        (&["event_type:view", "event_type:buy"], 0),
        (&["properties.country:UA"], 1),
        (&["properties.country:UA,PL"], 2),
        (&["properties.country:\"UA, or so\""], 1),
        (&["properties.country:!UA"], 2),
        (&["properties.country:null"], 1),
        (&["properties.country:!null"], 3),
        (&["properties.amount:49.9"], 1),
        (&["properties.amount:\"49.9\""], 0),
        (&["properties.amount:>50"], 0),
        (&["properties.amount:<=50", "properties.country:UA"], 1),
        (&["properties.amount:<=50", "event_type:view"], 0),
    ] {
        let request = weir.get(&project, "/stats/dau?from=2024-03-10&to=2024-03-10");
        let sent: Vec<_> = segments.iter().map(|segment| ("segment", segment)).collect();
        let (status, answer) = json_of(request.query(&sent).send().await.unwrap()).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["data"][0]["active_users"], users, "{segments:?}");
    }
    let path = "/stats/dau?from=2024-03-10&to=2024-03-10&segment=country:UA&segment=properties.x:";
    let (status, problem) = json_of(weir.get(&project, path).send().await.unwrap()).await;
    assert_eq!(status, 400);
    let expected = json!([
        {"field": "segment", "code": "invalid_segment",
         "message": "expected event_type:VALUE or properties.NAME:VALUE, got 'country:UA'"},
        {"field": "segment", "code": "invalid_segment",
         "message": "expected a value: null means that there is none, \"\" is the empty text, got 'properties.x:'"},
    ]);
    assert_eq!(problem["errors"], expected);
    weir.stop().await;
}

#[tokio::test]
async fn a_question_that_costs_too_much_is_refused_with_what_to_narrow_and_holds_up_no_other() {
    let weir = Weir::start_with(&[("WEIR_QUERY_TIMEOUT", "300ms")]).await;
    let project = clicks(&weir).await;
    // Whoever reads events now, waits until its time is over.
    let mut blocking = sqlx::PgConnection::connect(&weir.database_url()).await.unwrap();
    let mut blocked = blocking.begin().await.unwrap();
    sqlx::query("lock table events in access exclusive mode").execute(&mut *blocked).await.unwrap();

    let range = "from=2024-03-01&to=2024-03-31";
    let path = format!("/stats/timeseries?{range}&breakdown=properties.path&segment=properties.country:UA");
    let (status, problem) = json_of(weir.get(&project, &path).send().await.unwrap()).await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("query_too_expensive")), "{problem}");
    assert_eq!(problem["detail"], "the answer takes longer than 300 milliseconds: narrow the question");
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    assert_eq!(fields, ["from", "segment", "breakdown"], "{problem}");
    assert_eq!(problem["errors"][0]["message"], "ask for fewer days than 31");

    // What activity knows is answered meanwhile, also of event types.
    let path = format!("/stats/timeseries?{range}&breakdown=event_type&segment=event_type:view");
    assert_eq!(weir.ask(&project, &path).await["series"][0]["value"], "view");
    for (from, to) in
        [("2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z"), ("2024-03-05T10:00:00Z", "2024-03-05T10:00:00Z")]
    {
        weir.ask(&project, &format!("/stats/count?event_type=view&from={from}&to={to}")).await;
    }
    blocked.rollback().await.unwrap();
    blocking.close().await.unwrap();
    weir.stop().await;
}

#[tokio::test]
async fn questions_that_are_abandoned_are_cancelled_and_keep_their_turns_until_then() {
    let weir = Weir::start_with(&[("WEIR_QUERY_TIMEOUT", "10m"), ("WEIR_EVENT_QUERIES", "2")]).await;
    let (project, other) = (clicks(&weir).await, weir.project("other", "UTC").await);
    let mut blocking = sqlx::PgConnection::connect(&weir.database_url()).await.unwrap();
    let mut blocked = blocking.begin().await.unwrap();
    sqlx::query("lock table events in access exclusive mode").execute(&mut *blocked).await.unwrap();

    let path = "/stats/timeseries?from=2024-03-01&to=2024-03-31&segment=properties.country:UA";
    let at_work = || {
        weir.number(
            "select count(*) from pg_stat_activity
             where datname = current_database() and application_name like 'weir question %'
                   and wait_event_type = 'Lock'",
        )
    };
    for _ in 0..10 {
        let questions = (0..10).map(|_| weir.get(&project, path).timeout(Duration::from_secs(1)).send());
        let one_works = eventually("a question is at work", at_work, |questions| *questions > 0);
        let (answers, working) = futures::join!(futures::future::join_all(questions), one_works);
        assert_eq!(working, 1, "a project has half of the permits");
        assert!(answers.into_iter().all(|answer| answer.is_err_and(|error| error.is_timeout())));
        eventually("nobody asks any more", at_work, |questions| *questions == 0).await;
    }
    let waiting = weir.get(&project, path).timeout(Duration::from_secs(1)).send();
    assert!(waiting.await.is_err_and(|error| error.is_timeout()));
    // Neither keys nor health checks nor other projects' questions wait for them.
    assert_eq!(weir.http.get(weir.url("/ready")).send().await.unwrap().status(), 200);
    weir.ask(&other, "/stats/dau?from=2024-03-01&to=2024-03-31").await;

    blocked.rollback().await.unwrap();
    blocking.close().await.unwrap();
    weir.ask(&project, path).await;
    weir.stop().await;
}

#[tokio::test]
async fn a_funnel_that_is_not_one_is_refused_with_the_reason() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let steps = json!([{"event_type": "a"}, {"event_type": "b"}]);
    for (question, status, field) in [
        (
            json!({"from": "2024-03-01", "to": "2024-03-31", "steps": [{"event_type": "a"}]}),
            400,
            Some("steps"),
        ),
        (
            json!({"from": "2024-03-01", "to": "2024-03-31", "steps": steps, "windw": "1h"}),
            400,
            Some("windw"),
        ),
        (
            json!({"from": "2024-03-01", "to": "2024-03-31", "steps": [{"event_type": "a"}, {"event": "b"}]}),
            400,
            Some("steps[1].event"),
        ),
        (json!({"from": "2024-03-01", "to": "2024-03-31", "steps": ["a", "b"]}), 400, Some("steps[0]")),
        (json!({"from": 1, "to": "2024-03-31", "steps": steps, "limit": 1_000}), 400, Some("from")),
        (json!({"from": "2024-03-02", "to": "2024-03-01", "steps": steps}), 400, Some("to")),
        (
            json!({"from": "2024-03-01", "to": "2024-03-31", "steps": steps, "window": "2years"}),
            400,
            Some("window"),
        ),
        (
            json!({"from": "2024-03-01", "to": "2024-03-31", "steps": steps, "breakdown": "x"}),
            400,
            Some("breakdown"),
        ),
        (
            json!({"from": "2024-03-01", "to": "2024-03-31",
                   "steps": [{"event_type": "a", "segment": ["x"]}, {"event_type": "b"}]}),
            400,
            Some("steps[0].segment"),
        ),
        (
            json!({"from": "2024-03-01", "to": "2024-03-31", "steps": [{"event_type": "a"}, {"event_type": ""}]}),
            400,
            Some("steps[1].event_type"),
        ),
    ] {
        let (found, problem) = json_of(ask_funnel(&weir, &project, &question).send().await.unwrap()).await;
        assert_eq!(found.as_u16(), status, "{question}: {problem}");
        if let Some(field) = field {
            assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        }
    }
    let post = async |path: &str, body: String| {
        let request = weir.http.post(weir.url(path)).header("X-API-Key", &project.read).body(body);
        json_of(request.header("Content-Type", "application/json").send().await.unwrap()).await
    };
    let funnel = json!({"from": "2024-03-01", "to": "2024-03-31", "steps": steps, "window": "2years"});
    let users = json!({"funnel": funnel, "step": 1, "who": "reached"}).to_string();
    let (_, problem) = post("/stats/funnel/users", users).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("'funnel.window' is not valid: expected a duration"), "{problem}");
    assert_eq!(problem["errors"][0]["field"], "funnel.window");
    let message = problem["errors"][0]["message"].as_str().unwrap();
    assert!(message.ends_with("got '2years'"), "{problem}");

    let question = json!({"from": "2024-03-01", "to": "2024-03-31", "steps": steps}).to_string();
    let (status, answer) = post("/stats/funnel", format!("\u{feff}{question}")).await;
    assert_eq!(status, 200, "{answer}");
    let twice = question.replace(r#""event_type":"b""#, r#""event_type":"a","event_type":"b""#);
    let (status, problem) = post("/stats/funnel", twice).await;
    assert_eq!(status, 400, "{problem}");
    let error = &problem["errors"][0];
    assert_eq!((&error["field"], &error["code"]), (&json!("steps[1].event_type"), &json!("repeated_field")));

    let asked = weir.http.post(weir.url("/stats/funnel")).header("X-API-Key", &project.read).body("{}");
    let (status, problem) = json_of(asked.send().await.unwrap()).await;
    assert_eq!(status, 415);
    assert!(problem["detail"].as_str().unwrap().contains("application/json"), "{problem}");
    weir.stop().await;
}

#[tokio::test]
async fn values_that_no_calendar_and_no_number_has_are_the_questions_fault() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    for day in ["+262142-12-31", "-5000-01-01", " 2026-1-1", "2026-02-31", "20260101"] {
        let steps = json!([{"event_type": "a"}, {"event_type": "b"}]);
        let body = json!({"from": day, "to": "2026-01-31", "steps": steps});
        let request =
            weir.http.post(weir.url("/stats/funnel")).header("X-API-Key", &project.read).json(&body);
        let (status, problem) = json_of(request.send().await.unwrap()).await;
        assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (400, &json!("from")), "{problem}");
        let message = problem["errors"][0]["message"].as_str().unwrap();
        assert!(message.starts_with("expected a day of the calendar as YYYY-MM-DD"), "{problem}");
    }
    for value in ["1e-20000", ">1e-20000", "1e400", "99999999999999999999e399"] {
        let path = format!("/stats/dau?from=2026-01-01&to=2026-01-02&segment=properties.a:{value}");
        let (status, answer) = json_of(weir.get(&project, &path).send().await.unwrap()).await;
        assert!([200, 400].contains(&status.as_u16()), "{value}: {answer}");
    }
    weir.stop().await;
}
