//! Chromium, without a window.

use std::{fs, path::PathBuf, process::Stdio};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{eventually, find};

/// posthog-js and mixpanel-browser send nothing from a browser that says it has no window.
const USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36";

/// A browser that is installed.
pub struct Browser(PathBuf);

/// A browser that shows a page.
pub struct OpenBrowser {
    child: Child,
    profile: TempDir,
}

impl Browser {
    /// The browser, if there is one.
    pub fn find() -> Option<Self> {
        find(&["chromium", "chromium-browser", "google-chrome"], "chromium").map(Self)
    }

    pub fn open(&self, url: &str) -> OpenBrowser {
        let profile = TempDir::new().unwrap();
        let mut command = Command::new(&self.0);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ]);
        command.arg(format!("--user-agent={USER_AGENT}"));
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg(url);
        command.env("TMPDIR", profile.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        OpenBrowser { child: command.spawn().unwrap(), profile }
    }
}

impl OpenBrowser {
    /// In order. Its other processes end after it, and write into the profile until then.
    pub async fn close(mut self) {
        let pid = self.child.id().unwrap().to_string();
        Command::new("kill").args(["-s", "TERM", &pid]).status().await.unwrap();
        self.child.wait().await.unwrap();
        let removed = || async { fs::remove_dir_all(self.profile.path()).is_ok() };
        eventually("the browser has let go of its profile", removed, |removed| *removed).await;
    }
}
