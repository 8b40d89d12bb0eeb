//! `weir import`: what it says to somebody whose file is not what it expects.

use std::path::Path;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::{Finished, Weir};

async fn import(weir: &Weir, file: &Path, text: impl AsRef<[u8]>, options: &[&str]) -> Finished {
    std::fs::write(file, text).unwrap();
    weir.run(&[&["import", file.to_str().unwrap(), "--project", "p"], options].concat()).await
}

#[tokio::test]
async fn a_file_that_is_no_table_of_events_is_told_what_to_do() {
    let weir = Weir::start().await;
    weir.project("p", "Europe/Berlin").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export.csv");
    let refused = async |text: &[u8], options: &[&str]| {
        let finished = import(&weir, &file, text, options).await;
        assert!(!finished.status.success(), "{finished:?}");
        finished.stderr
    };
    for (text, options, expected) in [
        (
            &b"Gr\xf6\xdfe,occurred_at\n1,2\n"[..],
            &[][..],
            "line 1: not UTF-8: save the file as \"CSV UTF-8\"",
        ),
        (b"event_type|occurred_at\n", &[], "It looks like 2 columns: add --delimiter '|'"),
        (b"event_type;occurred_at\n", &["--delimiter", ","], "add --delimiter ';'"),
        (b"{\"event_type\": \"a\", \"user_id\": \"b\"}\n", &[], "this looks like JSON"),
        (b"id,event_type,occurred_at\n", &[], "Say what they are: --columns \"NAME=COLUMN\", where"),
        (b"Customer,event_type,When\n", &[], "perhaps --columns \"Customer=user_id,When=occurred_at\""),
        // Before anything in the file: all of its columns would be wrong, too.
        (b"nothing,right\n", &["--project", "shopp"], "there is no project 'shopp'"),
    ] {
        let options: Vec<&str> = options.to_vec();
        let said = if options.contains(&"--project") {
            std::fs::write(&file, text).unwrap();
            weir.run(&[&["import", file.to_str().unwrap()], &options[..]].concat()).await.stderr
        } else {
            refused(text, &options).await
        };
        assert!(said.contains(expected), "{expected}: {said}");
    }
    weir.stop().await;
}

#[tokio::test]
async fn faults_are_told_in_the_order_of_the_lines_and_each_kind_is_shown() {
    let weir = Weir::start().await;
    weir.project("p", "UTC").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export.csv");
    let soon = "soon,view,\n".repeat(5);
    let text = format!(
        "occurred_at,event_type,properties_json\n{soon}2024-01-01T00:00:00Z,,\n2024-01-01,view,\n46083.5,view,\n\
         02.03.2026 12:00,view,\n2024-01-01T00:00:00Z,view,{{a: 1}}\n2024-01-01T00:00:00Z,view,\n"
    );
    let finished = import(&weir, &file, text, &[]).await;
    let told: Vec<&str> = finished.stderr.lines().collect();
    for (line, expected) in [
        "Importing ",
        "line 2: occurred_at: expected a time of RFC 3339",
        "line 3: ",
        "line 4: ",
        "line 7: event_type: the type of the event is required",
        "line 8: occurred_at: the zone of '2024-01-01' is missing",
        "line 9: occurred_at: expected a date and a time, or the seconds",
        "line 10: occurred_at: '02.03.2026 12:00' may be a day and a month",
        "line 11: properties_json: not valid JSON at its character 2 (key must be a string); got '{a: 1}'",
        "2 more lines like line 2",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(told[line].starts_with(expected), "{expected}: {finished:?}");
    }
    assert!(finished.stdout.contains("11 lines read for project 'p': 1 new"), "{finished:?}");

    let one = import(&weir, &file, "occurred_at,event_type\n,x\n", &[]).await;
    assert!(
        one.stdout.contains(": 1 line read") && one.stderr.contains("1 of 1 line was refused"),
        "{one:?}"
    );
    weir.stop().await;
}

#[tokio::test]
async fn dates_and_numbers_of_other_countries_are_read_when_told_how() {
    let weir = Weir::start().await;
    let project = weir.project("p", "Europe/Berlin").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export.csv");
    let text = "Wann;Wer;event_type;Betrag;\"Ort, Land\"\n02.03.2026 12:00;anna;Kauf;1.049,90;Kyjiw\n";
    let options = ["--timezone", "Europe/Berlin", "--dates", "day-first", "--decimal-comma", "--columns"];
    let columns = "Wann=occurred_at,Wer=user_id,Ort, Land=properties.place,Betrag=properties.amount";
    import(&weir, &file, text, &[&options[..], &[columns]].concat()).await.succeeded();
    weir.wait_for_events(1).await;
    let event = &weir.ask(&project, "/events?user_id=anna").await["events"][0];
    assert_eq!(event["occurred_at"], "2026-03-02T11:00:00Z", "{event}");
    assert_eq!(event["properties"], json!({"amount": 1049.9, "place": "Kyjiw"}));
    let help = weir.run(&["import", "--help"]).await.succeeded().stdout;
    assert!(help.contains("--max-event-age") && !help.contains("--max-body"), "{help}");
    weir.stop().await;
}

#[tokio::test]
async fn an_import_without_a_worker_says_what_it_waits_for() {
    let mut weir = Weir::start().await;
    weir.project("p", "UTC").await;
    weir.worker.kill().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export.csv");
    std::fs::write(&file, "occurred_at,event_type\n2024-01-01T00:00:00Z,view\n").unwrap();
    let arguments = ["import", file.to_str().unwrap(), "--project", "p"];
    let mut child = weir.command(&arguments).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    for expected in [
        "Importing ",
        "Waiting for weir-worker to store 1 message. You can press Ctrl-C: they are safe.",
        "weir-worker has stored nothing for 5 seconds. Is it running? `weir doctor` tells.",
    ] {
        let line = told.next_line().await.unwrap().unwrap();
        assert!(line.starts_with(expected), "{line}");
    }
    child.kill().await.unwrap();
    weir.start_worker().await;
    weir.wait_for_events(1).await;
    weir.stop().await;
}
