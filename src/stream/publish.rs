//! Publishing with an ack: what [`Publisher::publish`] has returned is durable.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{
    ErrorCode,
    context::{PublishError, PublishErrorKind},
    message::PublishMessage,
};
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{Stream, message};
use crate::{config::Publishing, event::Batch};

/// Larger messages gain nothing: the cost per message is spread over thousands of events by then.
const LARGEST_MESSAGE: usize = 1 << 20;
/// Room for the headers of a message within the server's limit.
const HEADERS: usize = 1 << 10;
const TRIES: u32 = 2;

/// Publishes batches to the stream of events.
#[derive(Clone)]
pub struct Publisher {
    stream: Stream,
    timeout: Duration,
    in_flight: Arc<Semaphore>,
}

/// What the stream did with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The message's number in the stream.
    pub sequence: u64,
    /// The stream had the message already.
    pub duplicate: bool,
}

/// Why the stream did not take a message. It may have it all the same when its answer was lost: the client's retry is
/// then recognised by the message's id or by the store.
#[derive(Debug, thiserror::Error)]
pub enum NotPublished {
    #[error("too many messages wait for the stream")]
    Busy,
    #[error("the stream is full")]
    Full(#[source] PublishError),
    #[error("the stream cannot be reached")]
    Disconnected,
    #[error("the stream did not answer")]
    Failed(#[source] PublishError),
}

impl Publisher {
    pub fn new(stream: Stream, config: &Publishing) -> Self {
        let in_flight = Arc::new(Semaphore::new(config.publish_in_flight.into()));
        Self { stream, timeout: config.publish_timeout, in_flight }
    }

    /// The most bytes of a message that the server takes and that make sense.
    pub fn largest_message(&self) -> usize {
        let server = self.stream.context.client().server_info().max_payload;
        LARGEST_MESSAGE.min(server.saturating_sub(HEADERS))
    }

    /// Publishes a batch and waits for the stream's ack. Its encoded size must not exceed
    /// [`Publisher::largest_message`].
    pub async fn publish(&self, batch: &Batch<'_>) -> Result<Published, NotPublished> {
        let _permit = self.in_flight.try_acquire().map_err(|_| NotPublished::Busy)?;
        let subject = self.stream.names.events_subject(batch.project_id);
        let id = batch.project_id.message_id(batch.events.iter().map(|event| event.event_id)).to_string();
        let payload = Bytes::from(message::encode(batch));
        let mut tried = 0;
        loop {
            if !self.stream.is_connected() {
                return Err(NotPublished::Disconnected);
            }
            tried += 1;
            match self.try_publish(&subject, &id, payload.clone()).await {
                // A message that is there already after a first try without an answer is that try's.
                Ok(published) => {
                    return Ok(Published { duplicate: published.duplicate && tried == 1, ..published });
                }
                Err(error) if is_full(&error) => return Err(NotPublished::Full(error)),
                Err(error) if tried == TRIES || !is_transient(&error) => {
                    return Err(NotPublished::Failed(error));
                }
                Err(_) => {}
            }
        }
    }

    async fn try_publish(&self, subject: &str, id: &str, payload: Bytes) -> Result<Published, PublishError> {
        let message = PublishMessage::build().payload(payload).message_id(id);
        let publish = async {
            let ack = self.stream.context.send_publish(subject.to_owned(), message).await?.await?;
            Ok(Published { sequence: ack.sequence, duplicate: ack.duplicate })
        };
        match tokio::time::timeout(self.timeout, publish).await {
            Ok(result) => result,
            Err(_) => Err(PublishError::new(PublishErrorKind::TimedOut)),
        }
    }
}

fn is_full(error: &PublishError) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<async_nats::jetstream::Error>())
        .is_some_and(|error| {
            matches!(error.error_code(), ErrorCode::STREAM_STORE_FAILED | ErrorCode::STREAM_LIMITS)
        })
}

fn is_transient(error: &PublishError) -> bool {
    matches!(error.kind(), PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe)
}
