//! Messages become parts: decoded, each with its project. What cannot be read, or belongs to no project, is set aside.

use std::{collections::HashMap, sync::Arc};

use async_nats::jetstream::Message;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use tracing::error;
use weir::{
    model::{
        event::{Batch, Copies},
        project::{Project, ProjectId},
    },
    store::{
        StoreError, projects,
        write::{MessagePart, settled},
    },
    stream::{
        dead_letters::{self, DeadLetter, OriginalMessage},
        message::{self, DecodeError},
    },
    telemetry::{self, metrics},
};

use super::{Aside, Backoff, Ended, LONGEST_PAUSE, Writer, sequence};

/// What is set aside, and why.
pub(super) struct RefusedPart<'a> {
    /// A stable name; metrics count by it.
    pub reason: &'static str,
    pub error: String,
    /// A message that holds only what is refused, or the message as it is if it cannot be read.
    pub payload: Bytes,
    pub request_id: Option<&'a str>,
    /// A message that cannot be read counts as one.
    pub events: usize,
}

impl<'a> RefusedPart<'a> {
    pub(super) fn new(reason: &'static str, error: &StoreError, batch: &'a Batch<'_>) -> Self {
        Self {
            reason,
            error: telemetry::chain(error),
            // Whoever gives it back does so when what the filter said is of long ago.
            payload: Bytes::from(message::encode(&Batch { copies: Copies::Beside, ..batch.clone() })),
            request_id: Some(&batch.request_id),
            events: batch.events.len(),
        }
    }

    fn unreadable(error: &DecodeError, payload: Bytes) -> Self {
        Self { reason: "unreadable", error: telemetry::chain(error), payload, request_id: None, events: 1 }
    }
}

impl Writer {
    pub(super) async fn parts<'m>(
        &self,
        messages: &'m [Message],
        aside: &mut Aside,
        ending: &CancellationToken,
    ) -> Result<Vec<MessagePart<'m>>, Ended> {
        let mut parts = Vec::with_capacity(messages.len());
        let mut projects = HashMap::new();
        for message in messages {
            let batches = match message::decode(&message.payload) {
                Ok(batches) => batches,
                Err(error) => {
                    let payload = message.payload.clone();
                    self.set_aside(message, RefusedPart::unreadable(&error, payload), aside).await;
                    continue;
                }
            };
            for batch in batches {
                match self.project(batch.project_id, &mut projects, ending).await? {
                    Ok(project) => parts.push(MessagePart { project, batch, sequence: sequence(message) }),
                    Err(error) => {
                        let reason =
                            if matches!(error, StoreError::NoProject(_)) { "no_project" } else { "timezone" };
                        self.set_aside(message, RefusedPart::new(reason, &error, &batch), aside).await;
                    }
                }
            }
        }
        Ok(parts)
    }

    /// The project of a message, or why there is none. While the database is away this tries again.
    async fn project(
        &self,
        project_id: ProjectId,
        projects: &mut HashMap<ProjectId, Arc<Project>>,
        ending: &CancellationToken,
    ) -> Result<Result<Arc<Project>, StoreError>, Ended> {
        let mut pause = Backoff::default();
        loop {
            if let Some(project) = projects.get(&project_id) {
                return Ok(Ok(project.clone()));
            }
            let found = tokio::time::timeout(LONGEST_PAUSE, projects::by_id(&self.pool, project_id)).await;
            match found.unwrap_or(Err(StoreError::TimedOut)) {
                Ok(project) => drop(projects.insert(project_id, Arc::new(project))),
                Err(error @ (StoreError::NoProject(_) | StoreError::Timezone { .. })) => {
                    return Ok(Err(error));
                }
                Err(error) => pause.later(&self.trouble, &error, ending).await?,
            }
        }
    }

    /// Sets a message or a part of it aside. If that fails, the message must come again: the rest flows on.
    pub(super) async fn set_aside(&self, message: &Message, refused: RefusedPart<'_>, aside: &mut Aside) {
        let source_sequence = sequence(message);
        let source = OriginalMessage {
            sequence: source_sequence,
            time: message.info().map_or_else(|_| Utc::now(), |info| info.published),
            subject: message.subject.to_string(),
        };
        let RefusedPart { reason, error, payload, request_id, events } = refused;
        let letter = DeadLetter { reason, error: error.clone(), source, payload };
        match dead_letters::bury(&self.stream, letter).await {
            Ok(()) => {
                metrics::events_dead_lettered(reason, events);
                error!(
                    reason,
                    error, request_id, source_sequence, events, "set aside in the dead-letter stream"
                );
                aside.messages.push(source_sequence);
            }
            Err(failure) => {
                let failure = telemetry::chain(&failure);
                error!(
                    reason,
                    error, request_id, source_sequence, failure, "cannot be set aside; it comes again"
                );
                aside.postponed.insert(source_sequence);
            }
        }
    }

    /// Notes messages of which nothing was stored as settled.
    pub(super) async fn note(
        &self,
        stream: DateTime<Utc>,
        sequences: Vec<u64>,
        ending: &CancellationToken,
    ) -> Result<(), Ended> {
        let mut pause = Backoff::default();
        while !sequences.is_empty() {
            match settled::add_set_aside(&self.pool, stream, sequences.iter().copied()).await {
                Ok(()) => break,
                Err(error) => pause.later(&self.trouble, &error, ending).await?,
            }
        }
        Ok(())
    }
}
