//! A shop's clickstream of half a year, against numbers that `tests/expected/shop.py` worked out independently.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Project, Weir};

const EVENTS: i64 = 31_106;

/// The clickstream, unpacked into a file.
pub fn clickstream(directory: &Path) -> String {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/shop_clickstream.csv.gz");
    let mut reader = flate2::read::GzDecoder::new(std::fs::File::open(packed).unwrap());
    let path = directory.join("shop_clickstream.csv");
    std::io::copy(&mut reader, &mut std::fs::File::create(&path).unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn expected() -> Value {
    serde_json::from_str(include_str!("../../expected/shop.json")).unwrap()
}

/// The clickstream as batches of a hundred events, as an SDK would send them.
fn batches(path: &str) -> Vec<Value> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let events: Vec<Value> = reader
        .records()
        .map(|record| {
            let record = record.unwrap();
            let properties: Value = serde_json::from_str(&record[4]).unwrap();
            json!({"event_id": record[0], "occurred_at": record[1], "user_id": record[2],
                   "event_type": record[3], "properties": properties})
        })
        .collect();
    events.chunks(100).map(|events| json!({ "events": events })).collect()
}

#[tokio::test]
async fn every_answer_equals_the_oracle_in_every_time_zone() {
    let weir = Weir::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = clickstream(directory.path());
    let expected = expected();
    let zones = expected["zones"].as_object().unwrap();
    for (number, (timezone, of_zone)) in zones.iter().enumerate() {
        let project = weir.project(&format!("shop-{number}"), timezone).await;
        let import = weir.run(&["import", &file, "--project", &project.name]).await.succeeded();
        assert!(import.stdout.contains("31106 new"), "{import:?}");
        weir.wait_for_events(EVENTS * (i64::try_from(number).unwrap() + 1)).await;

        let (from, to) = (&expected["first_day"][timezone], &expected["last_day"][timezone]);
        let range = format!("from={}&to={}", from.as_str().unwrap(), to.as_str().unwrap());
        let answer = weir.ask(&project, &format!("/stats/dau?{range}")).await;
        assert_eq!(answer["timezone"], **timezone);
        assert_eq!(answer["data"], of_zone["dau"], "dau in {timezone}");
        let answer = weir.ask(&project, &format!("/stats/top-events?{range}&limit=100")).await;
        assert_eq!(answer["data"], of_zone["top_events"], "top events in {timezone}");
        counts_are_those_of_the_events(&weir, &project).await;
        for window_type in ["daily", "weekly", "monthly"] {
            let table = &of_zone[&format!("retention_{window_type}")];
            let path = format!(
                "/stats/retention?from={}&to={}&windows={}&window_type={window_type}",
                table["from"].as_str().unwrap(),
                table["to"].as_str().unwrap(),
                table["windows"]
            );
            let mut answer = weir.ask(&project, &path).await;
            for cohort in answer["cohorts"].as_array_mut().unwrap() {
                for cell in cohort["periods"].as_array_mut().unwrap() {
                    let complete = cell.as_object_mut().unwrap().remove("complete");
                    assert_eq!(complete, Some(true.into()), "all of it is long over");
                }
            }
            assert_eq!(answer["cohorts"], table["cohorts"], "{window_type} cohorts in {timezone}");
            assert_eq!(answer["overall"], table["overall"], "{window_type} overall in {timezone}");
        }
    }
    weir.stop().await;
}

/// Counts between any instants, whether whole days of the project's calendar lie between them or not.
async fn counts_are_those_of_the_events(weir: &Weir, project: &Project) {
    for (from, to) in [
        ("2024-01-01T00:00:00Z", "2024-07-01T00:00:00Z"),
        ("2024-03-09T18:30:00Z", "2024-03-11T18:30:00Z"),
        ("2024-02-10T11:31:05Z", "2024-04-20T15:10:09.5Z"),
        ("2024-03-10T09:00:00Z", "2024-03-11T14:00:00Z"),
        ("2024-03-10T09:00:00Z", "2024-03-10T14:00:00Z"),
    ] {
        let path = format!("/stats/count?event_type=product_view&from={from}&to={to}");
        let counted: i64 = sqlx::query_scalar(
            "select count(*) from events join projects using (project_id)
             where name = $1 and event_type = 'product_view'
               and occurred_at >= $2::text::timestamptz and occurred_at < $3::text::timestamptz",
        )
        .bind(&project.name)
        .bind(from)
        .bind(to)
        .fetch_one(&weir.pool)
        .await
        .unwrap();
        assert!(counted > 0, "{from} to {to}");
        assert_eq!(weir.ask(project, &path).await["count"], counted, "{from} to {to} in {}", project.name);
    }
}

/// Rows without a field that the oracle does not tell.
fn without(rows: &Value, field: &str) -> Value {
    let row = |row: &Value| {
        let mut row = row.clone();
        row.as_object_mut().unwrap().shift_remove(field);
        row
    };
    rows.as_array().unwrap().iter().map(row).collect()
}

#[tokio::test]
async fn funnel_retention_by_channel_stickiness_and_lifecycle_equal_the_definitions() {
    let weir = Weir::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = clickstream(directory.path());
    let expected: Value = serde_json::from_str(include_str!("../../expected/shop_questions.json")).unwrap();
    for (number, (timezone, of_zone)) in expected.as_object().unwrap().iter().enumerate() {
        let project = weir.project(&format!("shop-{number}"), timezone).await;
        weir.run(&["import", &file, "--project", &project.name]).await.succeeded();
        weir.wait_for_events(EVENTS * (i64::try_from(number).unwrap() + 1)).await;

        let steps = ["product_view", "add_to_cart", "payment_details", "purchase"];
        let steps = steps.map(|event_type| json!({"event_type": event_type}));
        let question = json!({"from": "2024-01-01", "to": "2024-06-30", "window": "7days", "steps": steps,
                              "breakdown": "properties.platform"});
        let request =
            weir.http.post(weir.url("/stats/funnel")).header("X-API-Key", &project.read).json(&question);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["steps"], of_zone["funnel"]["steps"], "funnel in {timezone}");
        assert_eq!(answer["breakdown"], of_zone["funnel"]["breakdown"], "funnel in {timezone}");

        let answer = weir.ask(&project, "/stats/stickiness?from=2024-03-01&to=2024-03-31").await;
        assert_eq!(answer["data"], of_zone["stickiness"], "stickiness in {timezone}");
        for interval in ["day", "week", "month"] {
            let (from, to) =
                if interval == "day" { ("2024-03-01", "2024-03-31") } else { ("2024-01-01", "2024-06-30") };
            let path = format!("/stats/lifecycle?from={from}&to={to}&interval={interval}");
            let answer = without(&weir.ask(&project, &path).await["data"], "complete");
            assert_eq!(
                answer,
                of_zone[&format!("lifecycle_{interval}")],
                "lifecycle by {interval} in {timezone}"
            );
        }
        for (channel, table) in of_zone["retention"].as_object().unwrap() {
            let path = format!(
                "/stats/retention?from=2024-01-01&to=2024-06-30&window_type=weekly&windows=8\
                 &segment=properties.channel:{channel}"
            );
            let answer = weir.ask(&project, &path).await;
            assert_eq!(answer["cohorts"], table["cohorts"], "retention of {channel} in {timezone}");
            assert_eq!(answer["overall"], table["overall"], "retention of {channel} in {timezone}");
        }
    }
    weir.stop().await;
}

#[tokio::test]
async fn what_is_imported_and_sent_again_stays_once() {
    let weir = Weir::start().await;
    let project = weir.project("shop", "UTC").await;
    let directory = tempfile::tempdir().unwrap();
    let file = clickstream(directory.path());
    for _ in 0..2 {
        weir.run(&["import", &file, "--project", "shop"]).await.succeeded();
        weir.wait_for_events(EVENTS).await;
    }

    let mut total = (0, 0);
    for batch in batches(&file) {
        let (status, answer) = weir.send(&project, &batch).await;
        assert!(status == 202 || status == 200, "{answer}");
        total.0 += answer["accepted"].as_i64().unwrap();
        total.1 += answer["duplicates"].as_i64().unwrap();
    }
    assert_eq!(total.0 + total.1, EVENTS);
    weir.wait_until_drained().await;
    // An import marks nothing in Redis, and its messages were others: the store is what recognised them.
    assert_eq!(total.1, 0);
    assert!((weir.metric(&weir.worker, "events_stored_total").await - 31_106.0).abs() < 0.5);
    assert!(weir.metric(&weir.worker, "events_duplicate_total").await >= 31_106.0);
    weir.wait_for_events(EVENTS).await;

    // Now the filter knows them all.
    for batch in batches(&file).iter().take(3) {
        let (status, answer) = weir.send(&project, batch).await;
        assert_eq!((status.as_u16(), &answer["duplicates"]), (200, &json!(100)), "{answer}");
    }
    weir.stop().await;
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_of_an_import_loses_and_doubles_nothing() {
    // Small transactions, so that there is a middle.
    let variables = [("WEIR_WRITE_EVENTS", "500"), ("WEIR_WRITERS", "1"), ("WEIR_ACK_WAIT", "2s")];
    let mut weir = Weir::start_with(&variables).await;
    let project = weir.project("shop", "UTC").await;
    let directory = tempfile::tempdir().unwrap();
    let file = clickstream(directory.path());
    for batch in batches(&file).iter().take(3) {
        assert_eq!(weir.send(&project, batch).await.0, 202);
    }
    weir.wait_for_events(300).await;
    // The worker holds events and cannot store them.
    let mut transaction = weir.pool.begin().await.unwrap();
    sqlx::query("lock table events in share mode").execute(&mut *transaction).await.unwrap();
    weir.run(&["import", &file, "--project", "shop", "--no-wait"]).await.succeeded();
    let waits = "select count(*) from pg_locks where not granted and relation = 'events'::regclass";
    let waiting = async || sqlx::query_scalar::<_, i64>(waits).fetch_one(&weir.pool).await.unwrap();
    crate::support::eventually("the worker waits", waiting, |waiting| *waiting > 0).await;
    weir.worker.kill().await;
    transaction.rollback().await.unwrap();

    weir.start_worker().await;
    // What the dead worker held comes again when its time is over.
    weir.wait_for_events(EVENTS).await;
    let users = weir.ask(&project, "/stats/top-events?from=2024-01-01&to=2024-12-31&limit=1").await;
    assert_eq!(users["data"][0], expected()["zones"]["UTC"]["top_events"][0]);
    weir.stop().await;
}
