//! `weir dlq`: what could not be stored.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use sqlx::PgPool;
use weir::{
    config,
    event::Batch,
    project::Project,
    store,
    stream::{
        Stream,
        dead::{Letter, Letters},
        message,
        publish::Publisher,
    },
};

/// Characters of an error in a list.
const ERROR_SHOWN: usize = 70;
/// Bytes of a message that cannot be read, as they are shown.
const BYTES_SHOWN: usize = 4_096;
const RETRY_PAUSE: Duration = Duration::from_millis(500);

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    database: config::Database,
    #[command(flatten)]
    nats: config::Nats,
    #[command(flatten)]
    publishing: config::Publishing,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the letters, oldest first, and how many there are for each reason
    List {
        #[command(flatten)]
        filter: Filter,
        /// Letters at most
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// A line of JSON for each letter
        #[arg(long)]
        json: bool,
    },
    /// Show a letter with its events
    Show {
        /// The letter's number, as the list shows it
        number: u64,
    },
    /// Give letters back to the stream of events. Safe to repeat and to interrupt: the store keeps each event once
    Replay(Selection),
    /// Delete letters, and with them their events, for good
    Drop {
        #[command(flatten)]
        selection: Selection,
        /// Needed with --all
        #[arg(long)]
        yes: bool,
    },
}

/// Which letters.
#[derive(Args)]
struct Filter {
    /// Only with this reason
    #[arg(long)]
    reason: Option<String>,
    /// Only of this project
    #[arg(long)]
    project: Option<String>,
}

#[derive(Args)]
struct Selection {
    /// The letters' numbers, as the list shows them
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    numbers: Vec<u64>,
    /// All letters that there are now
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
}

pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let pool = store::connect(&options.database)?;
    let stream = Stream::connect(&options.nats).await?;
    let letters = Letters::open(&stream).await?;
    match options.command {
        Command::List { filter, limit, json } => list(&letters, &pool, &filter, limit, json).await,
        Command::Show { number } => show(&numbered(&letters, number).await?),
        Command::Replay(selection) => {
            let publisher = Publisher::new(stream, &options.publishing);
            replay(&letters, &publisher, &pool, &selection).await
        }
        Command::Drop { selection, yes } => {
            ensure!(
                yes || !selection.all,
                "this would delete every letter for good; add --yes if that is meant"
            );
            drop_letters(&letters, &pool, &selection).await
        }
    }
}

async fn list(
    letters: &Letters,
    pool: &PgPool,
    filter: &Filter,
    limit: usize,
    json: bool,
) -> anyhow::Result<()> {
    let found = matching(letters, pool, filter, limit).await?;
    if json {
        for letter in &found {
            println!("{}", described(letter));
        }
        return Ok(());
    }
    println!(
        "{:<8} {:<20} {:<12} {:<8} {:<7} {:<10} error",
        "number", "when", "reason", "project", "events", "source"
    );
    for letter in &found {
        let (project, events) = message::decode(&letter.payload).map_or(("-".into(), "-".into()), |batch| {
            (batch.project_id.to_string(), batch.events.len().to_string())
        });
        let error: String = letter.error.chars().take(ERROR_SHOWN).collect();
        let (when, sequence) = (instant(letter.at), letter.source.sequence);
        println!(
            "{:<8} {when:<20} {:<12} {project:<8} {events:<7} {sequence:<10} {error}",
            letter.number, letter.reason
        );
    }
    let by_reason = letters.by_reason().await?;
    let all: usize = by_reason.values().sum();
    println!("\n{all} letters{}", of_which(&by_reason));
    Ok(())
}

fn show(letter: &Letter) -> anyhow::Result<()> {
    let mut shown = described(letter);
    match message::decode(&letter.payload) {
        Ok(batch) => shown["events"] = events(&batch),
        Err(error) => {
            shown["unreadable"] = error.to_string().into();
            shown["bytes"] = hexadecimal(&letter.payload).into();
        }
    }
    println!("{}", serde_json::to_string_pretty(&shown)?);
    Ok(())
}

fn described(letter: &Letter) -> Value {
    let batch = message::decode(&letter.payload).ok();
    json!({
        "number": letter.number,
        "at": instant(letter.at),
        "reason": letter.reason,
        "error": letter.error,
        "source_sequence": letter.source.sequence,
        "source_time": instant(letter.source.time),
        "project_id": batch.as_ref().map(|batch| batch.project_id.get()),
        "request_id": batch.as_ref().map(|batch| batch.request_id.clone()),
        "received_at": batch.as_ref().map(|batch| instant(batch.received_at)),
        "events": batch.as_ref().map(|batch| batch.events.len()),
    })
}

fn events(batch: &Batch<'_>) -> Value {
    let shown = batch.events.iter().map(|event| {
        // What is set aside may be what is no JSON.
        let properties = serde_json::from_str(&event.properties)
            .unwrap_or_else(|_| Value::from(event.properties.as_ref()));
        json!({
            "event_id": event.event_id,
            "user_id": event.user_id,
            "event_type": event.event_type,
            "occurred_at": event.occurred_at.map(instant),
            "properties": properties,
        })
    });
    shown.collect()
}

async fn replay(
    letters: &Letters,
    publisher: &Publisher,
    pool: &PgPool,
    selection: &Selection,
) -> anyhow::Result<()> {
    let mut events = 0;
    let replayed = each(letters, pool, selection, "replayed", async |letter| {
        ensure!(
            !letter.source.subject.is_empty(),
            "letter {} does not say where it comes from: an older weir has written it",
            letter.number
        );
        loop {
            match letters.give_back(letter, publisher).await {
                Ok(_) => break,
                Err(error) if error.is_transient() => tokio::time::sleep(RETRY_PAUSE).await,
                Err(error) => bail!(anyhow::Error::from(error).context(format!("letter {}", letter.number))),
            }
        }
        letters.remove(letter).await?;
        events += message::decode(&letter.payload).map_or(0, |batch| batch.events.len());
        Ok(())
    })
    .await?;
    println!(
        "{replayed} letters with {events} events are back in the stream of events. What fails again comes back with a new \
         number."
    );
    Ok(())
}

async fn drop_letters(letters: &Letters, pool: &PgPool, selection: &Selection) -> anyhow::Result<()> {
    let mut by_reason = BTreeMap::new();
    let dropped = each(letters, pool, selection, "dropped", async |letter| {
        letters.remove(letter).await?;
        *by_reason.entry(letter.reason.clone()).or_insert(0) += 1;
        Ok(())
    })
    .await?;
    println!("{dropped} letters are dropped{}", of_which(&by_reason));
    Ok(())
}

/// Does something with each letter of a selection, one after the other; their number.
async fn each(
    letters: &Letters,
    pool: &PgPool,
    selection: &Selection,
    done: &'static str,
    mut act: impl AsyncFnMut(&Letter) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let filter = Matching::of(&selection.filter, pool).await?;
    let mut acted = 0;
    if selection.all {
        let all: usize = letters.by_reason().await?.values().sum();
        let progress = progress(all, done);
        let mut number = 1;
        while let Some(letter) = letters.from(number).await? {
            number = letter.number + 1;
            if filter.holds(&letter) {
                act(&letter).await?;
                acted += 1;
            }
            progress.inc(1);
        }
        progress.finish_and_clear();
        return Ok(acted);
    }
    // All must be there before anything is done.
    for &number in &selection.numbers {
        let letter = numbered(letters, number).await?;
        ensure!(filter.holds(&letter), "letter {number} is not one that --reason and --project ask for");
    }
    for &number in &selection.numbers {
        act(&numbered(letters, number).await?).await?;
        acted += 1;
    }
    Ok(acted)
}

async fn numbered(letters: &Letters, number: u64) -> anyhow::Result<Letter> {
    let found = letters.from(number).await?.filter(|letter| letter.number == number);
    found.with_context(|| format!("there is no letter {number}; `weir dlq list` shows those that there are"))
}

async fn matching(
    letters: &Letters,
    pool: &PgPool,
    filter: &Filter,
    limit: usize,
) -> anyhow::Result<Vec<Letter>> {
    let filter = Matching::of(filter, pool).await?;
    let (mut found, mut number) = (Vec::new(), 1);
    while found.len() < limit
        && let Some(letter) = letters.from(number).await?
    {
        number = letter.number + 1;
        if filter.holds(&letter) {
            found.push(letter);
        }
    }
    Ok(found)
}

/// A filter whose project is known.
struct Matching<'f> {
    reason: Option<&'f str>,
    project: Option<Project>,
}

impl<'f> Matching<'f> {
    async fn of(filter: &'f Filter, pool: &PgPool) -> anyhow::Result<Self> {
        let project = match &filter.project {
            Some(name) => Some(super::project_named(pool, name).await?),
            None => None,
        };
        Ok(Self { reason: filter.reason.as_deref(), project })
    }

    fn holds(&self, letter: &Letter) -> bool {
        let of_project = |project: &Project| {
            message::decode(&letter.payload).is_ok_and(|batch| batch.project_id == project.id)
        };
        self.reason.is_none_or(|reason| reason == letter.reason)
            && self.project.as_ref().is_none_or(of_project)
    }
}

fn of_which(by_reason: &BTreeMap<String, usize>) -> String {
    let parts: Vec<_> = by_reason.iter().map(|(reason, letters)| format!("{letters} {reason}")).collect();
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in &bytes[..bytes.len().min(BYTES_SHOWN)] {
        write!(text, "{byte:02x}").expect("a text takes all");
    }
    if bytes.len() > BYTES_SHOWN {
        write!(text, "… ({} bytes)", bytes.len()).expect("a text takes all");
    }
    text
}

fn instant(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn progress(letters: usize, done: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}").expect("a valid template");
    ProgressBar::new(letters as u64).with_style(style).with_message(done)
}
