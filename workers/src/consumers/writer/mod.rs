//! The durable consumer that stores events: pull, collect, write in one transaction, and ack after the commit.
//!
//! A message is acked when each of its events is stored or, if the database refuses it, set aside in the dead-letter
//! stream. So delivery is at least once, and its effect exactly once.
//!
//! Messages are asked for when there is a permit to write them, and no earlier: those that wait are the stream's, for any
//! worker, and cost no memory here.

mod isolate;
mod parts;

use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::Context;
use async_nats::jetstream::{
    AckKind, Message,
    consumer::{Consumer, pull},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use sqlx::PgPool;
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use weir::{
    config::Storing,
    store::{StoreError, write::Dictionaries},
    stream::Stream,
    telemetry::{self, metrics},
};

use crate::{trouble::Trouble, visible::Visible};

type Writers = Consumer<pull::Config>;

/// Messages that are written together at most.
const MESSAGES: usize = 4_096;
/// Events of a message, as long as none has been seen. Rather too many: with too few, the first transaction would take the whole
/// queue of a lane.
const FIRST_GUESS: usize = 100;
/// Bytes of them; more than any server lets a message have.
const BYTES: usize = 16 << 20;
/// How long one question for a message stands. A server that is gone is asked again then, or when it is back.
const QUESTION: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// When a message comes again that could not be set aside.
const POSTPONED: Duration = Duration::from_secs(30);

/// Stores the events of a lane.
#[derive(Clone)]
pub(crate) struct Writer {
    stream: Stream,
    pool: PgPool,
    dictionaries: Dictionaries,
    visible: Visible,
    trouble: Trouble,
    /// Transactions side by side, for all lanes: who waits longest is next.
    permits: Arc<Semaphore>,
    /// Events at which a transaction is full.
    events: usize,
    wait: Duration,
    /// Copies of an event come within it.
    window: TimeDelta,
}

/// The process was asked to end, before all was done.
struct Ended;

impl Writer {
    pub(crate) fn new(
        stream: Stream,
        pool: PgPool,
        visible: Visible,
        trouble: Trouble,
        writing: &Storing,
    ) -> Self {
        Self {
            stream,
            pool,
            dictionaries: Dictionaries::default(),
            visible,
            trouble,
            permits: Arc::new(Semaphore::new(writing.writers.into())),
            events: writing.write_events as usize,
            wait: writing.write_wait,
            window: TimeDelta::from_std(writing.deduplication.deduplication_window).unwrap_or(TimeDelta::MAX),
        }
    }

    /// Stores the messages of a lane until asked to end.
    pub(crate) async fn run(self, lane: u32, ending: CancellationToken) {
        let mut storing = JoinSet::new();
        while !ending.is_cancelled() {
            if let Err(error) = self.consume(lane, &mut storing, &ending).await {
                warn!(lane, error = format!("{error:#}"), "the stream cannot be read; trying again");
                tokio::select! {
                    () = tokio::time::sleep(LONGEST_PAUSE) => {}
                    () = self.stream.reconnected() => {}
                    () = ending.cancelled() => {}
                }
            }
        }
        storing.join_all().await;
    }

    async fn consume(
        &self,
        lane: u32,
        storing: &mut JoinSet<()>,
        ending: &CancellationToken,
    ) -> anyhow::Result<()> {
        let created = self.stream.created().await?;
        let writers = self.stream.writer(lane).await?;
        let ack_wait = writers.cached_info().config.ack_wait;
        let mut lane = LaneConsumer {
            writers,
            progress: ack_wait / 4,
            many: (self.events / FIRST_GUESS).clamp(1, MESSAGES),
            backlog: false,
        };
        loop {
            let first = tokio::select! {
                biased;
                () = ending.cancelled() => return Ok(()),
                first = lane.first() => first?,
                () = self.stream.reconnected() => continue,
            };
            let Some(first) = first else { continue };
            if !lane.backlog {
                tokio::time::sleep(self.wait).await;
            }
            let permit = self.permits.clone().acquire_owned();
            let permit = tokio::select! {
                permit = keep(std::slice::from_ref(&first), lane.progress, permit) => permit?,
                () = ending.cancelled() => {
                    first.ack_with(AckKind::Nak(None)).await.ok();
                    return Ok(());
                }
            };
            let messages = lane.more(first).await;
            let (writer, ending, progress) = (self.clone(), ending.clone(), lane.progress);
            // What has ended is taken out, and what has panicked is reported; its messages come again.
            while let Some(ended) = storing.try_join_next() {
                ended.context("while storing")?;
            }
            lane.expect(&messages, self.events);
            storing.spawn(async move {
                writer.store(created, &messages, progress, &ending).await;
                drop(permit);
            });
        }
    }

    /// Stores messages and acks them. Meanwhile the stream hears that somebody is at it.
    async fn store(
        &self,
        stream: DateTime<Utc>,
        messages: &[Message],
        progress: Duration,
        ending: &CancellationToken,
    ) {
        let postponed = keep(messages, progress, self.store_all(stream, messages, ending)).await;
        for message in messages {
            let acked = match &postponed {
                Err(Ended) => message.ack_with(AckKind::Nak(None)).await,
                Ok(postponed) if postponed.contains(&sequence(message)) => {
                    message.ack_with(AckKind::Nak(Some(POSTPONED))).await
                }
                Ok(_) => message.ack().await,
            };
            if let Err(error) = acked {
                warn!(
                    error = error.to_string(),
                    "messages cannot be acked; they come again, and are known then"
                );
                return;
            }
        }
    }

    /// Stores what can be stored, and sets aside what cannot. While the database is away this tries again.
    ///
    /// Returns the sequences of messages that must come again.
    async fn store_all(
        &self,
        stream: DateTime<Utc>,
        messages: &[Message],
        ending: &CancellationToken,
    ) -> Result<HashSet<u64>, Ended> {
        let mut aside = Aside::default();
        let parts = self.parts(messages, &mut aside, ending).await?;
        self.write_parts(stream, messages, parts, &mut aside, ending).await?;
        self.note(stream, aside.messages, ending).await?;
        Ok(aside.postponed)
    }
}

/// What was not stored.
#[derive(Default)]
struct Aside {
    /// The sequences of messages of which something is set aside.
    messages: Vec<u64>,
    /// Those of messages of which something could not be set aside either, and that must come again.
    postponed: HashSet<u64>,
}

/// A lane of the stream, as one worker reads it.
struct LaneConsumer {
    writers: Writers,
    /// How often the stream hears that messages are being worked on.
    progress: Duration,
    /// Messages that make a transaction full, by the last ones.
    many: usize,
    /// There were more the last time than were taken.
    backlog: bool,
}

impl LaneConsumer {
    /// Waits for a message.
    async fn first(&self) -> anyhow::Result<Option<Message>> {
        let mut one =
            self.writers.batch().max_messages(1).expires(QUESTION).messages().await.context("cannot ask")?;
        one.next().await.transpose().map_err(anyhow::Error::from_boxed)
    }

    /// What else is there, up to what makes a transaction full.
    async fn more(&mut self, first: Message) -> Vec<Message> {
        let mut messages = vec![first];
        let wanted = self.many - 1;
        if wanted > 0 {
            match self.writers.fetch().max_messages(wanted).max_bytes(BYTES).messages().await {
                Ok(mut more) => {
                    // A server that goes away between question and answer answers never, also when it is back; and who
                    // waits here has a permit.
                    while let Ok(Some(message)) = timeout(QUESTION, more.next()).await {
                        match message {
                            Ok(message) => messages.push(message),
                            Err(error) => {
                                warn!(error = error.to_string(), "while collecting");
                                break;
                            }
                        }
                    }
                }
                Err(error) => warn!(error = telemetry::chain(&error), "cannot ask for more"),
            }
        }
        self.backlog = messages.len() == self.many;
        messages
    }

    /// Learns from messages how many of them make a transaction of `events` events full. An event takes about 200 bytes;
    /// the exact number is known only after decoding.
    fn expect(&mut self, messages: &[Message], events: usize) {
        const EVENT: usize = 200;
        let bytes: usize = messages.iter().map(|message| message.payload.len()).sum();
        let size = (bytes / messages.len()).max(1);
        self.many = (events * EVENT / size).clamp(1, MESSAGES);
    }
}

/// Does something, and reports to the stream meanwhile that messages are being worked on, so that they do not come again.
async fn keep<T>(messages: &[Message], progress: Duration, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(progress) => for message in messages {
                // If it does not hear of it, the message comes again, and is known then.
                message.ack_with(AckKind::Progress).await.ok();
            },
        }
    }
}

/// The pause before the next try, longer each time.
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Backoff {
    async fn later(
        &mut self,
        trouble: &Trouble,
        error: &StoreError,
        ending: &CancellationToken,
    ) -> Result<(), Ended> {
        metrics::write_retry();
        trouble.failed(error);
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
