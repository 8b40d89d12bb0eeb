//! Measures the streams, gives orphans of theirs back, and forgets who and what was deleted before the oldest message came.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use sqlx::PgPool;
use tracing::warn;
use weir::{
    store::{StoreError, projects, users, write::settled},
    stream::{Stream, state::StreamState},
    telemetry::{self, metrics},
};

use super::Job;

const PAUSE: Duration = Duration::from_secs(5);
/// The clocks of machines that take events differ by less.
const SKEW: TimeDelta = TimeDelta::hours(1);

pub(crate) struct WatchStreams {
    pub(crate) pool: PgPool,
    pub(crate) stream: Stream,
}

impl Job for WatchStreams {
    const NOT_DONE: &'static str = "the state of the stream is not noted in the database yet";

    fn pause(&self) -> Duration {
        PAUSE
    }

    async fn run(&mut self) -> Result<(), StoreError> {
        // What keeps them from being read is logged elsewhere.
        let Ok(state) = self.stream.state().await else { return Ok(()) };
        let in_hand = state.in_hand.min(state.messages);
        metrics::stream(state.messages - in_hand, in_hand, state.age(), state.dead);
        self.give_back_orphans().await;
        let noted = settled::note_stream(&self.pool, state.created, state.last_sequence).await;
        self.forget_deleted(&state).await?;
        noted
    }
}

impl WatchStreams {
    async fn give_back_orphans(&self) {
        match self.stream.give_back_orphans().await {
            Ok(0) => {}
            Ok(orphans) => {
                metrics::orphans(orphans);
                warn!(
                    orphans,
                    "messages that the stream had kept behind its consumers are given back to them"
                );
            }
            Err(error) => {
                warn!(error = telemetry::chain(&error), "orphans are not given back yet; trying again");
            }
        }
    }

    async fn forget_deleted(&self, state: &StreamState) -> Result<(), StoreError> {
        let now = Utc::now();
        let oldest = state.oldest.unwrap_or(now).min(state.oldest_dead.unwrap_or(now)) - SKEW;
        users::deletions::forget(&self.pool, oldest).await?;
        projects::deletions::forget(&self.pool, oldest).await
    }
}
