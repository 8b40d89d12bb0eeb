//! `weir import`: history from a CSV file, by the path of live events from the stream on.
//!
//! The filter in Redis is left out: it knows the last day, history is older, and the store recognises what it has. So an
//! import can be repeated and interrupted at any time.

mod columns;
mod line;
mod line_endings;
mod report;
mod source;
mod table;
mod times;

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context;
use chrono::{SubsecRound, Utc};
use clap::Args;
use futures::{StreamExt, stream::FuturesOrdered};
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::PgPool;
use weir::{
    config,
    ingest::{
        self,
        dedup::History,
        validate::{Rejection, Rules},
    },
    model::{
        duration::{counted, in_words},
        event::{Batch, Copies, Event},
        project::{Project, ProjectId},
        zone::Zone,
    },
    projects::event_types::EventTypes,
    store,
    stream::{Stream, message::Encoded, publish::Publisher},
    telemetry,
};

use self::{
    columns::{Columns, Renaming, Renamings},
    line::{Line, Lines, Writing},
    report::{Refused, Report},
    source::InputFile,
    table::Table,
    times::Dates,
};

/// Events in a message.
const CHUNK: usize = 1_000;
/// Messages that wait for their ack.
const IN_FLIGHT: usize = 8;
/// Events that are shown before an import.
const SHOWN: usize = 3;
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often the workers are asked how far they are.
const WAIT_PAUSE: Duration = Duration::from_millis(200);

/// How long an import waits for a connection to the database at least.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long nothing is stored before it is said where to look.
const STUCK: Duration = Duration::from_secs(5);

#[derive(Args)]
#[command(mut_args(without_limits_of_requests))]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command")]
pub(super) struct Options {
    /// A CSV file, plain or gzip, in UTF-8 or UTF-16. Its first line names its columns, in any order: `event_type` and
    /// `occurred_at`, and if you have them `event_id`, `user_id`, `properties_json` and any number of `properties.NAME`. A line
    /// without an id gets one from what it says and how often the file has said it before, so you can import the same file
    /// again, also when it has grown
    file: PathBuf,
    /// The project's name
    #[arg(long, env = "WEIR_PROJECT", default_value = "dev")]
    project: String,
    /// The separator of fields: one character, or `tab`; without it comma, semicolon or tab, whichever splits the first line
    #[arg(long, value_parser = delimiter)]
    delimiter: Option<u8>,
    /// What columns of other names are, such as `when=occurred_at,country=properties.country`
    #[arg(long, value_name = "NAME=COLUMN")]
    columns: Vec<Renamings>,
    /// Take all columns that weir does not know as properties
    #[arg(long)]
    properties: bool,
    /// The time zone of times without one, such as Europe/Kyiv
    #[arg(long, value_parser = super::projects::timezone)]
    timezone: Option<Zone>,
    /// What dates such as 02.03.2026 or 3/2/2026 begin with
    #[arg(long)]
    dates: Option<Dates>,
    /// Take 49,90 and 1.234,50 in columns of properties as numbers
    #[arg(long)]
    decimal_comma: bool,
    /// Only check the file, count, and show the first events as they would be stored
    #[arg(long)]
    dry_run: bool,
    /// Do not wait until the workers have stored the events
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    limits: config::Limits,
    #[command(flatten)]
    retention: config::EventRetention,
    #[command(flatten)]
    database: config::Database,
    #[command(flatten)]
    nats: config::Nats,
    #[command(flatten)]
    publishing: config::Publishing,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [one] if one.is_ascii() && !b"\"\n\r".contains(one) => Ok(*one),
        b"tab" | b"\\t" => Ok(b'\t'),
        _ => Err("expected one character, or tab".into()),
    }
}

/// Lines that were read together.
struct Chunk {
    lines: Vec<Line>,
    /// Those of them that are no events.
    refused: Vec<Refused>,
    /// Bytes of the file that were read by then.
    read: u64,
}

/// What became of a chunk.
struct Sent {
    new: usize,
    known: usize,
    /// In the order of their lines.
    refused: Vec<Refused>,
    last_sequence: u64,
    read: u64,
}

pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let name = options.file.display().to_string();
    let cannot_read = || format!("cannot read {name}");
    let InputFile { text, read, size } =
        InputFile::open(&options.file).with_context(|| format!("cannot open {name}"))?;
    // Nobody waits for an answer, and on a busy machine a connection takes its time.
    let database_timeout = options.database.database_timeout.max(PATIENCE);
    let pool = store::open(&config::Database { database_timeout, ..options.database.clone() }).await?;
    let project = super::project_named(&pool, &options.project).await?;
    let mut table = Table::new(text);
    let header = table.header(options.delimiter).with_context(cannot_read)?;
    let header =
        header.with_context(|| format!("{name} is empty: expected a line that names its columns"))?;
    let renamings: Vec<Renaming> =
        options.columns.iter().flat_map(|Renamings(renamings)| renamings.iter().cloned()).collect();
    let columns = Columns::of(&header, &renamings, options.properties)?;
    eprintln!(
        "{} {name} for project '{}', whose days are those of {}.",
        if options.dry_run { "Checking" } else { "Importing" },
        project.name,
        project.timezone.name()
    );

    let stream = Stream::connect(&options.nats).await?;
    stream.attach().await?;
    let publisher = Publisher::new(stream.clone(), &options.publishing);
    // What the stream recognises may have been lost with an older database.
    publisher.set_history(&History::look(&stream, &pool).await?.to_string());
    let import = Import {
        limits: &options.limits.clone().within(&options.retention),
        project: &project,
        event_types: EventTypes::new(pool.clone()),
        publisher,
        pool,
        is_dry: options.dry_run,
        is_waiting: AtomicBool::new(false),
    };

    let progress = progress(size);
    let (mut report, mut last_sequence) = (Report::default(), 0);
    let writing = Writing {
        zone: options.timezone.as_ref(),
        dates: options.dates,
        decimal_comma: options.decimal_comma,
    };
    let mut lines = Lines::new(&columns, project.id, writing);
    let mut sending = FuturesOrdered::new();
    let mut to_show = if options.dry_run { SHOWN } else { 0 };
    loop {
        let rows = table.rows(CHUNK, |row| line::can_have_lines(&columns, row)).with_context(cannot_read)?;
        let last = rows.is_empty();
        let read = read.load(Ordering::Relaxed);
        let mut chunk = Chunk { lines: Vec::with_capacity(rows.len()), refused: Vec::new(), read };
        for row in rows {
            match row {
                Ok(row) => match lines.line(&row) {
                    Ok(line) => chunk.lines.push(line),
                    Err(rejection) => chunk.refused.push(Refused::Rejected(row.line, rejection)),
                },
                Err(no_row) => chunk.refused.push(Refused::NoRow(no_row)),
            }
        }
        import.show(&chunk, &mut to_show, &progress);
        if !last {
            sending.push_back(import.send(chunk));
        }
        while sending.len() >= if last { 1 } else { IN_FLIGHT } {
            if let Some(sent) = sending.next().await {
                let sent = sent?;
                for refused in &sent.refused {
                    report.refuse(&progress, refused);
                }
                report.new += sent.new;
                report.known += sent.known;
                last_sequence = last_sequence.max(sent.last_sequence);
                progress.set_position(sent.read);
                progress.set_message(counted((report.new + report.known) as u64, "event"));
            }
        }
        if last {
            break;
        }
    }
    progress.finish_and_clear();
    let concluded = report.conclude(&name, &options.project, options.dry_run);
    if !options.no_wait && last_sequence > 0 {
        wait_until_stored(&stream, project.id, last_sequence).await?;
    }
    concluded
}

struct Import<'a> {
    limits: &'a config::Limits,
    project: &'a Project,
    event_types: EventTypes,
    publisher: Publisher,
    pool: PgPool,
    is_dry: bool,
    /// Events cannot be sent, which is said once.
    is_waiting: AtomicBool,
}

impl Import<'_> {
    fn rules(&self) -> Rules<'_> {
        Rules {
            limits: self.limits,
            project_id: self.project.id,
            now: Utc::now().trunc_subsecs(6),
            idempotency_key: None,
        }
    }

    /// Shows the first events as they would be stored.
    fn show(&self, chunk: &Chunk, to_show: &mut usize, progress: &ProgressBar) {
        let rules = self.rules();
        let events = chunk.lines.iter().filter_map(|line| rules.validate(line.event(), 0).ok());
        for valid in events.take(*to_show) {
            *to_show -= 1;
            let Event { event_id, user_id, event_type, occurred_at, properties, .. } = valid.event;
            let properties: serde_json::Value = serde_json::from_str(&properties).unwrap_or_default();
            let event = serde_json::json!({"event_id": event_id, "event_type": event_type, "user_id": user_id,
                                           "occurred_at": occurred_at, "properties": properties});
            progress.suspend(|| println!("{event:#}"));
        }
    }

    async fn send(&self, chunk: Chunk) -> anyhow::Result<Sent> {
        let rules = self.rules();
        let mut sent = Sent { new: 0, known: 0, refused: chunk.refused, last_sequence: 0, read: chunk.read };
        let mut events = Vec::with_capacity(chunk.lines.len());
        for line in &chunk.lines {
            match rules.validate(line.event(), 0) {
                Ok(valid) => events.push((line.number, valid.event)),
                Err(rejection) => sent.refused.push(Refused::Rejected(line.number, rejection)),
            }
        }
        let limit = self.project.overrides.max_event_types.unwrap_or(self.limits.max_event_types);
        let event_types = events.iter().map(|(_, event)| &*event.event_type).collect();
        let beyond = self.event_types.beyond(self.project.id, limit, &event_types).await;
        for (line, event) in events.extract_if(.., |(_, event)| beyond.contains(&*event.event_type)) {
            let rejection = Rejection::too_many_event_types(&event.event_type, limit.get());
            sent.refused.push(Refused::Rejected(line, rejection));
        }
        sent.refused.sort_by_key(Refused::line);
        if events.is_empty() {
            return Ok(sent);
        }
        let events: Vec<_> = events.into_iter().map(|(_, event)| event).collect();
        sent.known = self.known(&events).await?;
        sent.new = events.len() - sent.known;
        if self.is_dry {
            return Ok(sent);
        }
        for events in ingest::split(events, self.publisher.largest_message()) {
            let batch = Batch {
                project_id: self.project.id,
                request_id: "import".into(),
                received_at: rules.now,
                copies: Copies::Unknown,
                events,
            };
            let sequence = self.publish(&Encoded::of(&batch)).await?;
            sent.last_sequence = sent.last_sequence.max(sequence);
        }
        Ok(sent)
    }

    /// How many of some events are stored, or stand twice among these.
    async fn known(&self, events: &[Event<'_>]) -> anyhow::Result<usize> {
        let mut seen = HashSet::with_capacity(events.len());
        let once: Vec<_> = events.iter().filter(|event| seen.insert(event.event_id)).collect();
        let stored = once.iter().filter_map(|event| Some((event.event_id, event.occurred_at?)));
        let stored = store::read::events::stored(&self.pool, self.project.id, stored).await?;
        Ok(events.len() - once.len() + stored)
    }

    /// Publishes, and waits while the stream is full or away.
    async fn publish(&self, Encoded { event_ids, payload }: &Encoded) -> anyhow::Result<u64> {
        loop {
            match self.publisher.publish(self.project.id, event_ids, payload.clone()).await {
                Ok(published) => return Ok(published.sequence),
                Err(error) if error.is_transient() => {
                    if !self.is_waiting.swap(true, Ordering::Relaxed) {
                        eprintln!(
                            "Waiting, because events cannot be sent: {}. Ctrl-C is safe: import the file again later.",
                            telemetry::chain(&error)
                        );
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn progress(size: u64) -> ProgressBar {
    let style = "{bar:40} {bytes}/{total_bytes} {msg}, {eta} left";
    ProgressBar::new(size).with_style(ProgressStyle::with_template(style).expect("a valid template"))
}

/// Says at once what is waited for, and after a while where to look: whoever reads it may have no worker.
async fn wait_until_stored(stream: &Stream, project_id: ProjectId, sequence: u64) -> anyhow::Result<()> {
    let style = ProgressStyle::with_template("{spinner} {msg}").expect("a valid template");
    let progress = ProgressBar::new_spinner().with_style(style);
    let (mut before, mut since, mut told) = (None, Instant::now(), false);
    loop {
        let stored = stream.stored_up_to(project_id).await?;
        if stored >= sequence {
            break;
        }
        let waiting = counted(sequence - stored, "message");
        if before.is_none() {
            eprintln!("Waiting for weir-worker to store {waiting}. You can press Ctrl-C: they are safe.");
        }
        if before != Some(stored) {
            (before, since) = (Some(stored), Instant::now());
        } else if since.elapsed() >= STUCK && !told {
            told = true;
            progress.suspend(|| {
                eprintln!(
                    "weir-worker has stored nothing for {}. Is it running? `weir doctor` tells.",
                    in_words(STUCK)
                );
            });
        }
        progress.set_message(format!("{waiting} to be stored"));
        progress.tick();
        tokio::time::sleep(WAIT_PAUSE).await;
    }
    progress.finish_and_clear();
    println!("weir-worker is done with all of them.");
    Ok(())
}

/// Does not show limits of requests: an import makes none.
fn without_limits_of_requests(argument: clap::Arg) -> clap::Arg {
    let is_of_requests = ["max_events", "max_body", "max_decompressed"].contains(&argument.get_id().as_str());
    if is_of_requests { argument.hide(true) } else { argument }
}
