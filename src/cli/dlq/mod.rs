//! `weir dlq`: what could not be stored.

mod selection;
mod text;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use sqlx::PgPool;
use weir::{
    config,
    model::duration::{are, counted},
    store,
    stream::{
        Stream,
        dead_letters::{Letter, Letters, NotGivenBack},
        publish::Publisher,
    },
    telemetry,
};

use self::selection::{LetterFilter, LetterSelection, matching, numbered};

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
        filter: LetterFilter,
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
    Replay(LetterSelection),
    /// Delete letters, and with them their events, for good
    Drop {
        #[command(flatten)]
        selection: LetterSelection,
        /// Needed with --all
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let pool = store::open(&options.database).await?;
    let stream = Stream::connect(&options.nats).await?;
    let letters = Letters::open(&stream).await?;
    match options.command {
        Command::List { filter, limit, json } => list(&letters, &pool, &filter, limit, json).await,
        Command::Show { number } => {
            let letter = numbered(&letters, number).await?;
            println!("{}", serde_json::to_string_pretty(&text::in_full(&letter))?);
            Ok(())
        }
        Command::Replay(selection) => {
            let publisher = Publisher::new(stream, &options.publishing);
            replay(&letters, &publisher, &pool, &selection).await
        }
        Command::Drop { selection, yes } => {
            ensure!(
                yes || !selection.all,
                "this would delete every letter and its events for good; add --yes if you mean that"
            );
            drop_letters(&letters, &pool, &selection).await
        }
    }
}

async fn list(
    letters: &Letters,
    pool: &PgPool,
    filter: &LetterFilter,
    limit: usize,
    json: bool,
) -> anyhow::Result<()> {
    let found = matching(letters, pool, filter, limit).await?;
    if json {
        for letter in &found {
            println!("{}", text::described(letter));
        }
        return Ok(());
    }
    let names = project_names(pool).await;
    println!("{}", text::table_head());
    for letter in &found {
        println!("{}", text::table_line(letter, &names));
    }
    let by_reason = letters.by_reason().await?;
    let all: usize = by_reason.values().sum();
    println!("\n{} in all{}", counted(all as u64, "letter"), text::of_which(&by_reason));
    Ok(())
}

/// The names of projects by their numbers. Letters are listed without them too.
async fn project_names(pool: &PgPool) -> BTreeMap<i32, String> {
    match store::projects::list(pool).await {
        Ok(projects) => {
            projects.into_iter().flatten().map(|project| (project.id.get(), project.name)).collect()
        }
        Err(error) => {
            eprintln!(
                "projects are shown by their numbers, because their names cannot be read: {}",
                telemetry::chain(&error)
            );
            BTreeMap::new()
        }
    }
}

async fn replay(
    letters: &Letters,
    publisher: &Publisher,
    pool: &PgPool,
    selection: &LetterSelection,
) -> anyhow::Result<()> {
    let (mut replayed, mut events, mut left) = (0, 0, 0);
    selection
        .each(letters, pool, async |letter, progress| {
            if give_back(letters, letter, publisher, progress).await? {
                letters.remove(letter).await?;
                replayed += 1;
                events += letter.events().unwrap_or(0);
            } else {
                left += 1;
            }
            Ok(())
        })
        .await?;
    println!(
        "{} with {} {} back in the stream of events. If one fails again, it comes back with a new number: see `weir dlq list`.",
        counted(replayed, "letter"),
        counted(events as u64, "event"),
        are(replayed)
    );
    ensure!(left == 0, "{} cannot be replayed, for the reasons above", counted(left, "letter"));
    Ok(())
}

/// Gives a letter back, and waits while the stream is full or away. False if it cannot be given back at all.
async fn give_back(
    letters: &Letters,
    letter: &Letter,
    publisher: &Publisher,
    progress: &ProgressBar,
) -> anyhow::Result<bool> {
    let number = letter.number;
    let mut is_reported = false;
    loop {
        match letters.give_back(letter, publisher).await {
            Ok(_) => return Ok(true),
            Err(NotGivenBack::NotPublished(error)) if error.is_transient() => {
                if !is_reported {
                    progress.suspend(|| eprintln!("letter {number} waits: {error}; Ctrl-C is safe"));
                    is_reported = true;
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(error @ NotGivenBack::Unreadable) => {
                progress.suspend(|| eprintln!("letter {number}: {error}"));
                return Ok(false);
            }
            Err(error) => return Err(error).with_context(|| format!("letter {number} is not replayed")),
        }
    }
}

async fn drop_letters(letters: &Letters, pool: &PgPool, selection: &LetterSelection) -> anyhow::Result<()> {
    let (mut by_reason, mut events) = (BTreeMap::new(), 0);
    selection
        .each(letters, pool, async |letter, _| {
            letters.remove(letter).await?;
            *by_reason.entry(letter.reason.clone()).or_insert(0) += 1;
            events += letter.events().unwrap_or(0);
            Ok(())
        })
        .await?;
    let dropped = by_reason.values().sum::<usize>() as u64;
    println!(
        "{} with {} {} dropped{}",
        counted(dropped, "letter"),
        counted(events as u64, "event"),
        are(dropped),
        text::of_which(&by_reason)
    );
    Ok(())
}
