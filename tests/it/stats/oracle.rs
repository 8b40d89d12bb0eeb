//! Random questions about random histories, in which users are merged and deleted, against answers that Python works out the
//! naive way (`tests/oracle`).
//!
//! `WEIR_ORACLE_CASES` asks more of them, `WEIR_ORACLE_SEED` the same ones again.

use std::{path::Path, process::Stdio};

use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::support::{Weir, missing_tool};

const ZONES: [&str; 12] = [
    "UTC",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Cairo",
    "America/Sao_Paulo",
    // Their rules have changed in 2026.
    "America/Vancouver",
    "Africa/Casablanca",
    "America/Havana",
    "Europe/Chisinau",
];
const WEEK_STARTS: [&str; 3] = ["monday", "sunday", "saturday"];
/// Texts, numbers, truth values and lists.
const PROMOTED: [&str; 4] = ["properties.country", "properties.level", "properties.paid", "properties.tags"];

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

#[tokio::test]
async fn answers_to_random_questions_are_those_of_the_definitions() {
    // With rules of its own, from PyPI: those of the machine may be as old as weir's.
    let Ok(python) = std::env::var("ORACLE_PYTHON") else {
        missing_tool("ORACLE_PYTHON", "a python3 with the package tzdata; ./scripts/test installs it");
        return;
    };
    let cases = number("WEIR_ORACLE_CASES", 160);
    let seed = number("WEIR_ORACLE_SEED", rand::random_range(0..1_000_000));
    // Samoa left a day out in 2011.
    let weir = Weir::start_with(&[("WEIR_MAX_EVENT_AGE", "20years")]).await;
    let mut projects = Vec::new();
    for number in 0..cases.div_ceil(10) {
        let (zone, week_start) = (ZONES[number % ZONES.len()], WEEK_STARTS[number % WEEK_STARTS.len()]);
        let name = format!("oracle-{number}");
        let project = weir.project_with(&name, &["--timezone", zone, "--week-start", week_start]).await;
        // Of every other project activity knows properties too.
        for property in PROMOTED.into_iter().filter(|_| number % 2 == 1) {
            weir.run(&["project", "promote", &name, property]).await.succeeded();
        }
        let project = json!({"timezone": zone, "week_start": week_start, "write": project.write,
                             "read": project.read, "admin": project.admin});
        projects.push(project);
    }
    let worker_url = format!("http://{}", weir.worker.address);
    let given = json!({"url": weir.url(""), "worker_url": worker_url, "seed": seed, "cases": cases,
                       "projects": projects});

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
    let mut oracle = Command::new(python)
        .arg(folder.join("compare.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONTZPATH", "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    oracle.stdin.take().unwrap().write_all(given.to_string().as_bytes()).await.unwrap();
    let output = oracle.wait_with_output().await.unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.ends_with(&format!("{cases} cases, 0 differences\n")), "{report}");
    weir.stop().await;
}
