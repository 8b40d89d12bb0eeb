//! How long an event takes from its receipt until statistics show it: until its commit, or on the Community edition, for
//! one that happened long ago, until the roll-up after that.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use weir::{
    store::{migrate::Edition, upkeep::roll_up::horizon, write::MessagePart},
    telemetry::metrics,
};

/// Late batches that are remembered until the next roll-up; of more, the measure does without.
const REMEMBERED: usize = 10_000;

/// Measures it.
#[derive(Clone)]
pub(crate) struct Visible {
    edition: Edition,
    late: Arc<Mutex<Vec<DateTime<Utc>>>>,
}

/// What a roll-up makes visible: times of receipt.
pub(crate) struct Late(Vec<DateTime<Utc>>);

impl Late {
    pub(crate) fn measure(self) {
        self.0.into_iter().for_each(measure);
    }
}

impl Visible {
    pub(crate) fn new(edition: Edition) -> Self {
        Self { edition, late: Arc::default() }
    }

    /// Parts were committed.
    pub(crate) fn stored(&self, parts: &[MessagePart<'_>]) {
        let horizon = horizon();
        for MessagePart { project, batch, .. } in parts {
            let is_late = |event| project.local_hour(batch.occurred_at(event)) < horizon;
            if self.edition == Edition::Community && batch.events.iter().any(is_late) {
                self.remember([batch.received_at]);
            } else {
                measure(batch.received_at);
            }
        }
    }

    /// What was committed before a roll-up that begins now.
    pub(crate) fn before_roll_up(&self) -> Late {
        Late(std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The roll-up has failed: the next one will.
    pub(crate) fn not_rolled_up(&self, Late(late): Late) {
        self.remember(late);
    }

    fn remember(&self, received: impl IntoIterator<Item = DateTime<Utc>>) {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let room = REMEMBERED.saturating_sub(late.len());
        late.extend(received.into_iter().take(room));
    }
}

fn measure(received_at: DateTime<Utc>) {
    metrics::ingest_to_visible((Utc::now() - received_at).to_std().unwrap_or_default());
}
