//! Publishing with an ack: what [`Publisher::publish`] has returned is durable.

use std::{sync::Arc, time::Duration};

use async_nats::{
    HeaderMap, Message, StatusCode, header,
    jetstream::{self, ErrorCode, publish::PublishAck, response::Response},
};
use bytes::Bytes;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::error::Elapsed,
};
use uuid::Uuid;

use super::{
    LANES, Stream,
    breaker::{self, Silence},
    coalesce::{Lane, Part},
    inbox::{NoReply, Replies},
};
use crate::{config::Publishing, model::project::ProjectId, telemetry::metrics};

/// Larger messages gain nothing: the cost per message is spread over thousands of events by then.
const LARGEST_MESSAGE: usize = 1 << 20;
/// Room for the headers of a message within the server's limit.
const HEADERS: usize = 1 << 10;
const TRIES: u32 = 2;

/// Publishes batches to the stream of events.
#[derive(Clone)]
pub struct Publisher {
    outlet: Arc<Outlet>,
    /// By the number of the lane.
    lanes: Arc<[Lane]>,
    /// Bounds those who wait for the stream.
    waiting: Arc<Semaphore>,
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
    #[error("too many requests wait for the stream")]
    Busy,
    #[error("the stream has not answered others, and one of them tries again")]
    Silent,
    #[error("the stream is full")]
    Full(#[source] jetstream::Error),
    #[error("the stream cannot be reached")]
    Disconnected,
    #[error("the stream is not there; `weir serve` creates it")]
    NoStream,
    #[error("the stream did not answer")]
    TimedOut(#[source] Elapsed),
    #[error("the stream refused the message")]
    Refused(#[source] jetstream::Error),
    #[error("the message could not be sent")]
    NoReply(#[from] NoReply),
    #[error("the stream's answer cannot be read")]
    Unreadable(#[from] serde_json::Error),
    #[error("weir is ending")]
    Ended,
}

impl NotPublished {
    /// The same may work later, without anybody doing something about it.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy
            | Self::Silent
            | Self::Full(_)
            | Self::Disconnected
            | Self::TimedOut(_)
            | Self::Ended => true,
            Self::NoStream | Self::Refused(_) | Self::NoReply(_) | Self::Unreadable(_) => false,
        }
    }

    /// A stable name; metrics count by it.
    fn reason(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Silent => "silent",
            Self::Full(_) => "full",
            Self::Disconnected => "disconnected",
            Self::NoStream => "no_stream",
            Self::TimedOut(_) => "timed_out",
            Self::Refused(_) => "refused",
            Self::NoReply(_) => "not_sent",
            Self::Unreadable(_) => "unreadable",
            Self::Ended => "ended",
        }
    }
}

impl Publisher {
    /// Must be called in a runtime.
    pub fn new(stream: Stream, config: &Publishing) -> Self {
        let replies = Replies::new(stream.context.client());
        let timeout = config.publish_timeout;
        let outlet = Arc::new(Outlet { stream, replies, timeout, silence: Silence::default() });
        let lanes = (0..LANES).map(|_| Lane::new(outlet.clone())).collect();
        Self { outlet, lanes, waiting: Arc::new(Semaphore::new(config.publish_in_flight.into())) }
    }

    /// The most bytes of a message that the server takes and that make sense.
    pub fn largest_message(&self) -> usize {
        self.outlet.largest_message()
    }

    /// Publishes an encoded batch of a project and waits for the stream's ack. It must not be larger than
    /// [`Publisher::largest_message`]. Batches that arrive together share a message.
    pub async fn publish(
        &self,
        project_id: ProjectId,
        event_ids: &[Uuid],
        payload: Bytes,
    ) -> Result<Published, Arc<NotPublished>> {
        let turn = self.enter().map_err(|error| {
            metrics::publish_failed(error.reason());
            Arc::new(error)
        })?;
        let part = Part { project_id, id: project_id.message_id(event_ids), payload, tries: turn.tries() };
        let lane = &self.lanes[super::lane_of(project_id) as usize];
        let published = lane.publish(part).await;
        published.inspect_err(|error| metrics::publish_failed(error.reason()))
    }

    /// Publishes a message as it is, under an id by which the stream recognises it for a while.
    pub async fn publish_message(
        &self,
        subject: &str,
        id: &str,
        payload: Bytes,
    ) -> Result<Published, NotPublished> {
        let published = async {
            let _turn = self.enter()?;
            self.outlet.publish(subject, id, payload).await
        };
        published.await.inspect_err(|error| metrics::publish_failed(error.reason()))
    }

    /// The right to publish, if there is any sense in it.
    fn enter(&self) -> Result<Turn<'_>, NotPublished> {
        let place = self.waiting.try_acquire().map_err(|_| NotPublished::Busy)?;
        let turn = self.outlet.silence.enter().ok_or(NotPublished::Silent)?;
        Ok(Turn { turn, _place: place })
    }
}

/// The right to publish, and a place among those who wait for the stream.
struct Turn<'p> {
    turn: breaker::Turn<'p>,
    _place: SemaphorePermit<'p>,
}

impl Turn<'_> {
    fn tries(&self) -> bool {
        self.turn.tries()
    }
}

/// Where messages leave to the stream.
pub(super) struct Outlet {
    stream: Stream,
    replies: Replies,
    timeout: Duration,
    silence: Silence,
}

impl Outlet {
    pub(super) fn is_silent(&self) -> bool {
        self.silence.is_silent()
    }

    /// The most bytes of a message that the server takes and that make sense; 0 until there was a connection.
    pub(super) fn largest_message(&self) -> usize {
        let server = self.stream.context.client().server_info().max_payload;
        LARGEST_MESSAGE.min(server.saturating_sub(HEADERS))
    }

    /// Where the events of these projects of a lane go; nowhere if there are none.
    pub(super) fn subject(&self, projects: impl Iterator<Item = ProjectId>) -> Option<String> {
        self.stream.names.events_subject(projects)
    }

    /// Publishes a message, and once more under the same id if it is not answered in time.
    pub(super) async fn publish(
        &self,
        subject: &str,
        id: &str,
        payload: Bytes,
    ) -> Result<Published, NotPublished> {
        let mut tried = 0;
        loop {
            if !self.stream.is_connected() {
                return Err(NotPublished::Disconnected);
            }
            tried += 1;
            match self.try_publish(subject, id, payload.clone()).await {
                // A message that is there already after a first try without an answer is that try's.
                Ok(published) => {
                    return Ok(Published { duplicate: published.duplicate && tried == 1, ..published });
                }
                Err(NotPublished::TimedOut(_)) if tried < TRIES && !self.silence.is_silent() => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_publish(&self, subject: &str, id: &str, payload: Bytes) -> Result<Published, NotPublished> {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, id);
        let publish = self.replies.publish(subject.to_owned(), headers, payload);
        let answer = tokio::select! {
            answer = tokio::time::timeout(self.timeout, publish) => answer,
            // The answer would come over the connection that is gone.
            () = self.stream.disconnected() => return Err(NotPublished::Disconnected),
        };
        let answer = answer.map_err(|elapsed| {
            self.silence.no_answer(self.timeout);
            NotPublished::TimedOut(elapsed)
        })??;
        self.silence.answer();
        let published = read(&answer);
        if matches!(published, Err(NotPublished::NoStream)) {
            self.stream.is_gone();
        }
        published
    }
}

/// What the server says to a message.
fn read(answer: &Message) -> Result<Published, NotPublished> {
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(NotPublished::NoStream);
    }
    match serde_json::from_slice(&answer.payload)? {
        Response::Ok(PublishAck { sequence, duplicate, .. }) => Ok(Published { sequence, duplicate }),
        Response::Err { error } => Err(match error.error_code() {
            ErrorCode::STREAM_STORE_FAILED | ErrorCode::STREAM_LIMITS => NotPublished::Full(error),
            ErrorCode::STREAM_NOT_FOUND => NotPublished::NoStream,
            _ => NotPublished::Refused(error),
        }),
    }
}
