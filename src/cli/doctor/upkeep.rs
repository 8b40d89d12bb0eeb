//! Whether workers have done what they do beside storing.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use weir::{
    model::{
        duration::{are, counted},
        zone::rules,
    },
    stats::filter::Property,
    store::{
        StoreError, promotions,
        upkeep::{recounts, zone_rules},
    },
};

use super::{Findings, LAG};

/// Days must be counted by the newest rules that this machine has.
pub(super) async fn time_zones(pool: &PgPool, findings: &mut Findings) -> Result<(), StoreError> {
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

/// Whoever promoted a property expects that questions about it are fast.
pub(super) async fn promotions(pool: &PgPool, findings: &mut Findings) -> Result<(), StoreError> {
    let stopped = promotions::stopped(pool).await?;
    let describe =
        |(project, property, why): &(String, Property, String)| format!("{project}: {property}: {why}");
    findings.check(
        "promotions",
        if stopped.is_empty() {
            Ok("none is stopped".into())
        } else {
            Err(format!(
                "stopped, so that questions about these properties read events: look at their values, then demote them or \
                 promote them again. {}",
                stopped.iter().map(describe).collect::<Vec<_>>().join("; ")
            ))
        },
    );
    Ok(())
}

/// What the worker is to do with users or projects, and since when the oldest of it waits.
pub(super) fn waiting(
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
