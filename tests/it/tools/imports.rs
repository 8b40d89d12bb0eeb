//! `weir import`: what tables of other systems say, whatever they are like.

use std::{fmt::Write, io::Write as _, path::Path};

use serde_json::json;

use crate::support::{Finished, Weir};

/// Imports a file into project `p`.
async fn import(weir: &Weir, file: &Path, options: &[&str]) -> Finished {
    weir.run(&[&["import", file.to_str().unwrap(), "--project", "p"], options].concat()).await
}

#[tokio::test]
async fn an_import_names_each_bad_line_and_takes_the_others() {
    let weir = Weir::start().await;
    weir.project("p", "UTC").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.csv");
    let mut text = "user_id,event_type,occurred_at,properties_json,event_id\n".to_owned();
    writeln!(text, "anna,view,2024-01-01T00:00:00Z,\"{{\"\"a\"\": \"\"x\ny\"\"}}\",1").unwrap(); // lines 2 and 3
    writeln!(text, "anna,view,yesterday,,2").unwrap();
    writeln!(text, "anna,view,2024-01-01T00:00:00Z,{{,3").unwrap();
    writeln!(text, ",tick,2024-01-01T00:00:01Z,,").unwrap();
    writeln!(text, ",tick,,,6").unwrap();
    writeln!(text, "too,few").unwrap();
    std::fs::write(&file, text.replace("x\ny", "x\\ny")).unwrap();
    let import = self::import(&weir, &file, &[]).await;
    assert!(!import.status.success(), "scripts see that lines were refused");
    assert!(
        import.stdout.contains("6 lines read for project 'p': 2 new, 0 already stored, 4 refused"),
        "{import:?}"
    );
    for line in [
        "line 3: occurred_at: expected a time of RFC 3339",
        "line 4: properties_json: not valid JSON",
        "line 6: occurred_at: the field is empty; every line needs a time",
        "line 7: expected 5 fields, got 2",
    ] {
        assert!(import.stderr.contains(line), "{import:?}");
    }
    assert!(import.stderr.contains("4 of 6 lines were refused"), "{import:?}");
    weir.wait_for_events(2).await;
    // Again: a line without an id is the same event as before.
    let import = self::import(&weir, &file, &[]).await;
    assert!(import.stdout.contains("0 new, 2 already stored, 4 refused"), "{import:?}");
    assert!(import.stdout.contains("An event that is stored stays as it is"), "{import:?}");
    weir.wait_until_drained().await;
    weir.wait_for_events(2).await;

    std::fs::write(&file, "event_type,when\nview,now\n").unwrap();
    let import = self::import(&weir, &file, &[]).await;
    assert!(import.stderr.contains("weir does not know the columns when of the file"), "{import:?}");
    weir.stop().await;
}

#[tokio::test]
async fn the_same_table_is_the_same_events_whatever_system_saved_it_and_also_when_it_has_grown() {
    let weir = Weir::start().await;
    weir.project("p", "UTC").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("table.csv");
    let header = "occurred_at,user_id,event_type";
    let [old, new] = ["2024-01-01T00:00:00Z,u,x", "2024-01-02T00:00:00Z,u,x"];
    // A line that stands there twice is two events.
    for (lines, end, events) in [
        (&[header, old, old][..], "\n", 2),
        (&[header, old, old], "\r\n", 2),
        (&[header, old, old], "\r", 2),
        (&[header, new, old, old], "\r\n", 3),
        // Its columns stand in another order, and are named otherwise.
        (&["User ID;eventType;timestamp", "u;x;2024-01-01 00:00:00 UTC"], "\n", 3),
    ] {
        std::fs::write(&file, lines.join(end) + end).unwrap();
        import(&weir, &file, &[]).await.succeeded();
        weir.wait_for_events(events).await;
    }
    std::fs::write(&file, [header, old, "yesterday,u,x"].join("\r\n")).unwrap();
    let import = self::import(&weir, &file, &[]).await;
    assert!(import.stderr.contains("line 3: occurred_at"), "{import:?}");
    std::fs::write(&file, [header, "yesterday,u,x"].join("\n")).unwrap();
    let import = self::import(&weir, &file, &[]).await;
    assert!(import.stderr.contains("nothing is imported"), "{import:?}");
    weir.stop().await;
}

#[tokio::test]
async fn a_quote_that_is_not_closed_costs_its_line_and_no_other() {
    let weir = Weir::start().await;
    weir.project("p", "UTC").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.csv");
    let line = |n: usize| format!("{n},2024-01-01T00:00:00Z,view\n");
    let lines: String = (0..100).map(line).collect();
    std::fs::write(
        &file,
        format!("event_id,occurred_at,event_type\n\"open,2024-01-01T00:00:00Z,view\n{lines}"),
    )
    .unwrap();
    let finished = import(&weir, &file, &[]).await;
    assert!(finished.stderr.contains("line 2: a quote opens a field on this line"), "{finished:?}");
    assert!(finished.stdout.contains("100 new, 0 already stored, 1 refused"), "{finished:?}");
    weir.wait_for_events(100).await;
    weir.stop().await;
}

#[tokio::test]
async fn tables_of_other_systems_are_read() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export.csv");

    let table = "Nr;Kunde;Zeit;Art;Land;Betrag\n1;anna;2024-03-10 12:00:00;Kauf;DE;49.90\n2;ben;1710072000;Kauf;;007\n";
    let utf16: Vec<u8> =
        "\u{feff}".encode_utf16().chain(table.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(table.as_bytes()).unwrap();
    let columns = "Nr=event_id,Kunde=user_id,Zeit=occurred_at,Art=event_type,Land=properties.country";
    let options = ["--columns", columns, "--properties", "--timezone", "Europe/Berlin"];

    std::fs::write(&file, table).unwrap();
    let finished = import(&weir, &file, &options[..3]).await;
    assert!(finished.stderr.contains("the zone of '2024-03-10 12:00:00' is missing"), "{finished:?}");
    let dry = import(&weir, &file, &[&options[..], &["--dry-run"]].concat()).await.succeeded();
    assert!(dry.stdout.contains("1 would be new"), "{dry:?}");
    assert!(dry.stdout.contains("\"occurred_at\": \"2024-03-10T11:00:00Z\""), "{dry:?}");
    weir.wait_until_drained().await;
    weir.wait_for_events(1).await; // ben's time needs no zone

    for (bytes, new) in [(table.as_bytes().to_vec(), 1), (utf16, 0), (gzip.finish().unwrap(), 0)] {
        std::fs::write(&file, bytes).unwrap();
        let finished = import(&weir, &file, &options).await.succeeded();
        assert!(finished.stdout.contains(&format!("{new} new, {} already stored", 2 - new)), "{finished:?}");
    }
    weir.wait_for_events(2).await;
    let properties = async |user: &str| {
        let events = weir.ask(&project, &format!("/events?user_id={user}")).await;
        events["events"][0]["properties"].clone()
    };
    assert_eq!(properties("anna").await, json!({"country": "DE", "Betrag": 49.9}));
    assert_eq!(properties("ben").await, json!({"Betrag": "007"}));

    std::fs::write(&file, "").unwrap();
    let finished = import(&weir, &file, &[]).await;
    assert!(finished.stderr.contains("is empty: expected a line that names its columns"), "{finished:?}");
    let many: String = (0..2_000).map(|_| "view,10.03.2024\n").collect();
    std::fs::write(&file, format!("event_type,occurred_at\n{many}")).unwrap();
    let finished = import(&weir, &file, &[]).await;
    assert!(finished.stderr.lines().count() < 10, "{finished:?}");
    assert!(finished.stderr.contains("1997 more lines like line 2"), "{finished:?}");
    weir.stop().await;
}
