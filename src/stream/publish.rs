//! Publishing with an ack: what [`Publisher::publish`] has returned is durable. [`super::outlet`] waits for the ack.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use super::{
    LANES, Stream, breaker,
    coalesce::{LanePublisher, RequestPart},
    outlet::Outlet,
};
use crate::{config::Publishing, model::project::ProjectId, telemetry::metrics};

pub use super::outlet::{NotPublished, Published};

/// Publishes batches to the stream of events.
#[derive(Clone)]
pub struct Publisher {
    outlet: Arc<Outlet>,
    /// By the number of the lane.
    lanes: Arc<[LanePublisher]>,
    /// Bounds those who wait for the stream.
    waiting: Arc<Semaphore>,
    /// Of stream and database; empty until it is known.
    history: Arc<RwLock<Arc<str>>>,
}

impl Publisher {
    /// Must be called in a runtime.
    pub fn new(stream: Stream, config: &Publishing) -> Self {
        let outlet = Arc::new(Outlet::new(stream, config.publish_timeout));
        let lanes = (0..LANES).map(|_| LanePublisher::new(outlet.clone())).collect();
        let waiting = Arc::new(Semaphore::new(config.publish_in_flight.into()));
        Self { outlet, lanes, waiting, history: Arc::new(RwLock::new("".into())) }
    }

    /// From now on messages have ids of this history of stream and database. What the stream recognises from another one may be
    /// lost: it passes again, and the store knows what it has.
    pub fn set_history(&self, history: &str) {
        *self.history.write().unwrap_or_else(PoisonError::into_inner) = history.into();
    }

    fn history(&self) -> Arc<str> {
        self.history.read().unwrap_or_else(PoisonError::into_inner).clone()
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
        let permit = self.admit().map_err(|error| {
            metrics::publish_failed(error.reason());
            Arc::new(error)
        })?;
        let id = project_id.message_id(&self.history(), event_ids);
        let part = RequestPart { project_id, id, payload, is_probe: permit.attempt.is_probe() };
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
            let _permit = self.admit()?;
            self.outlet.publish(subject, id, payload).await
        };
        published.await.inspect_err(|error| metrics::publish_failed(error.reason()))
    }

    /// The right to publish, if there is any sense in it.
    fn admit(&self) -> Result<PublishPermit<'_>, NotPublished> {
        let permit = self.waiting.try_acquire().map_err(|_| NotPublished::Busy)?;
        let attempt = self.outlet.admit().ok_or(NotPublished::Silent)?;
        Ok(PublishPermit { attempt, _permit: permit })
    }
}

/// The right to publish one message, and a permit to wait for the stream.
struct PublishPermit<'p> {
    attempt: breaker::Attempt<'p>,
    _permit: SemaphorePermit<'p>,
}
