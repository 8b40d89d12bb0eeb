//! Whether every event that was accepted is stored, and every one that is stored is counted.

use std::time::Duration;

use chrono::{DateTime, Days, Utc};
use sqlx::PgPool;
use weir::{
    model::duration::{are, counted},
    store::{
        StoreError, projects,
        upkeep::inspection::{self, EventCounts},
        write::settled::{self, Loss},
    },
    stream::state::StreamState,
};

use super::Findings;

/// On the Community edition a late event is in the statistics after the next roll-up.
const ROLL_UP: Duration = Duration::from_secs(5);

/// What the stream has given away must have arrived in the database; and what former streams had.
pub(super) async fn accepted_and_stored(
    pool: &PgPool,
    state: &StreamState,
    acknowledge: bool,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let settled = state.settled_up_to;
    // A database that takes no writes is found by what it does not store.
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
pub(super) async fn stored_and_counted(
    pool: &PgPool,
    days: u32,
    findings: &mut Findings,
) -> Result<(), StoreError> {
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
        let EventCounts { stored, counted } = counts;
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
