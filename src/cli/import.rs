//! `weir import`: history from a CSV file, by the path of live events from the stream on.
//!
//! The filter in Redis is left out: it knows the last day, history is older, and the store recognises what it has. So an
//! import can be repeated and interrupted at any time.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use chrono::{SubsecRound, Utc};
use clap::Args;
use csv::StringRecord;
use futures::{StreamExt, stream::FuturesOrdered};
use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;
use weir::{
    config,
    event::{Batch, Copies},
    ingest::{
        self,
        event_types::EventTypes,
        validate::{Dialect, Names, Rejection, Rules, Texts},
    },
    project::{Project, ProjectId},
    store,
    stream::{Stream, message::Encoded, publish::Publisher},
};

use super::lines::UnixLines;

const COLUMNS: [&str; 5] = ["event_id", "occurred_at", "user_id", "event_type", "properties_json"];
/// Events in a message.
const CHUNK: usize = 1_000;
/// Messages that wait for their ack.
const IN_FLIGHT: usize = 8;
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often the workers are asked how far they are.
const WAIT_PAUSE: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(super) struct Options {
    /// A CSV file; its first line names its columns, in any order: `event_id`, `occurred_at`, `user_id`, `event_type`,
    /// `properties_json`. `event_type` and `occurred_at` are required; a line without an id gets one from what it
    /// says and how often the file has said it before, so the same file can be imported again, also when it has grown
    file: PathBuf,
    /// The project's name
    #[arg(long, env = "WEIR_PROJECT", default_value = "dev")]
    project: String,
    /// Do not wait until the workers have stored the events
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    limits: config::Limits,
    #[command(flatten)]
    retention: config::Retention,
    #[command(flatten)]
    database: config::Database,
    #[command(flatten)]
    nats: config::Nats,
    #[command(flatten)]
    publishing: config::Publishing,
}

/// A line of the file.
struct Line {
    fields: StringRecord,
    /// How often the file has had the same line before; of lines with an id 0.
    repeated: usize,
}

/// How often lines without an id have come. An id that is made of what a line says, and not of its place, is the same in
/// a file that has grown.
struct Repeats {
    /// The column of ids.
    event_id: Option<usize>,
    seen: HashMap<Uuid, usize>,
}

impl Repeats {
    fn count(&mut self, fields: &StringRecord) -> usize {
        let has_id = self.event_id.and_then(|column| fields.get(column)).is_some_and(|id| !id.is_empty());
        if has_id {
            return 0;
        }
        let seen = self.seen.entry(Uuid::new_v5(&Uuid::nil(), content(fields).as_bytes())).or_default();
        *seen += 1;
        *seen - 1
    }
}

/// What a line says.
fn content(fields: &StringRecord) -> String {
    fields.iter().collect::<Vec<_>>().join("\0")
}

/// Lines that were read together.
struct Chunk {
    records: Vec<Line>,
    /// Bytes of the file up to the end of these lines.
    end: u64,
}

/// What became of a chunk.
struct Sent {
    events: usize,
    refused: Vec<(u64, Rejection)>,
    last_sequence: u64,
    end: u64,
}

pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let name = options.file.display().to_string();
    let file = File::open(&options.file).with_context(|| format!("cannot open {name}"))?;
    let size = file.metadata()?.len();
    let mut reader = csv::Reader::from_reader(UnixLines::new(file));
    let columns = columns(reader.headers().with_context(|| format!("cannot read {name}"))?)?;

    let pool = store::connect(&options.database)?;
    let project = super::project_named(&pool, &options.project).await?;
    let stream = Stream::connect(&options.nats).await?;
    stream.attach().await?;
    let import = Import {
        columns: &columns,
        limits: &options.limits.clone().within(&options.retention),
        project: &project,
        event_types: EventTypes::new(pool),
        publisher: Publisher::new(stream.clone(), &options.publishing),
    };

    let progress = progress(size);
    let mut total = Total::default();
    let mut repeats = Repeats { event_id: columns.get("event_id").copied(), seen: HashMap::new() };
    let mut sending = FuturesOrdered::new();
    loop {
        let chunk = read(&mut reader, &mut repeats, &mut total.unreadable)?;
        let last = chunk.records.is_empty();
        if !last {
            sending.push_back(import.send(chunk));
        }
        while sending.len() >= if last { 1 } else { IN_FLIGHT } {
            if let Some(sent) = sending.next().await {
                total.add(&sent?, &progress);
            }
        }
        if last {
            break;
        }
    }
    progress.finish_and_clear();
    total.report(&name, &options.project);
    if !options.no_wait && total.events > 0 {
        wait_until_stored(&stream, project.id, total.last_sequence).await?;
    }
    let refused = total.refused + total.unreadable;
    let others = if total.events == 0 { "nothing is imported" } else { "the other lines are imported" };
    ensure!(refused == 0, "{refused} lines were refused, for the reasons above; {others}");
    Ok(())
}

/// The index of each known column in the file.
fn columns(header: &StringRecord) -> anyhow::Result<BTreeMap<&'static str, usize>> {
    let mut columns = BTreeMap::new();
    for (index, name) in header.iter().enumerate() {
        let Some(known) =
            COLUMNS.into_iter().find(|known| *known == name.trim_start_matches('\u{feff}').trim())
        else {
            bail!("the file has a column '{name}'; expected {}", COLUMNS.join(", "));
        };
        ensure!(columns.insert(known, index).is_none(), "the file has two columns '{known}'");
    }
    for required in ["event_type", "occurred_at"] {
        ensure!(columns.contains_key(required), "the file has no column {required}");
    }
    Ok(columns)
}

/// The next lines; lines that are no CSV are told of and counted.
fn read<R: Read>(
    reader: &mut csv::Reader<R>,
    repeats: &mut Repeats,
    unreadable: &mut usize,
) -> anyhow::Result<Chunk> {
    let mut records = Vec::with_capacity(CHUNK);
    while records.len() < CHUNK {
        let mut fields = StringRecord::new();
        match reader.read_record(&mut fields) {
            Ok(true) => {
                let repeated = repeats.count(&fields);
                records.push(Line { fields, repeated });
            }
            Ok(false) => break,
            Err(error) if matches!(error.kind(), csv::ErrorKind::Io(_)) => return Err(error.into()),
            Err(error) => {
                eprintln!("{}", unreadable_line(&error));
                *unreadable += 1;
            }
        }
    }
    Ok(Chunk { records, end: reader.position().byte() })
}

fn unreadable_line(error: &csv::Error) -> String {
    let line = error.position().map_or(0, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {line}: expected {expected_len} fields, got {len}")
        }
        _ => format!("line {line}: {error}"),
    }
}

struct Import<'a> {
    columns: &'a BTreeMap<&'static str, usize>,
    limits: &'a config::Limits,
    project: &'a Project,
    event_types: EventTypes,
    publisher: Publisher,
}

impl Import<'_> {
    async fn send(&self, chunk: Chunk) -> anyhow::Result<Sent> {
        let received_at = Utc::now().trunc_subsecs(6);
        let rules = Rules {
            limits: self.limits,
            project_id: self.project.id,
            now: received_at,
            idempotency_key: None,
            dialect: Dialect::Weir,
        };
        let mut sent = Sent { events: 0, refused: Vec::new(), last_sequence: 0, end: chunk.end };
        let mut events = Vec::with_capacity(chunk.records.len());
        for line in &chunk.records {
            match self.texts(line).and_then(|texts| rules.texts(texts)) {
                Ok(valid) => events.push((line.number(), valid.event)),
                Err(rejection) => sent.refused.push((line.number(), rejection)),
            }
        }
        let limit = self.project.overrides.max_event_types.unwrap_or(self.limits.max_event_types);
        let event_types = events.iter().map(|(_, event)| &*event.event_type).collect();
        let beyond = self.event_types.beyond(self.project.id, limit, &event_types).await;
        for (line, event) in events.extract_if(.., |(_, event)| beyond.contains(&*event.event_type)) {
            let rejection = Rejection::too_many_event_types(&event.event_type, limit.get());
            sent.refused.push((line, rejection));
        }
        let events: Vec<_> = events.into_iter().map(|(_, event)| event).collect();
        sent.events = events.len();
        for events in ingest::split(events, self.publisher.largest_message()) {
            let batch = Batch {
                project_id: self.project.id,
                request_id: "import".into(),
                received_at,
                copies: Copies::Unknown,
                events,
            };
            let sequence = self.publish(&Encoded::of(&batch)).await?;
            sent.last_sequence = sent.last_sequence.max(sequence);
        }
        Ok(sent)
    }

    /// A line's fields; an empty one is as good as absent.
    fn texts<'r>(&self, line: &'r Line) -> Result<Texts<'r>, Rejection> {
        let field = |name| {
            let text = self.columns.get(name).and_then(|&index| line.fields.get(index));
            text.filter(|text| !text.is_empty())
        };
        let properties = field("properties_json");
        if let Some(Err(error)) = properties.map(serde_json::from_str::<&serde_json::value::RawValue>) {
            return Err(Rejection::invalid_json("properties_json", &error));
        }
        let given = || {
            let project_id = self.project.id;
            project_id.replayable_event_id(&content(&line.fields), line.repeated).to_string().into()
        };
        Ok(Texts {
            names: &Names::OWN,
            source: None,
            event_id: Some(field("event_id").map_or_else(given, Into::into)),
            user_id: field("user_id").map(Into::into),
            event_type: field("event_type").map(Into::into),
            // Empty is no time, and an error: history must say when it happened.
            occurred_at: Some(field("occurred_at").unwrap_or_default().into()),
            properties: properties.map(|text| text.trim().into()),
            index: 0,
        })
    }

    /// Publishes, and waits while the stream is full or away.
    async fn publish(&self, Encoded { event_ids, payload }: &Encoded) -> anyhow::Result<u64> {
        loop {
            match self.publisher.publish(self.project.id, event_ids, payload.clone()).await {
                Ok(published) => return Ok(published.sequence),
                Err(error) if error.is_transient() => tokio::time::sleep(RETRY_PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Line {
    fn number(&self) -> u64 {
        self.fields.position().map_or(0, csv::Position::line)
    }
}

#[derive(Default)]
struct Total {
    events: usize,
    refused: usize,
    unreadable: usize,
    last_sequence: u64,
}

impl Total {
    fn add(&mut self, sent: &Sent, progress: &ProgressBar) {
        for (line, Rejection { field, message, .. }) in &sent.refused {
            let field = field.as_deref().unwrap_or("event");
            progress.suspend(|| eprintln!("line {line}: {field}: {message}"));
        }
        self.events += sent.events;
        self.refused += sent.refused.len();
        self.last_sequence = self.last_sequence.max(sent.last_sequence);
        progress.set_position(sent.end);
        progress.set_message(format!("{} events", self.events));
    }

    fn report(&self, file: &str, project: &str) {
        println!("{} events of {file} are durable in the stream, for project '{project}'.", self.events);
    }
}

fn progress(size: u64) -> ProgressBar {
    let style = "{bar:40} {bytes}/{total_bytes} {msg}, {eta} left";
    ProgressBar::new(size).with_style(ProgressStyle::with_template(style).expect("a valid template"))
}

async fn wait_until_stored(stream: &Stream, project_id: ProjectId, sequence: u64) -> anyhow::Result<()> {
    let style = ProgressStyle::with_template("{spinner} {msg}").expect("a valid template");
    let progress = ProgressBar::new_spinner().with_style(style);
    loop {
        let stored = stream.stored_up_to(project_id).await?;
        if stored >= sequence {
            break;
        }
        progress.set_message(format!(
            "{} messages wait for weir-worker; Ctrl-C is safe, they wait on",
            sequence - stored
        ));
        progress.tick();
        tokio::time::sleep(WAIT_PAUSE).await;
    }
    progress.finish_and_clear();
    println!("weir-worker is done with all of them.");
    Ok(())
}
