//! The programs of docs/clients.md, run as they stand there.

mod browser;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{
    Finished, Project, Weir, find,
    front::{Front, Manner},
};

const PAGE: &str = include_str!("../../../docs/clients.md");

/// A section of the page, and how its program is run.
struct Section {
    heading: &'static str,
    language: &'static str,
    file: &'static str,
    /// The interpreter or compiler, and the package that has it.
    tool: (&'static str, &'static str),
}

const CURL: Section = Section { heading: "curl", language: "sh", file: "send.sh", tool: ("curl", "curl") };
const NODE: Section =
    Section { heading: "Node", language: "js", file: "send_events.mjs", tool: ("node", "nodejs") };
const PYTHON: Section =
    Section { heading: "Python", language: "python", file: "send_events.py", tool: ("python3", "python3") };
const GO: Section =
    Section { heading: "Go", language: "go", file: "send_events.go", tool: ("go", "golang-go") };
const RUST: Section =
    Section { heading: "Rust", language: "rust", file: "send_events.rs", tool: ("cargo", "cargo") };

#[tokio::test]
async fn curl() {
    let Some(program) = Program::of(&CURL).await else { return };
    let weir = Weir::start().await;
    sends_and_sends_again(&weir, &program).await;

    let project = weir.project("lines", "UTC").await;
    let lines = Program::from_text(&CURL, &blocks(&CURL)[1]).await.unwrap();
    let finished = lines.run(&weir.url(""), &project.write).await.succeeded();
    assert!(finished.stdout.contains("\"accepted\":3,\"duplicates\":0"), "{finished:?}");
    assert!(finished.stdout.contains("\"accepted\":0,\"duplicates\":3"), "{finished:?}");
    weir.wait_for_events(9).await;
    weir.stop().await;
}

#[tokio::test]
async fn node() {
    sends_and_sends_again_and_halves(&NODE).await;
}

#[tokio::test]
async fn python() {
    sends_and_sends_again_and_halves(&PYTHON).await;
}

#[tokio::test]
async fn what_python_cannot_write_as_json_costs_its_event_and_no_other() {
    let text = blocks(&PYTHON)[0].replace(
        r#"{"path": "/checkout"}"#,
        r#"{"at": datetime.now(timezone.utc), "day": date.today(), "price": Decimal("49.90")}"#,
    );
    let text = text.replace(r#"{"path": "/pricing"}"#, r#"{"what": object()}"#);
    let Some(program) = Program::from_text(&PYTHON, &text).await else { return };
    let weir = Weir::start().await;
    let project = weir.project("plain", "UTC").await;
    let finished = program.run(&weir.url(""), &project.write).await;
    assert!(finished.said(2, 0, 1), "{finished:?}");
    assert!(finished.stderr.contains("weir: not an event: object has no form in JSON"), "{finished:?}");
    weir.wait_for_events(2).await;
    weir.stop().await;
}

#[tokio::test]
async fn go() {
    sends_and_sends_again_and_halves(&GO).await;
}

#[tokio::test]
async fn rust() {
    sends_and_sends_again_and_halves(&RUST).await;
}

#[test]
fn the_rust_program_is_the_example() {
    assert_eq!(
        blocks(&RUST),
        [include_str!("../../../examples/send_events.rs")],
        "copy the example into the page"
    );
}

async fn sends_and_sends_again_and_halves(section: &Section) {
    let Some(program) = Program::of(section).await else { return };
    let weir = Weir::start().await;
    sends_and_sends_again(&weir, &program).await;
    names_what_is_rejected(&weir, section).await;
    weir.stop().await;
    halves(&program).await;
}

/// Sends to weir itself, through trouble, and with a wrong key: six events in all.
async fn sends_and_sends_again(weir: &Weir, program: &Program) {
    let project = weir.project("plain", "UTC").await;
    // With a slash at the end, as addresses are often written.
    let finished = program.run(&weir.url("/"), &project.write).await.succeeded();
    assert!(finished.said(3, 0, 0), "{finished:?}");
    weir.wait_for_events(3).await;
    annas_three(weir, &project).await;

    // The first answer is lost after weir has taken the events, the second try is refused.
    let project = weir.project("trouble", "UTC").await;
    let front = Front::start(weir, Manner::Troubled).await;
    let finished = program.run(&front.url(), &project.write).await.succeeded();
    assert!(finished.said(0, 3, 0), "{finished:?}");
    let posts = front.posts();
    assert_eq!(posts.iter().map(|post| post.status).collect::<Vec<_>>(), [503, 429, 200]);
    assert!(posts.iter().all(|post| post.events() == posts[0].events()), "the same events: {posts:?}");
    weir.wait_for_events(6).await;
    annas_three(weir, &project).await;

    let front = Front::start(weir, Manner::Plain).await;
    let finished = program.run(&front.url(), "weir_wk_unknown").await;
    assert!(!finished.status.success(), "{finished:?}");
    assert!(format!("{finished:?}").contains("unauthorized"), "{finished:?}");
    assert_eq!(front.posts().len(), 1, "a 401 is not repeated");
}

async fn names_what_is_rejected(weir: &Weir, section: &Section) {
    let text = &blocks(section)[0];
    let Some(program) = Program::from_text(section, &text.replace("\"purchase\"", "\"\"")).await else {
        return;
    };
    let project = weir.project("rejected", "UTC").await;
    let finished = program.run(&weir.url(""), &project.write).await;
    assert!(!finished.status.success() && finished.said(2, 0, 1), "{finished:?}");
    assert!(finished.stderr.contains("weir rejects an event"), "{finished:?}");
    weir.wait_for_events(8).await;
}

async fn halves(program: &Program) {
    let weir = Weir::start_with(&[("WEIR_MAX_EVENTS", "2")]).await;
    let project = weir.project("halves", "UTC").await;
    let front = Front::start(&weir, Manner::Plain).await;
    let finished = program.run(&front.url(), &project.write).await.succeeded();
    assert!(finished.said(3, 0, 0), "{finished:?}");
    assert_eq!(front.posts().iter().map(|post| post.status).collect::<Vec<_>>(), [413, 202, 202]);
    weir.wait_for_events(3).await;
    annas_three(&weir, &project).await;
    weir.stop().await;
}

/// The events that each program sends, once each.
async fn annas_three(weir: &Weir, project: &Project) {
    let answer = weir.ask(project, "/events?user_id=anna").await;
    let mut types: Vec<_> =
        answer["events"].as_array().unwrap().iter().map(|event| &event["event_type"]).collect();
    types.sort_by_key(|one| one.as_str());
    assert_eq!(types, ["page_view", "page_view", "purchase"], "{answer}");
}

trait Said {
    /// Whether the program has told this outcome, in its own words or in weir's.
    fn said(&self, accepted: usize, duplicates: usize, failed: usize) -> bool;
}

impl Said for Finished {
    fn said(&self, accepted: usize, duplicates: usize, failed: usize) -> bool {
        let own = format!("{accepted} accepted, {duplicates} duplicates, {failed} failed");
        let weirs = format!("\"accepted\":{accepted},\"duplicates\":{duplicates},\"rejected\":[]");
        self.stdout.contains(&own) || self.stdout.contains(&weirs)
    }
}

/// A program of the page, ready to run.
struct Program {
    command: Vec<PathBuf>,
    directory: TempDir,
}

impl Program {
    /// The first program of a section.
    async fn of(section: &Section) -> Option<Self> {
        if section.heading == RUST.heading {
            let example =
                Path::new(env!("CARGO_BIN_EXE_weir")).with_file_name("examples").join("send_events");
            assert!(example.exists(), "{} is not built: run the tests by ./scripts/test", example.display());
            return Some(Self { command: vec![example], directory: TempDir::new().unwrap() });
        }
        Self::from_text(section, &blocks(section)[0]).await
    }

    /// Nothing for Rust: its program is compiled with the tests.
    async fn from_text(section: &Section, text: &str) -> Option<Self> {
        let tool = find(&[section.tool.0], section.tool.1)?;
        let directory = TempDir::new().unwrap();
        let source = directory.path().join(section.file);
        fs::write(&source, text).unwrap();
        let command = match section.language {
            "sh" => vec!["sh".into(), source],
            "go" => {
                let built = Self {
                    command: vec![tool, "build".into(), "-o".into(), "program".into(), source],
                    directory,
                };
                built.run("", "").await.succeeded();
                return Some(Self { command: vec![built.directory.path().join("program")], ..built });
            }
            "rust" => return None,
            _ => vec![tool, source],
        };
        Some(Self { command, directory })
    }

    async fn run(&self, url: &str, key: &str) -> Finished {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).current_dir(self.directory.path());
        command
            .env_clear()
            .envs(["PATH", "HOME"].map(|name| (name, std::env::var_os(name).unwrap_or_default())));
        command.env("WEIR_URL", url).env("WEIR_KEY", key).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.unwrap();
        Finished {
            status: output.status,
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The programs of a section, in the order of the page.
fn blocks(section: &Section) -> Vec<String> {
    let heading = format!("\n## {}\n", section.heading);
    let (_, after) = PAGE.split_once(&heading).unwrap_or_else(|| panic!("no heading '{}'", section.heading));
    let text = after.split("\n## ").next().unwrap();
    let opening = format!("\n```{}\n", section.language);
    let blocks: Vec<_> = text
        .split(&opening)
        .skip(1)
        .map(|block| format!("{}\n", block.split("\n```\n").next().unwrap()))
        .collect();
    assert!(!blocks.is_empty(), "no program under '{}'", section.heading);
    blocks
}
