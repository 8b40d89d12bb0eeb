//! Requests that arrive together share a message: the stream's cost, and that of its sync to disk, is per message.
//!
//! Nobody waits for company. A lane has one message under way; what arrives meanwhile shares the next one. So a single request
//! goes at once, and the more come, the more share.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    message,
    outlet::{NotPublished, Outlet, Published},
};
use crate::model::project::ProjectId;

/// Bytes from which a message is not shared by more: the cost per message is spread over a thousand events by then.
const SHARED: usize = 256 << 10;

/// What all get who share a message.
pub(super) type SharedAck = Result<Published, Arc<NotPublished>>;

/// One request's part of a message.
pub(super) struct RequestPart {
    pub project_id: ProjectId,
    /// The same events make the same id, as long as nothing is lost.
    pub id: Uuid,
    /// As [`message::encode`] makes it.
    pub payload: Bytes,
    /// It goes even while the breaker is open, to find out whether the stream answers again.
    pub is_probe: bool,
}

/// A part, and who waits for what becomes of it.
type WaitingPart = (RequestPart, oneshot::Sender<SharedAck>);

/// The way of a lane's messages into the stream.
#[derive(Clone)]
pub(super) struct LanePublisher {
    waiting: mpsc::UnboundedSender<WaitingPart>,
}

impl LanePublisher {
    /// Must be called in a runtime.
    pub(super) fn new(outlet: Arc<Outlet>) -> Self {
        let (waiting, parts) = mpsc::unbounded_channel();
        tokio::spawn(publish_all(parts, outlet));
        Self { waiting }
    }

    /// Publishes a part in the next message. How many wait is bounded by the caller.
    pub(super) async fn publish(&self, part: RequestPart) -> SharedAck {
        let (sender, answer) = oneshot::channel();
        // The other end lives as long as the runtime; at its end there is nobody to answer.
        let ended = || Arc::new(NotPublished::Ended);
        self.waiting.send((part, sender)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

/// Publishes until nobody can bring parts any more.
async fn publish_all(mut parts: mpsc::UnboundedReceiver<WaitingPart>, outlet: Arc<Outlet>) {
    let mut next = None;
    loop {
        let Some(first) = (match next.take() {
            Some(part) => Some(part),
            None => parts.recv().await,
        }) else {
            return;
        };
        let most = SHARED.min(outlet.largest_message());
        let mut shared = vec![first];
        let mut bytes = shared[0].0.payload.len();
        while let Ok(part) = parts.try_recv() {
            bytes += part.0.payload.len();
            if bytes > most {
                next = Some(part);
                break;
            }
            shared.push(part);
        }
        publish(&outlet, shared).await;
    }
}

/// Publishes one message with all parts that somebody still waits for.
async fn publish(outlet: &Outlet, mut shared: Vec<WaitingPart>) {
    shared.retain(|(_, sender)| !sender.is_closed());
    if outlet.is_open() {
        for (_, sender) in shared.extract_if(.., |(part, _)| !part.is_probe) {
            sender.send(Err(Arc::new(NotPublished::Silent))).ok(); // whoever is gone needs no answer
        }
    }
    let Some(subject) = outlet.subject(shared.iter().map(|(part, _)| part.project_id)) else { return };
    let id = match &*shared {
        [(part, _)] => part.id,
        several => {
            let ids: Vec<u8> = several.iter().flat_map(|(part, _)| part.id.into_bytes()).collect();
            Uuid::new_v5(&Uuid::NAMESPACE_OID, &ids)
        }
    };
    let (payloads, senders): (Vec<Bytes>, Vec<_>) =
        shared.into_iter().map(|(part, sender)| (part.payload, sender)).unzip();
    let message = message::join(payloads);
    let answer = outlet.publish(&subject, &id.to_string(), message).await.map_err(Arc::new);
    for sender in senders {
        sender.send(answer.clone()).ok();
    }
}
