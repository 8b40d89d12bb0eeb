//! The durable consumer that stores events: pull, collect, write in one transaction, and ack after the commit.
//!
//! A message is acked when each of its events is stored or, if the database refuses it, set aside in the dead-letter
//! stream. So delivery is at least once, and its effect exactly once.

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::Arc,
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
    store::{StoreError, projects, users::Users, write},
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
/// How often the stream is told that messages are being worked on; well below any sensible ack wait.
const PROGRESS: Duration = Duration::from_secs(1);
/// When a message comes again that could not be set aside.
const POSTPONED: Duration = Duration::from_secs(30);

pub(crate) struct Writer {
    stream: Stream,
    pool: PgPool,
    users: Users,
    events: usize,
    wait: Duration,
}

/// Events that are written together, all of one message or a part of it.
struct Piece<'m> {
    message: &'m Message,
    project: Arc<Project>,
    batch: Batch<'m>,
}

/// The process was asked to end, before all was done.
struct Ended;

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
                biased;
                () = ending.cancelled() => break,
                message = messages.next() => message.context("the stream of messages ended")??,
            };
            let collected = self.collect(first, &mut messages).await;
            self.store(&collected, ending).await?;
        }
        // What was fetched and not begun goes back at once, instead of when its time is over.
        for _ in 0..FETCH_MESSAGES {
            let Some(Some(Ok(message))) = messages.next().now_or_never() else { break };
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
                    Some(Err(error)) => {
                        warn!(error = telemetry::chain(&error), "while collecting");
                        break;
                    }
                    None => break, // the next call tells
                },
            }
        }
        collected
    }

    /// Stores messages and acks them. Meanwhile the stream is told that somebody is at it.
    async fn store(&self, messages: &[Message], ending: &CancellationToken) -> anyhow::Result<()> {
        let mut storing = pin!(self.store_all(messages, ending));
        let postponed = loop {
            tokio::select! {
                done = &mut storing => break done,
                () = tokio::time::sleep(PROGRESS) => for message in messages {
                    message.ack_with(AckKind::Progress).await.map_err(anyhow::Error::from_boxed)?;
                },
            }
        };
        for message in messages {
            let acked = match &postponed {
                Err(Ended) => message.ack_with(AckKind::Nak(None)).await,
                Ok(postponed) if postponed.contains(&sequence(message)) => {
                    message.ack_with(AckKind::Nak(Some(POSTPONED))).await
                }
                Ok(_) => message.ack().await,
            };
            acked.map_err(anyhow::Error::from_boxed)?;
        }
        Ok(())
    }

    /// Stores what can be stored, and sets aside what the database refuses: it is cut in half until what is refused
    /// stands alone, so that its neighbours get through. While the database is away this tries again.
    ///
    /// Returns the sequences of messages that could not be set aside, and must come again.
    async fn store_all(
        &self,
        messages: &[Message],
        ending: &CancellationToken,
    ) -> Result<HashSet<u64>, Ended> {
        let mut postponed = HashSet::new();
        let mut waiting = vec![self.pieces(messages, &mut postponed, ending).await?];
        waiting.retain(|pieces| !pieces.is_empty());
        let mut pause = Pause::default();
        while let Some(pieces) = waiting.pop() {
            let begun = Instant::now();
            let batches: Vec<_> = pieces.iter().map(|piece| (&*piece.project, &piece.batch)).collect();
            match write::write(&self.pool, &self.users, &batches).await {
                Ok(written) => {
                    metrics::events_stored(written.stored);
                    metrics::events_duplicate(CaughtBy::Store, written.duplicates);
                    metrics::write(begun.elapsed());
                    pieces.iter().for_each(log_stored);
                    pause = Pause::default();
                }
                Err(error) if error.is_refusal() => match halves(pieces) {
                    Ok((first, second)) => waiting.extend([second, first]),
                    Err(alone) => {
                        let payload = Bytes::from(message::encode(&alone.batch));
                        self.set_aside(
                            alone.message,
                            Some(&alone.batch),
                            "refused",
                            telemetry::chain(&error),
                            payload,
                            &mut postponed,
                        )
                        .await;
                    }
                },
                Err(error) => {
                    pause.later(&error, ending).await?;
                    waiting.push(pieces);
                }
            }
        }
        Ok(postponed)
    }

    /// Decodes messages, and finds their projects. What cannot be read, or belongs to no project, is set aside.
    async fn pieces<'m>(
        &self,
        messages: &'m [Message],
        postponed: &mut HashSet<u64>,
        ending: &CancellationToken,
    ) -> Result<Vec<Piece<'m>>, Ended> {
        let mut pieces = Vec::with_capacity(messages.len());
        let mut projects: HashMap<ProjectId, Arc<Project>> = HashMap::new();
        let mut pause = Pause::default();
        for message in messages {
            let payload = || message.payload.clone();
            let batch = match message::decode(&message.payload) {
                Ok(batch) => batch,
                Err(error) => {
                    self.set_aside(
                        message,
                        None,
                        "unreadable",
                        telemetry::chain(&error),
                        payload(),
                        postponed,
                    )
                    .await;
                    continue;
                }
            };
            let project = loop {
                if let Some(project) = projects.get(&batch.project_id) {
                    break Ok(project.clone());
                }
                let found = projects::by_id(&self.pool, batch.project_id);
                let found = tokio::time::timeout(LONGEST_PAUSE, found).await;
                match found.unwrap_or(Err(StoreError::TimedOut)) {
                    Ok(project) => drop(projects.insert(batch.project_id, Arc::new(project))),
                    Err(error @ (StoreError::NoProject(_) | StoreError::Timezone { .. })) => {
                        break Err(error);
                    }
                    Err(error) => pause.later(&error, ending).await?,
                }
            };
            match project {
                Ok(project) => pieces.push(Piece { message, project, batch }),
                Err(error) => {
                    self.set_aside(
                        message,
                        Some(&batch),
                        "no_project",
                        telemetry::chain(&error),
                        payload(),
                        postponed,
                    )
                    .await;
                }
            }
        }
        Ok(pieces)
    }

    /// Sets a message or a part of it aside. If that fails the message must come again: the rest flows on.
    async fn set_aside(
        &self,
        message: &Message,
        batch: Option<&Batch<'_>>,
        reason: &'static str,
        error: String,
        payload: Bytes,
        postponed: &mut HashSet<u64>,
    ) {
        let source_sequence = sequence(message);
        let request_id = batch.map(|batch| batch.request_id.as_ref());
        let events = batch.map_or(1, |batch| batch.events.len());
        let letter = DeadLetter { reason, error: error.clone(), source_sequence, payload };
        match dead::bury(&self.stream, letter).await {
            Ok(()) => {
                metrics::events_dead_lettered(reason, events);
                error!(
                    reason,
                    error, request_id, source_sequence, events, "set aside in the dead-letter stream"
                );
            }
            Err(failure) => {
                let failure = telemetry::chain(&failure);
                error!(
                    reason,
                    error, request_id, source_sequence, failure, "cannot be set aside; it comes again"
                );
                postponed.insert(source_sequence);
            }
        }
    }
}

/// The pause before the next try, longer each time.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pause {
    async fn later(&mut self, error: &StoreError, ending: &CancellationToken) -> Result<(), Ended> {
        metrics::write_retry();
        warn!(error = telemetry::chain(error), "not stored yet; trying again");
        tokio::select! {
            () = tokio::time::sleep(self.0) => {}
            () = ending.cancelled() => return Err(Ended),
        }
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

/// The number of a message in the stream of events.
fn sequence(message: &Message) -> u64 {
    message.info().map_or(0, |info| info.stream_sequence)
}

fn log_stored(piece: &Piece<'_>) {
    let batch = &piece.batch;
    let age = (Utc::now() - batch.received_at).to_std().unwrap_or_default();
    metrics::ingest_to_stored(age);
    let (project_id, events) = (batch.project_id.get(), batch.events.len());
    info!(request_id = %batch.request_id, project_id, events, "stored");
}

/// Two parts of about the same size; a single event cannot be cut.
fn halves(mut pieces: Vec<Piece<'_>>) -> Result<(Vec<Piece<'_>>, Vec<Piece<'_>>), Piece<'_>> {
    if pieces.len() > 1 {
        let second = pieces.split_off(pieces.len() / 2);
        return Ok((pieces, second));
    }
    let mut first = pieces.remove(0);
    if first.batch.events.len() <= 1 {
        return Err(first);
    }
    let events = first.batch.events.split_off(first.batch.events.len() / 2);
    let batch = Batch { events, ..first.batch.clone() };
    let second = Piece { message: first.message, project: first.project.clone(), batch };
    Ok((vec![first], vec![second]))
}
