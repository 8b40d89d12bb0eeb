//! What the streams hold: how far the workers are behind, and what they have set aside.

use std::time::Duration;

use async_nats::jetstream::{context::GetStreamError, stream::InfoError};
use chrono::{DateTime, Utc};

use super::{LANES, Stream, StreamError, identity};

/// The streams at a moment.
#[derive(Clone, Debug)]
pub struct StreamState {
    /// When the stream of events was created: its messages are numbered from then on.
    pub created: DateTime<Utc>,
    /// The number of the newest message that it ever had.
    pub last_sequence: u64,
    /// Messages that are not settled, and their bytes.
    pub messages: u64,
    pub bytes: u64,
    /// Bytes at which the stream is full.
    pub max_bytes: Option<u64>,
    /// When the oldest of them came.
    pub oldest: Option<DateTime<Utc>>,
    /// Of these messages, those that are with workers.
    pub in_hand: u64,
    /// Questions of workers for messages that stand.
    pub asking: usize,
    /// Copies of each message, in a cluster.
    pub replicas: usize,
    /// Every message up to this number is settled.
    pub settled_up_to: u64,
    /// Messages in the dead-letter stream.
    pub dead: u64,
    pub oldest_dead: Option<DateTime<Utc>>,
}

/// Why the state of a stream is not known.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the stream is not there: `weir serve` creates it, or its log says why it cannot")]
    NoStream(#[from] GetStreamError),
    #[error("the stream does not give its state")]
    Info(#[from] InfoError),
    #[error(transparent)]
    Writer(#[from] StreamError),
}

impl StreamState {
    /// How old the oldest message of the stream of events is; zero if there is none.
    pub fn age(&self) -> Duration {
        self.oldest.and_then(|oldest| (Utc::now() - oldest).to_std().ok()).unwrap_or_default()
    }
}

impl Stream {
    /// What the streams hold now.
    pub async fn state(&self) -> Result<StreamState, StateError> {
        // The writers first: what comes in between is then above, and not taken for settled.
        let (mut settled_up_to, mut in_hand, mut asking) = (None::<u64>, 0, 0);
        let last_before = self.events_info().await?.state.last_sequence;
        for lane in 0..LANES {
            let writer = self.writer(lane).await?;
            let info = writer.cached_info();
            in_hand += info.num_ack_pending as u64;
            asking += info.num_waiting;
            if info.num_pending > 0 || info.num_ack_pending > 0 {
                let floor = info.ack_floor.stream_sequence;
                settled_up_to = Some(settled_up_to.map_or(floor, |other| other.min(floor)));
            }
        }
        let events = self.events_info().await?;
        let dead = self.context.get_stream(self.names.dead_stream()).await?.get_info().await?.state;
        Ok(StreamState {
            created: identity::created(&events),
            last_sequence: events.state.last_sequence,
            messages: events.state.messages,
            bytes: events.state.bytes,
            max_bytes: u64::try_from(events.config.max_bytes).ok(),
            oldest: (events.state.messages > 0).then_some(events.state.first_timestamp),
            in_hand,
            asking,
            replicas: events.config.num_replicas,
            settled_up_to: settled_up_to.unwrap_or(last_before),
            dead: dead.messages,
            oldest_dead: (dead.messages > 0).then_some(dead.first_timestamp),
        })
    }

    /// When the stream of events was created.
    pub async fn created(&self) -> Result<DateTime<Utc>, StateError> {
        Ok(identity::created(&self.events_info().await?))
    }

    pub(super) async fn events_info(&self) -> Result<async_nats::jetstream::stream::Info, StateError> {
        Ok(self.context.get_stream(self.names.events_stream()).await?.get_info().await?)
    }
}
