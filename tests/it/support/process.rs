//! The processes of weir, started as a user would.

use std::{
    path::PathBuf,
    process::{ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// Lines of a log that a test shows when it fails.
const SHOWN: usize = 40;

/// A process that serves, and its log.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: String,
    log: Arc<Mutex<Vec<Value>>>,
}

/// A process that has ended.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    fn of(output: Output) -> Self {
        Self {
            status: output.status,
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn succeeded(self) -> Self {
        assert!(self.status.success(), "{self:?}");
        self
    }
}

/// A command without the environment of the test, so that only what the test sets has an effect.
pub fn command(program: &str, arguments: &[&str], variables: &[(String, String)]) -> Command {
    // Both programs are built into one directory; cargo names that of this package only.
    let program = PathBuf::from(env!("CARGO_BIN_EXE_weir")).with_file_name(program);
    assert!(program.exists(), "{} is not built: run the tests by ./scripts/test", program.display());
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(variables.iter().cloned()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Process {
    /// Runs a process to its end.
    pub async fn run(program: &str, arguments: &[&str], variables: &[(String, String)]) -> Finished {
        Finished::of(command(program, arguments, variables).output().await.unwrap())
    }

    /// Runs a process until something has happened, and then presses Ctrl-C.
    pub async fn interrupt(
        program: &str,
        arguments: &[&str],
        variables: &[(String, String)],
        when: impl Future,
    ) -> Finished {
        let child = command(program, arguments, variables).spawn().unwrap();
        when.await;
        let pid = child.id().expect("it has not ended").to_string();
        Command::new("kill").args(["-s", "INT", &pid]).status().await.unwrap();
        Finished::of(child.wait_with_output().await.unwrap())
    }

    /// Starts a process, and waits until its log says that it listens.
    pub async fn start(program: &str, arguments: &[&str], variables: &[(String, String)]) -> Self {
        let mut child = command(program, arguments, variables).stderr(Stdio::inherit()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (listening, address) = tokio::sync::oneshot::channel();
        let kept = log.clone();
        tokio::spawn(async move {
            let mut listening = Some(listening);
            while let Ok(Some(line)) = lines.next_line().await {
                let line: Value = serde_json::from_str(&line).expect("a line of the log is JSON");
                if line["message"] == "listening"
                    && let Some(listening) = listening.take()
                {
                    listening.send(line["address"].as_str().unwrap().to_owned()).ok();
                }
                kept.lock().unwrap().push(line);
            }
        });
        let address = address.await.unwrap_or_else(|_| panic!("{program} ended: {:?}", log.lock().unwrap()));
        Self { child, address, log }
    }

    /// The lines of the log so far.
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM.
    pub async fn signal_termination(&self) {
        self.signal("TERM").await;
    }

    /// Sends a signal by its name.
    pub async fn signal(&self, name: &str) {
        if let Some(pid) = self.child.id() {
            Command::new("kill").args(["-s", name, &pid.to_string()]).status().await.unwrap();
        }
    }

    /// What the process ends with.
    pub async fn ended(&mut self) -> ExitStatus {
        self.child.wait().await.unwrap()
    }
}

/// A test that fails shows what its processes said.
#[expect(clippy::print_stderr, reason = "beside the test's own message")]
impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("the log of the process at {}, its last lines:", self.address);
            log.iter().rev().take(SHOWN).rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}
