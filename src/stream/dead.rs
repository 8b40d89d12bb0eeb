//! The dead-letter stream: what could not be stored, with its reason, for a person to look at.

use async_nats::jetstream::{context::PublishError, message::PublishMessage};
use bytes::Bytes;
use uuid::Uuid;

use super::Stream;

/// What is set aside.
#[derive(Debug)]
pub struct DeadLetter {
    /// A stable name; metrics count by it.
    pub reason: &'static str,
    /// What the failure said.
    pub error: String,
    /// The number of the message in the stream of events.
    pub source_sequence: u64,
    /// A message that holds only what failed, or the message as it was if it cannot be read.
    pub payload: Bytes,
}

/// Sets a letter aside, durably. What is set aside twice within the stream's duplicate window is there once.
pub async fn bury(stream: &Stream, letter: DeadLetter) -> Result<(), PublishError> {
    // One message can have several bad events: the payload tells them apart.
    let id = format!("{} {}", letter.source_sequence, Uuid::new_v5(&Uuid::NAMESPACE_OID, &letter.payload));
    let message = PublishMessage::build()
        .payload(letter.payload)
        .message_id(&id)
        .header("Weir-Reason", letter.reason)
        .header("Weir-Error", letter.error.replace(['\r', '\n'], " ").as_str())
        .header("Weir-Source-Sequence", letter.source_sequence.to_string().as_str());
    stream.context.send_publish(stream.names.dead_subject(letter.reason), message).await?.await?;
    Ok(())
}
