//! The short form of `scripts/faults`: every part is broken once, under load, and each event is looked for.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use crate::support::missing_tool;

#[tokio::test]
async fn whatever_dies_each_event_is_stored_once_and_counted_once() {
    for (program, remedy) in [
        ("python3", "install python3"),
        ("nft", "install nftables: it drops the packets of partitions"),
        ("ip", "install iproute2: it makes the networks that are parted"),
        ("mkfs.ext4", "install e2fsprogs: it makes the disk that loses its power"),
    ] {
        let mut find = Command::new("sh");
        find.args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null());
        if !find.status().await.unwrap().success() {
            missing_tool(program, remedy);
            return;
        }
    }
    let is_root = Command::new("id").arg("-u").output().await.unwrap().stdout == b"0\n";
    if !is_root {
        missing_tool("root", "scripts/faults needs it for namespaces and a disk of its own");
        return;
    }
    let binaries = Path::new(env!("CARGO_BIN_EXE_weir")).parent().unwrap();
    let faults = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/faults");
    let output = Command::new(faults)
        .args(["--short", "--seed", "1", "--rate", "800", "--binaries"])
        .arg(binaries)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.contains("0 lost, 0 doubled, activity as recounted"), "{report}");
}
