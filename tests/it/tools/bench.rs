//! The quick form of `scripts/bench`: every measurement runs, and finds each event that was accepted. The figures of programs
//! in debug form mean nothing.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tokio::process::Command;

use crate::support::missing_tool;

#[tokio::test]
async fn every_measurement_runs_and_finds_all_that_was_accepted() {
    let mut find = Command::new("sh");
    find.args(["-c", "command -v python3"]).stdout(Stdio::null());
    if !find.status().await.unwrap().success() {
        missing_tool("python3", "install python3");
        return;
    }
    let is_root = Command::new("id").arg("-u").output().await.unwrap().stdout == b"0\n";
    if !is_root {
        missing_tool("root", "scripts/bench needs it to see what the servers take");
        return;
    }
    let binaries = Path::new(env!("CARGO_BIN_EXE_weir")).parent().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let figures: PathBuf = directory.path().join("figures.json");
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/bench"))
        .args(["--quick", "--sizes", "100", "--binaries"])
        .arg(binaries)
        .arg("--json")
        .arg(&figures)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    let figures: Value = serde_json::from_slice(&std::fs::read(figures).unwrap()).unwrap();
    assert!(figures["checked"].as_u64().unwrap() > 5_000, "{report}");
    for row in ["accept 100 0", "accept 100 1", "accept 100 100"] {
        for series in ["weir", "publish", "parse"] {
            assert!(
                figures["figures"][row][series][0][0].as_f64().unwrap() > 0.0,
                "{row} {series}: {report}"
            );
        }
    }
    for row in ["store 100 0", "latency 100 p99", "freshness p50", "redis bytes", "disk bytes"] {
        assert!(figures["figures"][row]["weir"][0][0].as_f64().unwrap() > 0.0, "{row}: {report}");
    }
}
