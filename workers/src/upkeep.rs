//! What a worker does beside storing: it moves what merged users have stored, removes deleted users and projects and events that
//! are not kept any more, rebuilds the activity of promoted properties and of days that new rules of time zones change, and measures
//! how much waits in the streams.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use weir::{
    clock, metrics,
    store::{
        StoreError, deletions, expiry, merges, project_deletions, promotions::rebuild, recounts, settled,
        zones,
    },
    stream::{Stream, state::State},
    telemetry,
    zone::rules,
};

const DELETIONS: Duration = Duration::from_secs(1);
const MERGES: Duration = Duration::from_secs(1);
/// A pass over merges rests this many times as long as it took: more wait then, and one pass serves them all.
const MERGES_REST: u32 = 4;
/// Between the turns of a rebuild, so that others get theirs, and until the next look when there is none.
const REBUILD: Duration = Duration::from_millis(500);
const EXPIRY: Duration = Duration::from_mins(10);
const STATE: Duration = Duration::from_secs(5);
/// Events are kept this much longer than the API takes them, so that what waits in the stream is still stored.
const SPARE: TimeDelta = TimeDelta::days(1);
/// The clocks of machines that take events differ by less.
const SKEW: TimeDelta = TimeDelta::hours(1);

/// Removes users who were deleted, soon after.
pub(crate) async fn delete_users(pool: PgPool, ending: CancellationToken) {
    while goes_on(&ending, DELETIONS).await {
        match deletions::carry_out(&pool).await {
            Ok(None | Some(0)) => {}
            Ok(Some(users)) => {
                metrics::users_deleted(users);
                info!(users, "deleted users are removed from events and statistics");
            }
            Err(error) => {
                warn!(error = telemetry::chain(&error), "deleted users are not removed yet; trying again");
            }
        }
    }
}

/// Removes projects that were deleted, soon after.
pub(crate) async fn delete_projects(pool: PgPool, ending: CancellationToken) {
    while goes_on(&ending, DELETIONS).await {
        match project_deletions::carry_out(&pool).await {
            Ok(0) => {}
            Ok(projects) => info!(projects, "deleted projects are removed"),
            Err(error) => {
                warn!(error = telemetry::chain(&error), "deleted projects are not removed yet; trying again");
            }
        }
    }
}

/// Moves what users have stored who were merged into others, soon after.
pub(crate) async fn merge_users(pool: PgPool, ending: CancellationToken) {
    let mut took = Duration::ZERO;
    while goes_on(&ending, MERGES.max(took * MERGES_REST)).await {
        let begun = Instant::now();
        match merges::carry_out(&pool).await {
            Ok(None | Some(0)) => {}
            Ok(Some(users)) => {
                metrics::users_merged(users);
                info!(users, "merged users are moved in events and statistics");
            }
            Err(error) => {
                warn!(error = telemetry::chain(&error), "merged users are not moved yet; trying again");
            }
        }
        took = begun.elapsed();
    }
}

/// Rebuilds what activity knows of promoted properties.
pub(crate) async fn rebuild(pool: PgPool, ending: CancellationToken) {
    while goes_on(&ending, REBUILD).await {
        match rebuild::carry_out(&pool).await {
            Ok(None) => {}
            Ok(Some(rebuild::Turn { days, ready, removed, failed })) => {
                info!(days, ready, removed, failed, "activity of promoted properties is rebuilt");
            }
            Err(error) => {
                warn!(
                    error = telemetry::chain(&error),
                    "activity of promoted properties is not rebuilt yet; trying again"
                );
            }
        }
    }
}

/// Adopts the rules of time zones that this machine has, if they are newer than those of the database.
pub(crate) async fn adopt_rules(pool: PgPool, ending: CancellationToken) {
    metrics::time_zone_rules(rules::version());
    info!(version = rules::version(), source = %rules::source(), "rules of time zones");
    let mut pause = REBUILD;
    while goes_on(&ending, pause).await {
        match zones::adopt(&pool).await {
            Ok(None) => {} // who is at activity is done soon
            Ok(Some(zones::Adopted { zones, days })) => {
                if zones > 0 {
                    info!(
                        zones,
                        days, "newer rules of time zones are adopted; days that they change are counted anew"
                    );
                }
                pause = EXPIRY;
            }
            Err(error) => {
                warn!(
                    error = telemetry::chain(&error),
                    "newer rules of time zones are not adopted yet; trying again"
                );
            }
        }
    }
}

/// Counts days anew whose project's time zone has got other rules.
pub(crate) async fn recount(pool: PgPool, ending: CancellationToken) {
    let mut before = 0;
    while goes_on(&ending, REBUILD).await {
        match recounts::carry_out(&pool).await {
            Ok(None) => {}
            Ok(Some(left)) => {
                metrics::days_to_recount(left);
                if before > 0 && left == 0 {
                    info!("days are counted by the new rules of their time zones");
                }
                before = left;
            }
            Err(error) => {
                warn!(error = telemetry::chain(&error), "days are not counted anew yet; trying again");
            }
        }
    }
}

/// Drops events that are older than `retention`.
pub(crate) async fn expire(pool: PgPool, retention: Duration, ending: CancellationToken) {
    let Ok(retention) = TimeDelta::from_std(retention) else { return };
    loop {
        match expiry::drop_before(&pool, Utc::now() - retention - SPARE).await {
            Ok(0) => {}
            Ok(chunks) => info!(chunks, "events that are not kept any more are dropped"),
            Err(error) => {
                warn!(error = telemetry::chain(&error), "old events are not dropped yet; trying again");
            }
        }
        if !goes_on(&ending, EXPIRY).await {
            return;
        }
    }
}

/// Compares this clock with that of the database.
pub(crate) async fn watch_clock(pool: PgPool, ending: CancellationToken) {
    ending.run_until_cancelled(clock::watch(pool)).await;
}

/// Measures the streams, gives strays of theirs back, and forgets who and what was deleted before the oldest message came.
pub(crate) async fn watch(pool: PgPool, stream: Stream, ending: CancellationToken) {
    while goes_on(&ending, STATE).await {
        // What keeps them from telling is told elsewhere.
        let Ok(state) = stream.state().await else { continue };
        metrics::stream(&state);
        if let Err(error) = settled::note_stream(&pool, state.created, state.last_sequence).await {
            warn!(error = telemetry::chain(&error), "the stream is not noted in the database; trying again");
        }
        match stream.give_back_strays().await {
            Ok(0) => {}
            Ok(strays) => {
                metrics::strays(strays);
                warn!(
                    strays,
                    "messages that the stream had kept behind its consumers are given back to them"
                );
            }
            Err(error) => {
                warn!(error = telemetry::chain(&error), "strays are not given back yet; trying again");
            }
        }
        if let Err(error) = forget(&pool, &state).await {
            warn!(
                error = telemetry::chain(&error),
                "former users and projects are not forgotten yet; trying again"
            );
        }
    }
}

async fn forget(pool: &PgPool, state: &State) -> Result<(), StoreError> {
    let now = Utc::now();
    let oldest = state.oldest.unwrap_or(now).min(state.oldest_dead.unwrap_or(now));
    deletions::forget(pool, oldest - SKEW).await?;
    project_deletions::forget(pool, oldest - SKEW).await
}

async fn goes_on(ending: &CancellationToken, pause: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(pause) => true,
        () = ending.cancelled() => false,
    }
}
