//! `weir doctor`: looks at every part and at what has become of the events, and says in words what is wrong.

use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, Days, TimeDelta, Utc};
use clap::Args;
use sqlx::PgPool;
use weir::{
    config,
    ingest::dedup::Filter,
    model::zone::rules,
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
/// The stream is getting full.
const FULL_PERCENT: u64 = 80;
/// On the Community edition a late event is in the statistics after the next roll-up.
const ROLL_UP: Duration = Duration::from_secs(5);
/// Longer than workers are between two questions.
const BETWEEN: Duration = Duration::from_secs(1);
/// How long a part may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(super) struct Options {
    /// Days whose events are compared with what statistics count, in each project
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=4000))]
    days: u32,
    /// You know of the messages that are missing: from now on only others are told
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
    let state = match tokio::time::timeout(PATIENCE, stream_state(&options.nats)).await {
        Ok(Ok(state)) => Some(state),
        Ok(Err(error)) => {
            findings.wrong(
                "stream",
                format!("{}: events are answered with 503", telemetry::chain(error.as_ref())),
            );
            None
        }
        Err(_) => {
            findings.wrong("stream", "NATS does not answer: events are answered with 503");
            None
        }
    };
    if let Some(state) = &state {
        stream(state, &mut findings);
    }
    if has_database {
        if let Some(state) = &state {
            accepted_and_stored(&pool, state, options.acknowledge, &mut findings).await?;
        }
        stored_and_counted(&pool, options.days, &mut findings).await?;
        waiting("deletions", "users", users::deletions::waiting(&pool).await?, &mut findings);
        waiting("deletions", "projects", projects::deletions::waiting(&pool).await?, &mut findings);
        time_zones(&pool, &mut findings).await?;
        waiting("merges", "users", users::merges::waiting(&pool).await?, &mut findings);
    }
    match findings {
        Findings { wrong: 0, warnings: 0 } => println!("\nweir is well."),
        Findings { wrong: 0, warnings } => println!("\nNothing is lost; {warnings} to look at."),
        Findings { wrong, .. } => bail!("{wrong} of these are wrong"),
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
        findings.wrong("database", format!("{error}: the stream holds the events meanwhile"));
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
            "PostgreSQL {}, TimescaleDB {} ({edition:?} edition), roaringbitmap {}, the schema of this weir",
            about.postgresql, about.timescaledb, about.roaringbitmap
        ),
    );
    if !about.fsync || !about.synchronous_commit {
        findings.warning(
            "database",
            "fsync or synchronous_commit is off: with power goes what was committed last",
        );
    }
    findings.check("clock", clock("the database", begun, about.now));
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
        return Ok(format!("differs from that of {whose} by {milliseconds} ms at most"));
    }
    Err(format!("differs from that of {whose} by {milliseconds} ms: let both follow a time server"))
}

async fn redis(options: &Options, findings: &mut Findings) -> anyhow::Result<()> {
    let filter = Filter::new(&options.redis, &options.nats.namespace).context("REDIS_URL")?;
    let text = if filter.is_up().await {
        Ok("takes marks".into())
    } else {
        Err("does not answer, or takes no writes: duplicates reach the database, rates hold per instance"
            .into())
    };
    findings.check("Redis", text);
    Ok(())
}

async fn stream_state(nats: &config::Nats) -> anyhow::Result<State> {
    let stream = Stream::connect(nats).await?;
    stream.attach().await?;
    let state = stream.state().await?;
    if state.asking > 0 {
        return Ok(state);
    }
    // Workers may just be between two questions.
    tokio::time::sleep(BETWEEN).await;
    Ok(stream.state().await?)
}

fn stream(state: &State, findings: &mut Findings) {
    let State { messages, in_hand, asking, replicas, .. } = state;
    let copies = if *replicas > 1 { format!("{replicas} copies of each") } else { "one copy of each".into() };
    Findings::good("stream", format!("{messages} messages wait, {in_hand} of them in hand; {copies}"));
    if *asking == 0 && in_hand == &0 {
        findings.wrong("workers", "none asks for messages: start weir-worker, or look at its log");
    } else {
        Findings::good("workers", format!("{asking} questions for messages stand"));
    }
    match state.oldest.map(|oldest| Utc::now() - oldest) {
        Some(age) if age > LAG => findings.warning(
            "lag",
            format!(
                "the oldest message waits for {} s: workers do not keep up, or do not store",
                age.num_seconds()
            ),
        ),
        Some(age) => Findings::good("lag", format!("{} ms", age.num_milliseconds())),
        None => Findings::good("lag", "none"),
    }
    if let Some(percent) = state.max_bytes.and_then(|max| (state.bytes * 100).checked_div(max)) {
        let text = format!("{percent} % of its bytes are used");
        let too_full = "events are answered with 503 when it is full (WEIR_STREAM_MAX_BYTES)";
        findings.check(
            "room",
            if percent < FULL_PERCENT { Ok(text) } else { Err(format!("{text}: {too_full}")) },
        );
    }
    findings.check(
        "dead letters",
        match state.dead {
            0 => Ok("none".into()),
            dead => Err(format!("{dead} messages could not be stored: `weir dlq list` tells why")),
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
        "{} messages; all {settled} that left the stream are settled in the database",
        state.last_sequence
    );
    match known {
        0 if losses.is_empty() => Findings::good("accepted", text),
        known if known == 0 || losses.iter().any(|loss| !is_known(&loss)) => {}
        known => Findings::good(
            "accepted",
            format!("{known} messages are missing, of which you know; nothing else is lost"),
        ),
    }
    Ok(())
}

fn lost(loss: &Loss, present: DateTime<Utc>) -> String {
    let Loss { created, seen_at, missing, first, acknowledged } = loss;
    let known = if *acknowledged > 0 { format!(", {acknowledged} of which you know") } else { String::new() };
    let why = if *created == present {
        "left the stream without being settled here: the stream was purged or has an age (WEIR_STREAM_MAX_AGE), or the database is an \
         older copy"
            .to_owned()
    } else {
        format!(
            "of the stream that was last seen at {} UTC did not come here: it is gone, or WEIR_NAMESPACE was another",
            seen_at.format("%Y-%m-%d %H:%M:%S")
        )
    };
    format!(
        "{missing} messages{known}, the first is {first}, {why}. Events that are sent again are taken; then \
         `weir doctor --acknowledge`"
    )
}

/// What is stored must be what statistics count.
async fn stored_and_counted(pool: &PgPool, days: u32, findings: &mut Findings) -> Result<(), StoreError> {
    let mut all = 0;
    let mut wrong = Vec::new();
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
            wrong.push(format!("{}: {stored} events, {counted} counted", project.name));
        }
    }
    if wrong.is_empty() {
        Findings::good("statistics", format!("count all {all} events of the last {days} days"));
    } else {
        let text =
            "differ from the events of the last days, which is well only if late events arrive all the time";
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
                "{} of projects are counted by rules older than {version}: weir-worker adopts newer ones when it starts",
                older.join(", ")
            ))
        } else if days > 0 {
            Err(format!("{days} days of projects are being counted anew by the rules of {version}, until then they may be wrong"))
        } else {
            Ok(format!("rules of release {version} ({})", rules::source()))
        },
    );
    Ok(())
}

/// What the worker is to do with users, and since when the oldest of it waits.
fn waiting(
    what: &'static str,
    of: &str,
    (waiting, oldest): (i64, Option<DateTime<Utc>>),
    findings: &mut Findings,
) {
    let text = format!("{of} waiting: {waiting}");
    let late = oldest.is_some_and(|oldest| Utc::now() - oldest > LAG);
    findings.check(
        what,
        if late {
            Err(format!("{text}, the oldest for longer than a minute: look at the worker's log"))
        } else {
            Ok(text)
        },
    );
}
