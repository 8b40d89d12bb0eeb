//! The way of a message into the stream, with its ack: once more if it is not answered, and not at all while the stream does
//! not answer others.

use std::time::Duration;

use async_nats::{
    HeaderMap, Message, StatusCode, header,
    jetstream::{self, ErrorCode, publish::PublishAck, response::Response},
};
use bytes::Bytes;
use tokio::time::error::Elapsed;

use super::{
    Stream,
    breaker::{self, Breaker},
    inbox::{Inbox, NoReply},
};
use crate::model::project::ProjectId;

/// Larger messages gain nothing: the cost per message is spread over thousands of events by then.
const LARGEST_MESSAGE: usize = 1 << 20;
/// Bytes kept for the headers of a message within the server's limit.
const HEADERS: usize = 1 << 10;
const TRIES: u32 = 2;

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
    pub(super) fn reason(&self) -> &'static str {
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

/// Where messages leave to the stream.
pub(super) struct Outlet {
    stream: Stream,
    inbox: Inbox,
    timeout: Duration,
    breaker: Breaker,
}

impl Outlet {
    /// Must be called in a runtime.
    pub(super) fn new(stream: Stream, timeout: Duration) -> Self {
        let inbox = Inbox::new(stream.context.client());
        Self { stream, inbox, timeout, breaker: Breaker::default() }
    }

    /// The right to publish one message; nothing if the breaker is open and another one probes it already.
    pub(super) fn admit(&self) -> Option<breaker::Attempt<'_>> {
        self.breaker.admit()
    }

    pub(super) fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// The most bytes of a message that the server takes and that make sense.
    pub(super) fn largest_message(&self) -> usize {
        LARGEST_MESSAGE.min(self.inbox.max_payload().saturating_sub(HEADERS))
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
                Err(NotPublished::TimedOut(_)) if tried < TRIES && !self.breaker.is_open() => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_publish(&self, subject: &str, id: &str, payload: Bytes) -> Result<Published, NotPublished> {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, id);
        let publish = self.inbox.publish(subject.to_owned(), headers, payload);
        let answer = tokio::select! {
            answer = tokio::time::timeout(self.timeout, publish) => answer,
            // The answer would come over the connection that is gone.
            () = self.stream.disconnected() => return Err(NotPublished::Disconnected),
        };
        let answer = answer.map_err(|elapsed| {
            self.breaker.record_timeout(self.timeout);
            NotPublished::TimedOut(elapsed)
        })??;
        self.breaker.record_answer();
        let published = read(&answer);
        if matches!(published, Err(NotPublished::NoStream)) {
            self.stream.mark_gone();
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
