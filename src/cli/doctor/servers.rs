//! Whether database, Redis and stream answer, and whether workers keep up.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use weir::{
    config,
    ingest::dedup::Deduplicator,
    model::duration::{are, counted},
    store::{
        self, migrate,
        upkeep::{clock::Skew, inspection},
    },
    stream::{Stream, state::StreamState},
    telemetry,
};

use super::{Findings, LAG, Options};

const FULL_PERCENT: u64 = 80;
/// Longer than workers are between two requests for messages.
const BETWEEN: Duration = Duration::from_secs(1);

/// Whether the database can be asked further.
pub(super) async fn database(pool: &PgPool, config: &config::Database, findings: &mut Findings) -> bool {
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

pub(super) async fn redis(options: &Options, findings: &mut Findings) -> anyhow::Result<()> {
    let deduplicator = Deduplicator::new(&options.redis, &options.nats.namespace).context("REDIS_URL")?;
    let text = if deduplicator.is_up().await {
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
pub(super) async fn stream_state(nats: &config::Nats) -> anyhow::Result<(StreamState, StreamState)> {
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

pub(super) fn stream(state: &StreamState, advances: bool, findings: &mut Findings) {
    let StreamState { messages, in_hand, asking, replicas, .. } = state;
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
