//! Promoted properties: answers stay what they are, and come from activity.

mod rebuild;

use chrono::{Days, NaiveDate, TimeDelta, Utc};
use serde_json::{Value, json};

use super::shop::clickstream;
use crate::support::{PATIENCE, Project, Weir, eventually};

/// Promotes and waits until it is ready.
pub async fn promote(weir: &Weir, project: &Project, property: &str) -> String {
    let arguments = ["project", "promote", &project.name, property];
    let promoted = tokio::time::timeout(PATIENCE, weir.run(&arguments)).await;
    promoted.expect("it is ready").succeeded().stdout
}

async fn show(weir: &Weir, project: &Project) -> String {
    weir.run(&["project", "show", &project.name]).await.succeeded().stdout
}

pub async fn answers(weir: &Weir, project: &Project, questions: &[String]) -> Vec<Value> {
    let mut answers = Vec::new();
    for question in questions {
        let mut answer = weir.ask(project, question).await;
        let fields = answer.as_object_mut().unwrap();
        // The moment of the question, and an order that is that of the users' numbers.
        fields.retain(|field, _| !["as_of", "data_through"].contains(&field.as_str()));
        if let Some(Value::Array(users)) = fields.get_mut("users") {
            users.sort_by_key(|user| user["user_id"].as_str().map(str::to_owned));
        }
        answers.push(answer);
    }
    answers
}

pub fn assert_same(questions: &[String], found: &[Value], expected: &[Value], when: &str) {
    for ((question, found), expected) in questions.iter().zip(found).zip(expected) {
        assert_eq!(found, expected, "{question} {when}");
    }
}

/// Questions that activity answers if the property of the segment, and of the breakdown, is promoted.
pub fn of_activity(range: &str, segment: &str, breakdown: &str) -> Vec<String> {
    let mut questions: Vec<String> = [
        "dau?",
        "active-users?interval=week&",
        "active-users/users?",
        "top-events?",
        "stickiness?",
        "lifecycle?interval=week&",
        "timeseries?",
        "timeseries?interval=week&measure=users&",
        "timeseries?breakdown=event_type&",
        "retention?",
        "retention?window_type=weekly&cohort=recurring&criteria=on_or_after&",
    ]
    .iter()
    .map(|question| format!("/stats/{question}{range}&segment={segment}"))
    .collect();
    for by in
        ["interval=day&measure=events", "interval=month&measure=users&limit=2", "segment=event_type:!e1"]
    {
        questions.push(format!("/stats/timeseries?{range}&breakdown={breakdown}&{by}"));
        questions.push(format!("/stats/timeseries?{range}&breakdown={breakdown}&{by}&segment={segment}"));
    }
    questions
}

/// Questions some part of which events answer.
fn of_events(range: &str, segment: &str) -> Vec<String> {
    [
        "retention?start_event=e1&",
        "retention?cohort=first_ever&start_event=e1&",
        "retention?as_of=2024-03-20T12:34:56Z&",
    ]
    .iter()
    .map(|question| format!("/stats/{question}{range}&segment={segment}"))
    .collect()
}

/// Takes all properties out of the events, behind weir's back: what still knows them is activity.
async fn empty_events(weir: &Weir) {
    weir.execute("update events set properties = '{}'").await;
}

#[tokio::test]
async fn answers_about_a_shop_stay_the_same_and_come_from_activity() {
    let weir = Weir::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = clickstream(directory.path());
    let project = weir.project("shop", "America/New_York").await;
    weir.run(&["import", &file, "--project", "shop"]).await.succeeded();
    weir.wait_for_events(31_106).await;

    let range = "from=2024-01-01&to=2024-06-30";
    let mut questions = Vec::new();
    for channel in ["email", "!email,ads", "null", "!null"] {
        let segment = format!("properties.channel:{channel}");
        questions.extend(of_activity(range, &segment, "properties.channel"));
        questions.push(format!(
            "/stats/timeseries?from=2024-03-08&to=2024-03-12&interval=hour&segment={segment}&breakdown=event_type"
        ));
        questions.push(format!(
            "/stats/count?event_type=product_view&from=2024-02-01T05:00:00Z&to=2024-04-01T04:00:00Z&segment={segment}"
        ));
    }
    let mut also = of_events(range, "properties.channel:email");
    also.push(format!(
        "/stats/dau?{range}&segment=properties.channel:email&segment=properties.platform:mobile"
    ));
    also.push(format!(
        "/stats/retention?{range}&start_event=home&return_event=purchase&segment=properties.channel:!email"
    ));
    let before = answers(&weir, &project, &questions).await;
    let before_also = answers(&weir, &project, &also).await;

    let said = promote(&weir, &project, "properties.channel").await;
    assert_eq!(said, "Questions about properties.channel are answered from bitmaps now.\n");
    promote(&weir, &project, "properties.channel").await;
    assert!(show(&weir, &project).await.ends_with("promoted properties.channel: ready\n"));
    assert_same(&questions, &answers(&weir, &project, &questions).await, &before, "after the promotion");
    assert_same(&also, &answers(&weir, &project, &also).await, &before_also, "after the promotion");
    weir.wait_for_events(31_106).await;

    // There is a session for every few events.
    let refused = weir.run(&["project", "promote", "shop", "properties.session_id"]).await;
    assert!(!refused.status.success());
    let reason = "it has more than 1000 different values";
    assert!(
        refused.stderr.contains(&format!("properties.session_id was not promoted: {reason}")),
        "{refused:?}"
    );
    assert!(
        show(&weir, &project).await.contains(&format!("promoted properties.session_id: stopped: {reason}"))
    );
    let doctor = weir.run(&["doctor"]).await.stdout;
    assert!(doctor.contains(&format!("shop: properties.session_id: {reason}")), "{doctor}");
    assert!((weir.metric(&weir.worker, "promotions_stopped_total").await - 1.0).abs() < 0.5);
    wait_for_numbers(&weir, 1).await;

    empty_events(&weir).await;
    assert_same(&questions, &answers(&weir, &project, &questions).await, &before, "without events");
    weir.run(&["project", "demote", "shop", "properties.channel"]).await.succeeded();
    let without = answers(&weir, &project, &questions).await;
    assert_ne!(without, before, "events are read again");
    weir.stop().await;
}

/// Waits until activity has rows of the values of so many properties, and of no others.
async fn wait_for_numbers(weir: &Weir, properties: i64) {
    let left = || async {
        let query = "select (select count(distinct property) from property_values),
                            (select count(*) from former_values),
                            (select count(*) from activity_daily where value_no <> 0 and not exists (
                                select from property_values as known
                                where known.project_id = activity_daily.project_id
                                  and known.value_no = activity_daily.value_no
                            ))";
        sqlx::query_as::<_, (i64, i64, i64)>(query).fetch_one(&weir.pool).await.unwrap()
    };
    eventually("rows of former values are gone", left, |left| *left == (properties, 0, 0)).await;
}

const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2024, 3, 30).unwrap();

/// An event whose property `x` is one of many kinds of values, around the end of daylight saving time on Lord Howe Island,
/// which is half an hour, and around today.
fn event(number: u32) -> Value {
    let mut properties = match number % 17 {
        0 => json!({}),
        1 => json!({"x": null}),
        2 => json!({"x": "a"}),
        3 => json!({"x": 1}),
        4 => json!({"x": 1.0}),
        5 => json!({"x": "1"}),
        6 => json!({"x": true}),
        7 => json!({"x": "true"}),
        8 => json!({"x": [1, "a", null]}),
        9 => json!({"x": []}),
        10 => json!({"x": {"b": 1, "a": "київ"}}),
        11 => json!({"x": "київ, \"so\" 💧"}),
        12 => json!({"x": -2.5e-3}),
        13 => json!({"x": ""}),
        14 => json!({"x": false}),
        15 => json!({"x": {"a": "київ", "b": 1}}),
        _ => json!({"x": 12_345_678_901_234_567_890_u64}),
    };
    properties["y"] = (number % 5).into();
    let at = if number.is_multiple_of(4) {
        Utc::now() - TimeDelta::hours(i64::from(number % 70))
    } else {
        let day = FIRST_DAY + Days::new(u64::from(number % 16));
        day.and_hms_opt(number * 7 % 24, number * 11 % 60, number * 13 % 60).unwrap().and_utc()
    };
    json!({"event_id": format!("event-{number}"), "event_type": format!("e{}", number % 3),
           "user_id": format!("user-{}", number * number % 23), "occurred_at": at, "properties": properties})
}

/// The same events to both: of one property `x` is promoted, of the other it is not.
pub async fn send(weir: &Weir, projects: &[&Project; 2], numbers: std::ops::Range<u32>) {
    let events: Vec<Value> = numbers.map(event).collect();
    for project in projects {
        let (status, answer) = weir.send(project, &json!(events)).await;
        assert_eq!((status.as_u16(), &answer["accepted"]), (202, &json!(events.len())), "{answer}");
    }
}

fn questions_about_x() -> Vec<String> {
    let mut questions = Vec::new();
    let ranges = [
        "from=2024-03-29&to=2024-04-16".to_owned(),
        format!(
            "from={}&to={}",
            Utc::now().date_naive() - Days::new(9),
            Utc::now().date_naive() + Days::new(1)
        ),
    ];
    for range in ranges {
        for values in [
            "a",
            "1",
            "1.0",
            "\"1\"",
            "true",
            "false",
            "null",
            "!null",
            "!a,1",
            ">0",
            "<=1",
            "!>0",
            "\"\"",
            "\"київ, \\\"so\\\" 💧\"",
            "a,null",
            "no such value",
            "!no such value",
            "12345678901234567890",
        ] {
            questions.push(format!("/stats/dau?{range}&segment=properties.x:{values}"));
            questions.push(format!(
                "/stats/timeseries?{range}&breakdown=event_type&segment=properties.x:{values}"
            ));
        }
        for values in ["a,null", "!1", ">0"] {
            questions.extend(of_activity(&range, &format!("properties.x:{values}"), "properties.x"));
        }
        // Several conditions on one property.
        questions.push(format!("/stats/dau?{range}&segment=properties.x:>0&segment=properties.x:<2"));
        questions.push(format!("/stats/timeseries?{range}&breakdown=properties.x&limit=50"));
    }
    let hours = "/stats/timeseries?from=2024-04-06&to=2024-04-08&interval=hour";
    questions.push(format!("{hours}&breakdown=properties.x"));
    questions.push(format!("{hours}&segment=properties.x:a,null&measure=users"));
    questions
}

pub async fn assert_twins(weir: &Weir, [promoted, plain]: &[&Project; 2], when: &str) {
    let questions = questions_about_x();
    let found = answers(weir, promoted, &questions).await;
    assert_same(&questions, &found, &answers(weir, plain, &questions).await, when);
    let also = of_events("from=2024-03-29&to=2024-04-16", "properties.x:!a");
    let found = answers(weir, promoted, &also).await;
    assert_same(&also, &found, &answers(weir, plain, &also).await, when);
}

#[tokio::test]
async fn a_property_with_too_many_or_too_long_values_stops_and_events_go_on() {
    let weir = Weir::start().await;
    let (promoted, plain) = (weir.project("promoted", "UTC").await, weir.project("plain", "UTC").await);
    let twins = [&promoted, &plain];
    send(&weir, &twins, 0..50).await;
    weir.wait_for_events(100).await;
    let with = |property: &str, value: Value, number: usize| {
        json!({"event_id": format!("{property}-{number}"), "event_type": "e1", "user_id": "u",
               "occurred_at": "2024-04-02T10:00:00Z", "properties": {property: value}})
    };
    let many: Vec<Value> = (0..1_001).map(|number| with("x", number.into(), number)).collect();
    let long = vec![with("z", "я".repeat(100).into(), 0)];
    let mut stored = 100;
    for (property, events, reason) in [
        ("properties.x", many, "it has more than 1000 different values"),
        ("properties.z", long, "a value of it is longer than 200 bytes"),
    ] {
        promote(&weir, &promoted, property).await;
        wait_for_numbers(&weir, 1).await;
        for project in twins {
            assert_eq!(weir.send(project, &json!(events)).await.0, 202);
            stored += i64::try_from(events.len()).unwrap();
        }
        weir.wait_for_events(stored).await;
        let line = format!("promoted {property}: stopped: {reason}");
        assert!(show(&weir, &promoted).await.contains(&line), "{}", show(&weir, &promoted).await);
        assert_twins(&weir, &twins, reason).await;
        wait_for_numbers(&weir, 0).await;
        let refused = weir.run(&["project", "promote", "promoted", property]).await;
        assert!(
            !refused.status.success() && refused.stderr.contains(reason),
            "history has them too: {refused:?}"
        );
    }

    // What is promoted anew after a demotion has numbers of its own.
    promote(&weir, &promoted, "properties.y").await;
    weir.run(&["project", "demote", "promoted", "properties.y"]).await.succeeded();
    promote(&weir, &promoted, "properties.y").await;
    let questions = of_activity("from=2024-03-29&to=2024-04-16", "properties.y:2", "properties.y");
    let before = answers(&weir, &plain, &questions).await;
    assert_same(&questions, &answers(&weir, &promoted, &questions).await, &before, "after a demotion");
    wait_for_numbers(&weir, 1).await;
    assert_same(&questions, &answers(&weir, &promoted, &questions).await, &before, "when it is removed");
    weir.stop().await;
}

#[tokio::test]
async fn what_cannot_be_promoted_is_refused() {
    let weir = Weir::start().await;
    weir.project("p", "UTC").await;
    for (arguments, expected) in [
        (["promote", "p", "country"], "expected properties.NAME, such as properties.country"),
        (["promote", "p", "properties.a.b"], "only properties without a dot in their names can be promoted"),
        (["promote", "q", "properties.a"], "there is no project 'q'"),
        (["demote", "p", "properties.a"], "properties.a is not promoted"),
    ] {
        let refused = weir.run(&[&["project"], &arguments[..]].concat()).await;
        assert!(!refused.status.success() && refused.stderr.contains(expected), "{refused:?}");
    }
    for number in 0..10 {
        let promoted =
            weir.run(&["project", "promote", "p", &format!("properties.p{number}")]).await.succeeded();
        assert!(
            promoted.stdout.contains(&format!("No event has properties.p{number} so far")),
            "{promoted:?}"
        );
    }
    let refused = weir.run(&["project", "promote", "p", "properties.p10"]).await;
    assert!(refused.stderr.contains("demote one of them first"), "{refused:?}");
    weir.run(&["project", "promote", "p", "properties.p3"]).await.succeeded();
    weir.stop().await;
}
