//! The command line: what it refuses, and how it says so.

use std::fmt::Write;

use super::support::{Process, Weir};

#[tokio::test]
async fn a_wrong_variable_stops_the_start_with_a_sentence_that_names_it() {
    for (program, arguments, variable, value, expected) in [
        ("weir", &["serve"][..], "WEIR_HTTP_ADDR", "everywhere", "WEIR_HTTP_ADDR: 'everywhere' is not valid"),
        ("weir", &["serve"], "WEIR_MAX_BODY", "large", "expected a size such as 512KiB"),
        ("weir", &["serve"], "WEIR_NAMESPACE", "A.B", "WEIR_NAMESPACE: 'A.B' is not valid: expected 1 to 32"),
        ("weir", &["serve"], "LOG_FORMAT", "xml", "LOG_FORMAT: 'xml' is not valid: expected json or text"),
        ("weir-worker", &[], "WEIR_WRITERS", "0", "WEIR_WRITERS: '0' is not valid"),
        ("weir-worker", &[], "WEIR_WRITE_WAIT", "soon", "expected a duration such as 250ms"),
    ] {
        let refused = Process::run(program, arguments, &[(variable.into(), value.into())]).await;
        assert!(!refused.status.success());
        assert!(refused.stderr.contains(expected), "{refused:?}");
    }
}

#[tokio::test]
async fn projects_and_keys_are_managed_by_name() {
    let weir = Weir::start().await;
    weir.project("shop", "Europe/Kyiv").await;
    let again = weir.run(&["project", "create", "shop"]).await;
    assert!(
        !again.status.success() && again.stderr.contains("there is a project 'shop' already"),
        "{again:?}"
    );
    let unknown = weir.run(&["key", "create", "--project", "shopp", "--kind", "read"]).await;
    assert!(unknown.stderr.contains("there is no project 'shopp'"), "{unknown:?}");
    let wrong = weir.run(&["project", "create", "No Spaces"]).await;
    assert!(wrong.stderr.contains("expected 1 to 63 of a-z"), "{wrong:?}");
    let zone = weir.run(&["project", "create", "x", "--timezone", "Mars/Olympus"]).await;
    assert!(zone.stderr.contains("expected an IANA time zone"), "{zone:?}");
    let list = weir.run(&["project", "list"]).await.succeeded();
    assert!(list.stdout.contains("Europe/Kyiv"), "{list:?}");
    weir.stop().await;
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
    let import = weir.run(&["import", file.to_str().unwrap(), "--project", "p"]).await;
    assert!(!import.status.success(), "scripts see that lines were refused");
    assert!(import.stdout.contains("2 events"), "{import:?}");
    for line in [
        "line 3: occurred_at: expected a time of RFC 3339",
        "line 4: properties_json: not valid JSON",
        "line 6: occurred_at: expected a time",
        "line 7: expected 5 fields, got 2",
    ] {
        assert!(import.stderr.contains(line), "{import:?}");
    }
    assert!(import.stderr.contains("4 lines were refused"), "{import:?}");
    weir.wait_for_events(2).await;
    // Again: a line without an id is the same event as before.
    weir.run(&["import", file.to_str().unwrap(), "--project", "p"]).await;
    weir.wait_until_drained().await;
    weir.wait_for_events(2).await;

    std::fs::write(&file, "event_type,when\nview,now\n").unwrap();
    let import = weir.run(&["import", file.to_str().unwrap(), "--project", "p"]).await;
    assert!(import.stderr.contains("the file has a column 'when'; expected event_id"), "{import:?}");
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
    ] {
        std::fs::write(&file, lines.join(end) + end).unwrap();
        weir.run(&["import", file.to_str().unwrap(), "--project", "p"]).await.succeeded();
        weir.wait_for_events(events).await;
    }
    std::fs::write(&file, [header, old, "yesterday,u,x"].join("\r\n")).unwrap();
    let import = weir.run(&["import", file.to_str().unwrap(), "--project", "p"]).await;
    assert!(import.stderr.contains("line 3: occurred_at"), "{import:?}");
    std::fs::write(&file, [header, "yesterday,u,x"].join("\n")).unwrap();
    let import = weir.run(&["import", file.to_str().unwrap(), "--project", "p"]).await;
    assert!(import.stderr.contains("nothing is imported"), "{import:?}");
    weir.stop().await;
}

#[tokio::test]
async fn the_readme_has_every_variable_with_its_default() {
    let readme = include_str!("../../README.md");
    for (program, arguments) in
        [("weir", &["serve", "--help"][..]), ("weir", &["import", "--help"]), ("weir-worker", &["--help"])]
    {
        let help = Process::run(program, arguments, &[]).await.succeeded().stdout;
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut variables = 0;
        for option in help.split("[env: ").skip(1) {
            let (variable, rest) = option.split_once([']', '=']).unwrap();
            let (_, default) = rest.split_once("[default: ").unwrap();
            let (default, _) = default.split_once(']').unwrap();
            let row = format!("| `{variable}` | `{default}` |");
            assert!(readme.contains(&row), "README.md has no row {row}");
            variables += 1;
        }
        assert!(variables > 10, "only {variables} variables in the help of {program}");
    }
}
