//! schemathesis, against the OpenAPI document that weir serves, with all checks: no 5xx, no answer that the document does
//! not have, none that is not as it says.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use crate::support::{Weir, missing_tool};

#[tokio::test]
async fn weir_does_what_its_document_says() {
    let Ok(program) = std::env::var("SCHEMATHESIS") else {
        missing_tool("schemathesis", "./scripts/test installs it where there is python3 with venv");
        return;
    };
    let weir =
        Weir::start_with(&[("WEIR_ADDRESS_RATE_LIMIT", "1000000"), ("WEIR_ADDRESS_RATE_BURST", "1000000")])
            .await;
    weir.project("p", "UTC").await;
    let key = weir.run(&["key", "create", "--project", "p", "--kind", "admin"]).await.succeeded().stdout;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis");
    // It leaves a cache where it is run.
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .arg("--config-file")
        .arg(folder.join("schemathesis.toml"))
        .args(["run", &weir.url("/openapi.json")])
        .args(["--checks", "all", "--continue-on-failure", "--no-color", "--max-examples", "300"])
        .current_dir(scratch.path())
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("WEIR_KEY", key.trim())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    let sent: u32 = report
        .lines()
        .find_map(|line| line.trim().split_once(" generated, ")?.0.parse().ok())
        .unwrap_or_else(|| panic!("a number of test cases: {report}"));
    assert!(sent >= 5_000, "only {sent} requests");
    // Whatever it has sent that was taken, is stored.
    weir.wait_until_drained().await;
    assert!(weir.metric(&weir.worker, "events_dead_lettered_total").await < 0.5);
    weir.stop().await;
}
