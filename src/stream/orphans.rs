//! Messages that the stream has kept behind its consumers' backs. After a loss of power a consumer may remember that
//! something was acked while the stream has forgotten that it was removed: nobody would be given it again, and the stream
//! would never be empty.

use async_nats::jetstream::{
    ErrorCode,
    context::PublishError,
    message::{PublishMessage, StreamMessage},
    stream::{
        self, DeleteMessageError, DeleteMessageErrorKind, LastRawMessageError, LastRawMessageErrorKind,
    },
};

use super::{LANES, Stream, StreamError, identity, state::StateError};

/// Of a lane at a time: there are seldom any.
const AT_ONCE: usize = 1_000;

/// Why orphans are not given back.
#[derive(Debug, thiserror::Error)]
pub enum OrphansError {
    #[error(transparent)]
    Stream(#[from] StateError),
    #[error(transparent)]
    Writer(#[from] StreamError),
    #[error("a message cannot be read")]
    Read(#[from] LastRawMessageError),
    #[error("a message cannot be given back")]
    Publish(#[from] PublishError),
    #[error("a message that was given back cannot be removed")]
    Remove(#[from] DeleteMessageError),
}

impl Stream {
    /// Gives orphans to the consumers again, as new messages; how many there were. Most are stored already, which the store
    /// knows. Whatever interrupts this leaves a message at least once.
    pub async fn give_back_orphans(&self) -> Result<usize, OrphansError> {
        let events = self.context.get_stream(self.names.events_stream()).await.map_err(StateError::from)?;
        let created = identity::created(events.cached_info()).timestamp_micros();
        let mut given_back = 0;
        for lane in 0..LANES {
            // What is acked from now on is above.
            let floor = self.writer(lane).await?.cached_info().ack_floor.stream_sequence;
            for _ in 0..AT_ONCE {
                let oldest = oldest(&events, self.names.lane_subject(lane)).await?;
                let Some(orphan) = oldest.filter(|message| message.sequence <= floor) else { break };
                // Several workers may find it: the stream takes it once.
                let id = format!("orphan {created} {}", orphan.sequence);
                let message = PublishMessage::build().payload(orphan.payload).message_id(&id);
                self.context.send_publish(orphan.subject, message).await?.await?;
                match events.delete_message(orphan.sequence).await {
                    Err(error) if !is_gone(&error) => return Err(error.into()),
                    _ => given_back += 1,
                }
            }
        }
        Ok(given_back)
    }
}

async fn oldest(
    events: &stream::Stream,
    subject: String,
) -> Result<Option<StreamMessage>, LastRawMessageError> {
    match events.raw_message_builder().sequence(1).next_by_subject(subject).send().await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Another worker was faster. The server says so in one way or the other, depending on where it notices.
fn is_gone(error: &DeleteMessageError) -> bool {
    const GONE: [ErrorCode; 2] = [ErrorCode::SEQUENCE_NOT_FOUND, ErrorCode::STREAM_MESSAGE_DELETE_FAILED];
    matches!(error.kind(), DeleteMessageErrorKind::JetStream(error) if GONE.contains(&error.error_code()))
}
