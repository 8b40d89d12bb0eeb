//! What a worker does again and again beside storing, one file for each job.

mod clock;
mod deletions;
mod expiry;
mod merges;
mod promotions;
pub(crate) mod roll_up;
mod streams;
mod time_zones;

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;
use weir::{store::StoreError, telemetry};

pub(crate) use self::{
    clock::watch_clock,
    deletions::{DeleteProjects, DeleteUsers},
    expiry::Expire,
    merges::MergeUsers,
    promotions::Rebuild,
    streams::WatchStreams,
    time_zones::{AdoptRules, RecountDays},
};

/// Between two runs of a job that people wait for, and until the next look when nothing waits.
const SOON: Duration = Duration::from_secs(1);
/// Between two steps of a job that does a little at a time, so that others get at the activity in between.
const STEP: Duration = Duration::from_millis(500);
/// Between two runs of a job that has little to do.
const SELDOM: Duration = Duration::from_mins(10);

/// What is done again and again.
pub(crate) trait Job: Send + 'static {
    /// What a failure means, as the log says it.
    const NOT_DONE: &'static str;

    /// How long to wait before the next run, the first one included.
    fn pause(&self) -> Duration;

    /// Does what there is to do now. A failure is logged, and the next run tries again.
    fn run(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Runs a job until the process ends; a run that has begun is finished.
pub(crate) async fn repeat<J: Job>(mut job: J, ending: CancellationToken) {
    while goes_on(&ending, job.pause()).await {
        if let Err(error) = job.run().await {
            warn!(error = telemetry::chain(&error), "{}; trying again", J::NOT_DONE);
        }
    }
}

async fn goes_on(ending: &CancellationToken, pause: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(pause) => true,
        () = ending.cancelled() => false,
    }
}
