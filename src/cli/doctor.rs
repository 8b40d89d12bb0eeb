//! `weir doctor`: looks at every part and at what has become of the events, and says what is wrong and what to do.

use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, Days, TimeDelta, Utc};
use clap::Args;
use sqlx::PgPool;
use weir::{
    config,
    ingest::dedup::Filter,
    model::{
        duration::{are, counted},
        zone::rules,
    },
    store::{
        self, StoreError, migrate, projects,
        upkeep::{
            clock::Skew,
            inspection::{self, Counts},
            recounts, zone_rules,
        },
        users,
        write::settled::{self, Loss},
    },
    stream::{Stream, state::State},
    telemetry,
};

/// A message that waits longer says that workers do not keep up, or that there are none.
const LAG: TimeDelta = TimeDelta::minutes(1);
const FULL_PERCENT: u64 = 80;
/// On the Community edition a late event is in the statistics after the next roll-up.
const ROLL_UP: Duration = Duration::from_secs(5);
/// Longer than workers are between two requests for messages.
const BETWEEN: Duration = Duration::from_secs(1);
/// How long a part may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(super) struct Options {
    /// How many days to compare: the events of each project with what statistics count
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=4000))]
    days: u32,
    /// You know about the messages that are missing: from now on report only others
    #[arg(long)]
    acknowledge: bool,
    #[command(flatten)]
    database: config::Database,
    #[command(flatten)]
    nats: config::Nats,
    #[command(flatten)]
    redis: config::Redis,
}

/// What was found so far.
#[derive(Default)]
struct Findings {
    warnings: usize,
    wrong: usize,
}

impl Findings {
    fn good(what: &str, text: impl std::fmt::Display) {
        println!("ok       {what:<12} {text}");
    }

    fn warning(&mut self, what: &str, text: impl std::fmt::Display) {
        self.warnings += 1;
        println!("warning  {what:<12} {text}");
    }

    fn wrong(&mut self, what: &str, text: impl std::fmt::Display) {
        self.wrong += 1;
        println!("WRONG    {what:<12} {text}");
    }

    fn check(&mut self, what: &str, result: Result<String, String>) {
        match result {
            Ok(text) => Self::good(what, text),
            Err(text) => self.warning(what, text),
        }
    }
}

pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let mut findings = Findings::default();
    let pool = store::connect(&options.database)?;
    let has_database = database(&pool, &options.database, &mut findings).await;
    redis(&options, &mut findings).await?;
    let states = match tokio::time::timeout(PATIENCE, stream_state(&options.nats)).await {
        Ok(Ok(states)) => Some(states),
        Ok(Err(error)) => {
            findings.wrong(
                "stream",
                format!("{}; the API answers events with 503", telemetry::chain(error.as_ref())),
            );
            None
        }
        Err(_) => {
            findings.wrong("stream", "NATS does not answer; the API answers events with 503");
            None
        }
    };
    let state = states.map(|(before, now)| {
        stream(&now, now.settled_up_to > before.settled_up_to, &mut findings);
        now
    });
    if has_database {
        if let Some(state) = &state {
            accepted_and_stored(&pool, state, options.acknowledge, &mut findings).await?;
        }
        stored_and_counted(&pool, options.days, &mut findings).await?;
        waiting("deletions", ("user", "deleted"), users::deletions::waiting(&pool).await?, &mut findings);
        waiting(
            "deletions",
            ("project", "deleted"),
            projects::deletions::waiting(&pool).await?,
            &mut findings,
        );
        time_zones(&pool, &mut findings).await?;
        waiting("merges", ("user", "merged"), users::merges::waiting(&pool).await?, &mut findings);
    }
    match findings {
        Findings { wrong: 0, warnings: 0 } => println!("\nweir is well."),
        Findings { wrong: 0, warnings } => {
            println!("\nNothing is lost. Look at the {}.", counted(warnings as u64, "warning"));
        }
        Findings { wrong, .. } => bail!("{wrong} of these lines {} wrong", are(wrong as u64)),
    }
    Ok(())
}

/// Whether the database can be asked further.
async fn database(pool: &PgPool, config: &config::Database, findings: &mut Findings) -> bool {
    if let Err(error) = store::open(config).await {
        return unanswered(findings, &error);
    }
    if let Err(error) = migrate::check(pool).await {
        let error = telemetry::chain(&error);
        findings.wrong("database", format!("{error}. Until then the stream keeps the events"));
        return false;
    }
    let (edition, begun) = (migrate::edition(pool).await, Utc::now());
    let (about, edition) = match (inspection::about(pool).await, edition) {
        (Ok(about), Ok(edition)) => (about, edition),
        (Err(error), _) => return unanswered(findings, &error),
        (_, Err(error)) => return unanswered(findings, &error),
    };
    Findings::good(
        "database",
        format!(
            "PostgreSQL {}, TimescaleDB {} ({edition:?} edition), roaringbitmap {}; the schema is that of this weir",
            about.postgresql, about.timescaledb, about.roaringbitmap
        ),
    );
    if !about.fsync || !about.synchronous_commit {
        findings.warning(
            "database",
            "fsync or synchronous_commit is off: if the power fails, the database loses the last commits. Switch them on",
        );
    }
    findings.check("clock", clock("the clock of the database", begun, about.now));
    true
}

fn unanswered(findings: &mut Findings, error: &(dyn std::error::Error + 'static)) -> bool {
    findings.wrong("database", telemetry::chain(error));
    false
}

fn clock(whose: &str, before: DateTime<Utc>, theirs: DateTime<Utc>) -> Result<String, String> {
    let skew = Skew::of(before, theirs);
    let milliseconds = skew.milliseconds();
    if !skew.is_too_much() {
        return Ok(format!("agrees with {whose}"));
    }
    Err(format!("differs from {whose} by {milliseconds} ms: let both machines use a time server (NTP)"))
}

async fn redis(options: &Options, findings: &mut Findings) -> anyhow::Result<()> {
    let filter = Filter::new(&options.redis, &options.nats.namespace).context("REDIS_URL")?;
    let text = if filter.is_up().await {
        Ok("answers and takes writes".into())
    } else {
        Err("does not answer, or takes no writes: the database removes duplicates meanwhile, and each instance of the API \
             has a rate limit of its own"
            .into())
    };
    findings.check("Redis", text);
    Ok(())
}

/// The state, and that of a moment before if it has to be looked at twice.
async fn stream_state(nats: &config::Nats) -> anyhow::Result<(State, State)> {
    let stream = Stream::connect(nats).await?;
    stream.attach().await?;
    let state = stream.state().await?;
    if state.asking > 0 {
        return Ok((state.clone(), state));
    }
    // Workers may just be between two requests.
    tokio::time::sleep(BETWEEN).await;
    Ok((state, stream.state().await?))
}

fn stream(state: &State, advances: bool, findings: &mut Findings) {
    let State { messages, in_hand, asking, replicas, .. } = state;
    let copies = if *replicas > 1 { format!("{replicas} copies of each") } else { "one copy of each".into() };
    let waiting = match *messages {
        0 => "every message is stored".into(),
        some => {
            let (waiting, are) = (counted(some, "message"), are(some));
            format!("{waiting} {are} not stored yet, {in_hand} of them with a worker")
        }
    };
    Findings::good("stream", format!("{waiting}; {copies}"));
    match (*asking, advances) {
        (0, false) => findings.wrong(
            "workers",
            "no worker asks for messages, so no event is stored: start weir-worker, or look at its log",
        ),
        _ => Findings::good("workers", "ask for messages"),
    }
    let waited = state.oldest.map(|oldest| Utc::now() - oldest);
    let text = waited.map(|age| format!("the oldest message has waited for {} ms", age.num_milliseconds()));
    findings.check(
        "lag",
        match text {
            Some(text) if waited > Some(LAG) => {
                Err(format!("{text}: start more workers, or look at their log"))
            }
            text => Ok(text.unwrap_or_else(|| "no message is waiting".into())),
        },
    );
    if let Some(percent) = state.max_bytes.and_then(|max| (state.bytes * 100).checked_div(max)) {
        let text = format!("{percent} % of the stream is used");
        let too_full = "when it is full, the API answers events with 503 (WEIR_STREAM_MAX_BYTES)";
        findings.check(
            "space",
            if percent < FULL_PERCENT { Ok(text) } else { Err(format!("{text}: {too_full}")) },
        );
    }
    findings.check(
        "dead letters",
        match state.dead {
            0 => Ok("none".into()),
            dead => {
                Err(format!("{} could not be stored: `weir dlq list` says why", counted(dead, "message")))
            }
        },
    );
}

/// What the stream has given away must have arrived in the database; and what former streams had.
async fn accepted_and_stored(
    pool: &PgPool,
    state: &State,
    acknowledge: bool,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let settled = state.settled_up_to;
    // A database that takes no writes is told by what it does not store.
    settled::note_stream(pool, state.created, state.last_sequence).await.ok();
    let losses = settled::losses(pool, state.created, settled).await?;
    if acknowledge {
        settled::acknowledge(pool, &losses).await?;
    }
    let is_known = |loss: &&Loss| acknowledge || loss.missing <= loss.acknowledged;
    for loss in losses.iter().filter(|loss| !is_known(loss)) {
        findings.wrong("accepted", lost(loss, state.created));
    }
    let known: i64 = losses.iter().filter(is_known).map(|loss| loss.missing).sum();
    let text = format!(
        "{}; all {settled} that left the stream are stored in the database",
        counted(state.last_sequence, "message")
    );
    match known {
        0 if losses.is_empty() => Findings::good("accepted", text),
        known if known == 0 || losses.iter().any(|loss| !is_known(&loss)) => {}
        known => Findings::good(
            "accepted",
            format!(
                "{} {} missing, as you know; nothing else is lost",
                counted(known.unsigned_abs(), "message"),
                are(known.unsigned_abs())
            ),
        ),
    }
    Ok(())
}

fn lost(loss: &Loss, present: DateTime<Utc>) -> String {
    let Loss { created, seen_at, missing, first, acknowledged } = loss;
    let missing = counted(missing.unsigned_abs(), "message");
    let known = if *acknowledged > 0 { format!(" ({acknowledged} of them you know)") } else { String::new() };
    let why = if *created == present {
        "left the stream and did not reach this database. The stream was purged or has a maximum age \
         (WEIR_STREAM_MAX_AGE), or the database is an older copy"
            .to_owned()
    } else {
        format!(
            "of an earlier stream, last seen at {} UTC, did not reach this database. That stream is gone, or \
             WEIR_NAMESPACE has changed",
            seen_at.format("%Y-%m-%d %H:%M:%S")
        )
    };
    format!(
        "{missing}{known}, the first with number {first}, {why}. Let your programs send these events again if they can; then \
         run `weir doctor --acknowledge`"
    )
}

/// What is stored must be what statistics count.
async fn stored_and_counted(pool: &PgPool, days: u32, findings: &mut Findings) -> Result<(), StoreError> {
    let (mut all, mut wrong) = (0, Vec::new());
    for project in projects::list(pool).await? {
        let project = match project {
            Ok(project) => project,
            Err(error) => {
                wrong.push(format!("{error}: run a newer weir"));
                continue;
            }
        };
        let from = project.local_date(Utc::now()) - Days::new(u64::from(days) - 1);
        let ask = || inspection::counts(pool, &project, from);
        let mut counts = ask().await?;
        if counts.stored != counts.counted {
            tokio::time::sleep(ROLL_UP).await;
            counts = ask().await?;
        }
        let Counts { stored, counted } = counts;
        all += stored;
        if stored != counted {
            wrong.push(format!("{}: {stored} events, {counted} of them counted", project.name));
        }
    }
    if wrong.is_empty() {
        Findings::good(
            "statistics",
            format!(
                "count all {} of the last {}",
                counted(all.unsigned_abs(), "event"),
                counted(days.into(), "day")
            ),
        );
    } else {
        let text = "do not count what is stored; if events arrive late just now, look again";
        findings.wrong("statistics", format!("{text}. {}", wrong.join("; ")));
    }
    Ok(())
}

/// Days must be counted by the newest rules that this machine has.
async fn time_zones(pool: &PgPool, findings: &mut Findings) -> Result<(), StoreError> {
    let (version, older) = (rules::version(), zone_rules::older(pool).await?);
    let recounts = recounts::waiting(pool).await?;
    let days: i64 = recounts.iter().map(|(_, recount)| recount.days_left()).sum();
    findings.check(
        "time zones",
        if !older.is_empty() {
            Err(format!(
                "days in {} are counted by rules older than {version}: restart weir-worker, which adopts the new ones",
                older.join(", ")
            ))
        } else if days > 0 {
            Err(format!(
                "weir-worker counts {} again by the new rules of {version}; until then statistics of them may be wrong",
                counted(days.unsigned_abs(), "day")
            ))
        } else {
            Ok(format!("use the rules of release {version} ({})", rules::source()))
        },
    );
    Ok(())
}

/// What the worker is to do with users or projects, and since when the oldest of it waits.
fn waiting(
    what: &'static str,
    (whom, done): (&str, &str),
    (waiting, oldest): (i64, Option<DateTime<Utc>>),
    findings: &mut Findings,
) {
    let number = waiting.unsigned_abs();
    let text = match number {
        0 => format!("no {whom} is waiting to be {done}"),
        _ => format!("{} {} waiting to be {done}", counted(number, whom), are(number)),
    };
    let late = oldest.is_some_and(|oldest| Utc::now() - oldest > LAG);
    findings.check(
        what,
        if late {
            Err(format!("{text}, the first for longer than a minute: look at the log of weir-worker"))
        } else {
            Ok(text)
        },
    );
}
