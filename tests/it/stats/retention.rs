//! The worked examples of docs/statistics.md and others like them, through the HTTP interface.

use serde_json::{Value, json};

use crate::support::{Project, Weir};

/// One project per time zone and first day of the week, with events `TYPE USER MM-DDTHH:MM` of 2026 in UTC.
async fn project_with(weir: &Weir, name: &str, options: &[&str], events: &[&str]) -> Project {
    let project = weir.project_with(name, options).await;
    let before = weir.counts().await.0;
    let event = |text: &&str| {
        let mut parts = text.split(' ');
        let (event_type, user, time) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let level: Option<u32> = parts.next().map(|level| level.parse().unwrap());
        json!({"event_type": event_type, "user_id": user, "occurred_at": format!("2026-{time}:00Z"),
               "properties": level.map_or(json!({}), |level| json!({"level": level}))})
    };
    let events: Vec<Value> = events.iter().map(event).collect();
    let (status, answer) = weir.send(&project, &json!(events)).await;
    assert_eq!(status, 202, "{answer}");
    weir.wait_for_events(before + i64::try_from(events.len()).unwrap()).await;
    project
}

/// Of each cohort date, size and cells, where a star marks an incomplete one; last the overall row.
async fn table(weir: &Weir, project: &Project, question: &str) -> Vec<String> {
    let answer = weir.ask(project, &format!("/stats/retention?{question}")).await;
    let row = |cohort: &Value| {
        let cells = cohort["periods"]
            .as_array()
            .unwrap()
            .iter()
            .map(|cell| format!("{}{}", cell["users"], if cell["complete"] == true { "" } else { "*" }));
        let date = &cohort["cohort"].as_str().unwrap()[5..];
        format!("{date} {}: {}", cohort["size"], cells.collect::<Vec<_>>().join(" "))
    };
    let mut rows: Vec<String> = answer["cohorts"].as_array().unwrap().iter().map(row).collect();
    let overall = answer["overall"].as_array().unwrap().iter();
    rows.push(
        overall.map(|cell| format!("{}/{}", cell["users"], cell["size"])).collect::<Vec<_>>().join(" "),
    );
    rows
}

const SIGNUP_TO_OPEN: [&str; 10] = [
    "signup A 03-02T10:00",
    "signup B 03-02T23:50",
    "signup C 03-02T08:00",
    "signup D 03-03T13:00",
    "signup E 03-03T20:00",
    "open A 03-03T09:00",
    "open A 03-05T11:00",
    "open B 03-03T00:10",
    "open D 03-04T14:00",
    "open E 03-06T08:00",
];
const ASKED: &str =
    "from=2026-03-02&to=2026-03-03&start_event=signup&return_event=open&as_of=2026-03-06T12:00:00Z";

#[tokio::test]
async fn signup_to_open() {
    let weir = Weir::start().await;
    let utc = project_with(&weir, "utc", &[], &SIGNUP_TO_OPEN).await;
    for (name, options, rows) in [
        (
            "n-day, calendar",
            "windows=4",
            ["03-02 3: 0 2 0 1 0*", "03-03 2: 0 1 0 1* 0*", "0/5 3/5 0/5 1/3 0/0"],
        ),
        (
            "unbounded",
            "windows=4&criteria=on_or_after",
            ["03-02 3: 2 2 1 1 0*", "03-03 2: 2 2 1 1* 0*", "4/5 4/5 2/5 1/3 0/0"],
        ),
        (
            "elapsed",
            "windows=3&window=elapsed",
            ["03-02 3: 2 0 0 1*", "03-03 2: 0 1 1* 0*", "2/5 1/5 0/3 0/0"],
        ),
        ("brackets", "brackets=1,2,4", ["03-02 3: 0 2 1*", "03-03 2: 0 1 1*", "0/5 3/5 0/0"]),
    ] {
        assert_eq!(table(&weir, &utc, &format!("{ASKED}&{options}")).await, rows, "{name}");
    }
    let answer = weir.ask(&utc, &format!("/stats/retention?{ASKED}&windows=4")).await;
    assert_eq!(answer["overall"][3], json!({"period": 3, "users": 1, "size": 3, "rate": 0.333}));
    assert_eq!(answer["as_of"], "2026-03-06T12:00:00Z");
    assert_eq!(answer["data_through"], "2026-03-06T12:00:00Z");
    let answer = weir.ask(&utc, &format!("/stats/retention?{ASKED}&brackets=1,2,4")).await;
    let bracket = json!({"period": 3, "last_period": 6, "users": 1, "rate": 0.333, "complete": false});
    assert_eq!(answer["cohorts"][0]["periods"][2], bracket);
    let answer = weir.ask(&utc, &format!("/stats/retention?{ASKED}&brackets=1,1")).await;
    let bracket = json!({"period": 1, "last_period": 1, "users": 2, "rate": 0.667, "complete": true});
    assert_eq!(answer["cohorts"][0]["periods"][1], bracket, "one of a single period too");

    let new_york =
        project_with(&weir, "new-york", &["--timezone", "America/New_York"], &SIGNUP_TO_OPEN).await;
    let rows = table(&weir, &new_york, &format!("{ASKED}&windows=1")).await;
    assert_eq!(rows[0], "03-02 3: 1 1", "B signs up at 18:50 and opens at 19:10");
    weir.stop().await;
}

#[tokio::test]
async fn daylight_saving_weeks_and_months() {
    let weir = Weir::start().await;
    let asked = |day: &str, more: &str| {
        format!("from=2026-{day}&to=2026-{day}&windows=1&start_event=signup&return_event=open&{more}")
    };
    let events = ["signup A 03-07T17:00", "open A 03-08T16:30"];
    let spring = project_with(&weir, "spring", &["--timezone", "America/New_York"], &events).await;
    assert_eq!(table(&weir, &spring, &asked("03-07", "")).await[0], "03-07 1: 0 1", "the next day");
    let elapsed = table(&weir, &spring, &asked("03-07", "window=elapsed")).await;
    assert_eq!(elapsed[0], "03-07 1: 1 0", "after 23.5 hours");
    let events = ["signup A 03-08T05:00", "open A 03-09T04:00"];
    let short = project_with(&weir, "short", &["--timezone", "America/New_York"], &events).await;
    assert_eq!(table(&weir, &short, &asked("03-08", "")).await[0], "03-08 1: 0 1", "a day of 23 hours");

    let events = ["signup A 03-07T12:00", "open A 03-08T12:00"];
    let sunday = project_with(&weir, "sunday", &["--week-start", "sunday"], &events).await;
    let monday = project_with(&weir, "monday", &["--week-start", "monday"], &events).await;
    let weekly = asked("03-07", "window_type=weekly");
    assert_eq!(table(&weir, &sunday, &weekly).await[0], "03-01 1: 0 1");
    assert_eq!(table(&weir, &monday, &weekly).await[0], "03-02 1: 1 0");
    assert_eq!(table(&weir, &sunday, &format!("{weekly}&window=elapsed")).await[0], "03-01 1: 1 0");

    let events = ["signup A 02-25T12:00", "open A 03-03T12:00", "signup B 01-31T12:00", "open B 02-28T12:00"];
    let months = project_with(&weir, "months", &[], &events).await;
    for (day, calendar, elapsed) in
        [("02-25", "02-01 1: 0 1", "02-01 1: 1 0"), ("01-31", "01-01 1: 0 1", "01-01 1: 1 0")]
    {
        let monthly = asked(day, "window_type=monthly");
        assert_eq!(table(&weir, &months, &monthly).await[0], calendar);
        assert_eq!(table(&weir, &months, &format!("{monthly}&window=elapsed")).await[0], elapsed);
    }
    weir.stop().await;
}

#[tokio::test]
async fn first_time_first_ever_and_recurring_cohorts() {
    let weir = Weir::start().await;
    let project = project_with(
        &weir,
        "games",
        &[],
        &["play G 03-02T12:00", "play G 03-03T12:00", "play G 03-05T12:00"],
    )
    .await;
    let asked = "from=2026-03-02&to=2026-03-05&windows=3&start_event=play&return_event=play";
    let nobody = |day: &str| format!("{day} 0: 0 0 0 0");
    let first_time = table(&weir, &project, asked).await;
    assert_eq!(
        first_time[..4],
        ["03-02 1: 1 1 0 1".into(), nobody("03-03"), nobody("03-04"), nobody("03-05")]
    );
    let recurring = table(&weir, &project, &format!("{asked}&cohort=recurring")).await;
    let rows = ["03-02 1: 1 1 0 1", "03-03 1: 1 0 1 0", "03-04 0: 0 0 0 0", "03-05 1: 1 0 0 0"];
    assert_eq!(recurring[..4], rows);

    let long_ago = ["play G 01-10T12:00", "play G 03-02T12:00", "play G 03-03T12:00", "play G 03-05T12:00"];
    let project = project_with(&weir, "long-ago", &[], &long_ago).await;
    let rows = table(&weir, &project, asked).await;
    assert_eq!(
        rows[..4],
        ["03-02", "03-03", "03-04", "03-05"].map(nobody),
        "G is new in no period of the range"
    );

    let project = project_with(&weir, "levels", &[], &["play G 03-02T12:00 1", "play G 03-05T12:00 5"]).await;
    let level = format!("{asked}&start_segment=properties.level:5");
    let rows = table(&weir, &project, &level).await;
    assert_eq!((&*rows[0], &*rows[3]), ("03-02 0: 0 0 0 0", "03-05 1: 1 0 0 0"));
    let rows = table(&weir, &project, &format!("{level}&cohort=first_ever")).await;
    assert_eq!((&*rows[0], &*rows[3]), ("03-02 0: 0 0 0 0", "03-05 0: 0 0 0 0"));
    weir.stop().await;
}

#[tokio::test]
async fn pooled_and_simple_means() {
    let weir = Weir::start().await;
    // 1 of 2, 4 of 5 and, on a day that is not over, 1 of 1.
    let mut events: Vec<String> = vec!["open a1 03-03T12:00".into(), "open c1 03-05T12:00".into()];
    events.extend((1..=2).map(|n| format!("signup a{n} 03-02T12:00")));
    events.extend((1..=5).map(|n| format!("signup b{n} 03-03T12:00")));
    events.extend((1..=4).map(|n| format!("open b{n} 03-04T12:00")));
    events.push("signup c1 03-04T12:00".into());
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let project = project_with(&weir, "means", &[], &events).await;
    let asked = "/stats/retention?from=2026-03-02&to=2026-03-04&windows=1&start_event=signup&return_event=open\
                 &as_of=2026-03-05T13:00:00Z";
    let pooled = weir.ask(&project, asked).await;
    assert_eq!(pooled["overall"][1], json!({"period": 1, "users": 5, "size": 7, "rate": 0.714}));
    let simple = weir.ask(&project, &format!("{asked}&mean=simple")).await;
    assert_eq!(simple["overall"][1], json!({"period": 1, "users": 5, "size": 7, "rate": 0.65}));
    weir.stop().await;
}
