//! The durable consumer that stores events: pull, collect, write in one transaction, and ack after the commit.
//!
//! A message is acked when each of its events is stored or, if the database refuses it, set aside in the dead-letter
//! stream. So delivery is at least once, and its effect exactly once.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Context;
use async_nats::jetstream::{AckKind, Message, consumer::pull};
use bytes::Bytes;
use chrono::Utc;
use futures::{FutureExt, StreamExt};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use weir::{
    config::Writing,
    event::Batch,
    metrics::{self, CaughtBy},
    project::{Project, ProjectId},
    store::{
        StoreError, projects,
        users::Users,
        write::{self, Written},
    },
    stream::{
        Stream,
        dead::{self, DeadLetter},
        message,
    },
    telemetry,
};

/// Messages and bytes that wait in this process to be written.
const FETCH_MESSAGES: usize = 512;
const FETCH_BYTES: usize = 16 << 20;
/// A server that is gone is seen after two missed heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(5);
const EXPIRES: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(crate) struct Writer {
    stream: Stream,
    pool: PgPool,
    users: Users,
    events: usize,
    wait: Duration,
}

/// A message and what it carries.
struct Delivered<'m> {
    message: &'m Message,
    batch: Batch<'m>,
}

impl Writer {
    pub(crate) fn new(stream: Stream, pool: PgPool, users: Users, writing: &Writing) -> Self {
        Self { stream, pool, users, events: writing.write_events as usize, wait: writing.write_wait }
    }

    pub(crate) async fn run(self, ending: CancellationToken) {
        while !ending.is_cancelled() {
            if let Err(error) = self.consume(&ending).await {
                warn!(error = format!("{error:#}"), "the stream cannot be read; trying again");
                tokio::time::sleep(FIRST_PAUSE).await;
            }
        }
    }

    /// Stores messages until asked to end.
    async fn consume(&self, ending: &CancellationToken) -> anyhow::Result<()> {
        let consumer = self.stream.writer().await?;
        let mut messages = consumer
            .stream()
            .max_messages_per_batch(FETCH_MESSAGES)
            .max_bytes_per_batch(FETCH_BYTES)
            .heartbeat(HEARTBEAT)
            .expires(EXPIRES)
            .messages()
            .await?;
        loop {
            let first = tokio::select! {
                message = messages.next() => message.context("the stream of messages ended")??,
                () = ending.cancelled() => break,
            };
            let collected = self.collect(first, &mut messages).await;
            self.store(&collected, ending).await?;
        }
        // What was fetched and not begun goes back at once, instead of when its time is over.
        while let Some(Some(Ok(message))) = messages.next().now_or_never() {
            message.ack_with(AckKind::Nak(None)).await.ok();
        }
        Ok(())
    }

    /// Messages for one transaction: as many as make it full, or come while it waits.
    async fn collect(&self, first: Message, messages: &mut pull::Stream) -> Vec<Message> {
        // An event takes about 200 bytes; the exact number is known only after decoding.
        const EVENT: usize = 200;
        let mut bytes = first.payload.len();
        let mut collected = vec![first];
        let full = tokio::time::sleep(self.wait);
        tokio::pin!(full);
        while bytes < self.events * EVENT {
            tokio::select! {
                () = &mut full => break,
                message = messages.next() => match message {
                    Some(Ok(message)) => {
                        bytes += message.payload.len();
                        collected.push(message);
                    }
                    _ => break, // told again by the next call
                },
            }
        }
        collected
    }

    /// Stores messages and acks them; tries for as long as the database or the stream is away.
    async fn store(&self, messages: &[Message], ending: &CancellationToken) -> anyhow::Result<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.try_store(messages).await {
                Ok(()) => break,
                Err(error) => error,
            };
            metrics::write_retry();
            warn!(error = format!("{error:#}"), messages = messages.len(), "not stored yet; trying again");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = ending.cancelled() => {
                    for message in messages {
                        message.ack_with(AckKind::Nak(None)).await.ok();
                    }
                    return Ok(());
                }
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            for message in messages {
                // Still at it: nobody else needs to try meanwhile.
                message.ack_with(AckKind::Progress).await.map_err(anyhow::Error::from_boxed)?;
            }
        }
        for message in messages {
            message.ack().await.map_err(anyhow::Error::from_boxed)?;
        }
        Ok(())
    }

    /// Stores what can be stored and sets aside what cannot. An error means: later.
    async fn try_store(&self, messages: &[Message]) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut delivered = Vec::with_capacity(messages.len());
        let mut projects: HashMap<ProjectId, Project> = HashMap::new();
        for message in messages {
            let batch = match message::decode(&message.payload) {
                Ok(batch) => batch,
                Err(error) => {
                    self.bury(message, "unreadable", telemetry::chain(&error), message.payload.clone(), 0)
                        .await?;
                    continue;
                }
            };
            if !projects.contains_key(&batch.project_id) {
                match projects::by_id(&self.pool, batch.project_id).await {
                    Ok(project) => drop(projects.insert(project.id, project)),
                    Err(error @ StoreError::NoProject(_)) => {
                        let events = batch.events.len();
                        let error = telemetry::chain(&error);
                        self.bury(message, "no_project", error, message.payload.clone(), events).await?;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            delivered.push(Delivered { message, batch });
        }
        let written = self.write(&projects, delivered).await?;
        metrics::events_stored(written.stored);
        metrics::events_duplicate(CaughtBy::Store, written.duplicates);
        metrics::write(begun.elapsed());
        Ok(())
    }

    /// Writes in one transaction. If the database refuses it, it is cut in half until what is refused stands alone, so
    /// that its neighbours get through.
    async fn write(
        &self,
        projects: &HashMap<ProjectId, Project>,
        delivered: Vec<Delivered<'_>>,
    ) -> anyhow::Result<Written> {
        if delivered.is_empty() {
            return Ok(Written::default());
        }
        let batches: Vec<_> =
            delivered.iter().map(|one| (&projects[&one.batch.project_id], &one.batch)).collect();
        let error = match write::write(&self.pool, &self.users, &batches).await {
            Ok(written) => {
                delivered.iter().for_each(log_stored);
                return Ok(written);
            }
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(error) => error,
        };
        match halves(delivered) {
            Ok((first, second)) => {
                let first = Box::pin(self.write(projects, first)).await?;
                let second = Box::pin(self.write(projects, second)).await?;
                Ok(Written {
                    stored: first.stored + second.stored,
                    duplicates: first.duplicates + second.duplicates,
                })
            }
            Err(alone) => {
                let payload = Bytes::from(message::encode(&alone.batch));
                let events = alone.batch.events.len();
                self.bury(alone.message, "refused", telemetry::chain(&error), payload, events).await?;
                Ok(Written::default())
            }
        }
    }

    async fn bury(
        &self,
        message: &Message,
        reason: &'static str,
        error: String,
        payload: Bytes,
        events: usize,
    ) -> anyhow::Result<()> {
        let source_sequence = message.info().map_err(anyhow::Error::from_boxed)?.stream_sequence;
        error!(reason, error, source_sequence, events, "set aside in the dead-letter stream");
        let letter = DeadLetter { reason, error, source_sequence, payload };
        dead::bury(&self.stream, letter).await.context("cannot set a message aside")?;
        metrics::events_dead_lettered(reason, events);
        Ok(())
    }
}

fn log_stored(delivered: &Delivered<'_>) {
    let batch = &delivered.batch;
    let age = (Utc::now() - batch.received_at).to_std().unwrap_or_default();
    metrics::ingest_to_stored(age);
    let (project_id, events) = (batch.project_id.get(), batch.events.len());
    info!(request_id = %batch.request_id, project_id, events, "stored");
}

/// Two parts of about the same size; a single event cannot be cut.
fn halves(
    mut delivered: Vec<Delivered<'_>>,
) -> Result<(Vec<Delivered<'_>>, Vec<Delivered<'_>>), Delivered<'_>> {
    if delivered.len() > 1 {
        let second = delivered.split_off(delivered.len() / 2);
        return Ok((delivered, second));
    }
    let mut first = delivered.remove(0);
    if first.batch.events.len() <= 1 {
        return Err(first);
    }
    let events = first.batch.events.split_off(first.batch.events.len() / 2);
    let second = Delivered { message: first.message, batch: Batch { events, ..first.batch.clone() } };
    Ok((vec![first], vec![second]))
}
