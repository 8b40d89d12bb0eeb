//! The dead-letter stream: what could not be stored, with its reason, until a person replays or drops it.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::{
    HeaderMap,
    jetstream::{
        self,
        context::PublishError,
        message::{PublishMessage, StreamMessage},
        stream::{DeleteMessageError, InfoError, LastRawMessageError, LastRawMessageErrorKind},
    },
};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use futures::TryStreamExt;
use uuid::Uuid;

use super::{
    Stream, StreamNames, identity, message,
    publish::{NotPublished, Published, Publisher},
    state::StateError,
};
use crate::model::{event::Batch, project::ProjectId};

const REASON: &str = "Weir-Reason";
const ERROR: &str = "Weir-Error";
const SOURCE_SEQUENCE: &str = "Weir-Source-Sequence";
const SOURCE_TIME: &str = "Weir-Source-Time";
const SOURCE_SUBJECT: &str = "Weir-Source-Subject";

/// The message of the stream of events from which a letter comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalMessage {
    pub sequence: u64,
    /// When the stream of events took it.
    pub time: DateTime<Utc>,
    pub subject: String,
}

/// What is set aside.
#[derive(Debug)]
pub struct DeadLetter {
    /// A stable name; metrics count by it.
    pub reason: &'static str,
    /// What the failure said.
    pub error: String,
    pub source: OriginalMessage,
    /// A message that holds only what failed, or the message as it was if it cannot be read.
    pub payload: Bytes,
}

/// Sets a letter aside, durably. What is set aside twice within the stream's duplicate window is there once.
pub async fn bury(stream: &Stream, letter: DeadLetter) -> Result<(), PublishError> {
    let DeadLetter { reason, error, source, payload } = letter;
    // One message can have several bad events: the payload distinguishes them. A stream that is created again counts from 1
    // again: the time distinguishes them.
    let content = Uuid::new_v5(&Uuid::NAMESPACE_OID, &payload);
    let id = format!("{} {} {content}", source.sequence, source.time.timestamp_micros());
    let message = PublishMessage::build()
        .payload(payload)
        .message_id(&id)
        .header(REASON, reason)
        .header(ERROR, error.replace(['\r', '\n'], " ").as_str())
        .header(SOURCE_SEQUENCE, source.sequence.to_string().as_str())
        .header(SOURCE_TIME, source.time.to_rfc3339_opts(SecondsFormat::Micros, true).as_str())
        .header(SOURCE_SUBJECT, source.subject.as_str());
    stream.context.send_publish(stream.names.dead_subject(reason), message).await?.await?;
    Ok(())
}

/// A letter as it lies in the stream.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Its number in the dead-letter stream.
    pub number: u64,
    /// When it was set aside.
    pub at: DateTime<Utc>,
    pub reason: String,
    pub error: String,
    pub source: OriginalMessage,
    pub payload: Bytes,
}

impl Letter {
    fn from_message(message: StreamMessage) -> Self {
        let text = |name| header(&message.headers, name);
        let source = OriginalMessage {
            sequence: text(SOURCE_SEQUENCE).parse().unwrap_or(0),
            time: text(SOURCE_TIME).parse().unwrap_or(message.time),
            subject: text(SOURCE_SUBJECT),
        };
        let (reason, error) = (text(REASON), text(ERROR));
        Self { number: message.sequence, at: message.time, reason, error, source, payload: message.payload }
    }

    /// Its events, if it can be read. Of several requests only if whoever set it aside could not read it.
    pub fn batches(&self) -> Option<Vec<Batch<'_>>> {
        message::decode(&self.payload).ok()
    }

    /// How many events it has, if it can be read.
    pub fn events(&self) -> Option<usize> {
        Some(self.batches()?.iter().map(|batch| batch.events.len()).sum())
    }

    /// The projects of its events. If they cannot be read, the subject has one.
    pub fn project_ids(&self) -> BTreeSet<ProjectId> {
        let of_subject = || self.source.subject.rsplit('.').next()?.parse().ok().map(ProjectId::from_stored);
        match self.batches() {
            Some(batches) => batches.iter().map(|batch| batch.project_id).collect(),
            None => of_subject().into_iter().collect(),
        }
    }
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(ToString::to_string).unwrap_or_default()
}

/// Why letters cannot be read or removed.
#[derive(Debug, thiserror::Error)]
pub enum LettersError {
    #[error(transparent)]
    Stream(#[from] StateError),
    #[error("the dead-letter stream does not give its state")]
    Info(#[from] InfoError),
    #[error("a letter cannot be read")]
    Read(#[from] LastRawMessageError),
    #[error("a letter cannot be removed")]
    Remove(#[from] DeleteMessageError),
}

/// Why a letter is not in the stream of events again.
#[derive(Debug, thiserror::Error)]
pub enum NotGivenBack {
    #[error(
        "it cannot be read by this weir, and would come back: if a newer one wrote it, replay it with that; `weir dlq show` has \
         its bytes"
    )]
    Unreadable,
    #[error(transparent)]
    NotPublished(#[from] NotPublished),
}

/// The letters that there are.
pub struct Letters {
    stream: jetstream::stream::Stream,
    names: StreamNames,
    created: DateTime<Utc>,
    /// The number of the newest when this was opened: what dies again meanwhile is above.
    pub last: u64,
}

impl Letters {
    pub async fn open(stream: &Stream) -> Result<Self, LettersError> {
        let dead = stream.context.get_stream(stream.names.dead_stream()).await.map_err(StateError::from)?;
        let info = dead.cached_info();
        let (created, last) = (identity::created(info), info.state.last_sequence);
        Ok(Self { names: stream.names.clone(), created, last, stream: dead })
    }

    /// How many there are, by reason.
    pub async fn by_reason(&self) -> Result<BTreeMap<String, usize>, LettersError> {
        let subjects: Vec<(String, usize)> =
            self.stream.info_with_subjects(self.names.dead_subject(">")).await?.try_collect().await?;
        let reason = |subject: &str| subject.rsplit('.').next().unwrap_or(subject).to_owned();
        Ok(subjects.iter().map(|(subject, letters)| (reason(subject), *letters)).collect())
    }

    /// The first letter with this number or a higher one.
    pub async fn from(&self, number: u64) -> Result<Option<Letter>, LettersError> {
        if number > self.last {
            return Ok(None);
        }
        let next = self
            .stream
            .raw_message_builder()
            .sequence(number.max(1))
            .next_by_subject(self.names.dead_subject(">"));
        match next.send().await {
            Ok(message) if message.sequence <= self.last => Ok(Some(Letter::from_message(message))),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub async fn remove(&self, letter: &Letter) -> Result<(), LettersError> {
        self.stream.delete_message(letter.number).await?;
        Ok(())
    }

    /// Gives a letter back to the stream of events, from which it came. If it is given back twice, because the letter could
    /// not be removed, the store knows its events.
    pub async fn give_back(&self, letter: &Letter, publisher: &Publisher) -> Result<Published, NotGivenBack> {
        let projects = letter.batches().unwrap_or_default().into_iter().map(|batch| batch.project_id);
        let subject = self.names.events_subject(projects).ok_or(NotGivenBack::Unreadable)?;
        let id = format!("replay {} {}", self.created.timestamp_micros(), letter.number);
        Ok(publisher.publish_message(&subject, &id, letter.payload.clone()).await?)
    }
}
