//! Deduplication in Redis: which ids were accepted lately? It is never the truth. Without it the stream and
//! the store remove duplicates, later and at more cost.
//!
//! A set per project and time bucket holds the 16 bytes of the ids that are durable, from when they are marked. The bucket of now
//! and the one before are asked, so an id is remembered for one to two buckets. Until then an id is reserved, with all others of
//! its request, or in doubt, if its request could not say what became of it ([`reservations`]). Who takes an id that is in none of
//! them, as far back as Redis remembers ([`memory`]), has the only copy of the event, and the store need not look for others. The
//! same round trip asks for the project's rate.
//!
//! One task talks with Redis. What requests ask and mark while two round trips are under way goes together in the next one
//! ([`exchange`]), so that many small requests cost as little as one. What a request says at its end waits for what another asks.

mod exchange;
mod history;
mod link;
mod memory;
mod reply;
mod reservations;

use std::{num::NonZeroU32, time::Duration};

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream::FuturesOrdered};
use redis::{Pipeline, RedisError, Value};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use self::{
    exchange::{Exchange, InFlight},
    link::RedisLink,
    reservations::{Fate, Instance, Prints, Release},
};
pub use self::{
    history::{History, NotSeen},
    reservations::Reservation,
};
use super::idempotency::Claim;
use crate::limits::rate::{Allowance, OverRate, Rate};
use crate::{
    config,
    model::{event::Copies, project::ProjectId},
    telemetry::metrics,
};

/// Ids that go to Redis together at most, unless a single request has more.
const TOGETHER: usize = 5_000;

/// How long what nobody waits for may wait for company.
const PATIENCE: Duration = Duration::from_millis(2);

/// Round trips at a time: Redis works on one while the answer to another is read, and a third is put together.
const SIDE_BY_SIDE: usize = 2;

/// Remembers accepted ids in Redis.
#[derive(Clone)]
pub struct Deduplicator {
    link: RedisLink,
    namespace: String,
    bucket: Duration,
    instance: Instance,
    asking: mpsc::UnboundedSender<Ask>,
}

/// What a request takes of its project's rate.
#[derive(Clone, Copy, Debug)]
pub struct Charge {
    pub project_id: ProjectId,
    pub rate: Rate,
    pub events: NonZeroU32,
}

/// Whether the rate admits a request.
type Verdict = Result<Allowance, OverRate>;

/// What Redis knows of a request.
#[derive(Debug)]
pub struct CheckReply {
    /// Whether the rate admits it; nothing if Redis takes no writes.
    pub verdict: Option<Verdict>,
    /// For each id whether it was marked before. Empty: none was.
    pub known: Vec<bool>,
    /// What is known of copies of those that were not.
    pub copies: Copies,
}

/// What a request wants of Redis.
enum Ask {
    Check(Check),
    Mark(Mark),
    Release(Release),
}

struct Check {
    charge: Charge,
    ids: Vec<Uuid>,
    /// One for each id.
    prints: Prints,
    /// Of the request.
    number: Uuid,
    /// The number of the time bucket.
    bucket: i64,
    answer: oneshot::Sender<CheckReply>,
}

struct Mark {
    project_id: ProjectId,
    ids: Vec<Uuid>,
    bucket: i64,
}

impl Ask {
    fn ids(&self) -> usize {
        match self {
            Self::Check(Check { ids, .. }) | Self::Mark(Mark { ids, .. }) => ids.len(),
            Self::Release(Release { durable, prints, fate: Fate::Unknown, .. }) => {
                durable.len() + prints.len()
            }
            Self::Release(Release { durable, .. }) => durable.len(),
        }
    }
}

impl Deduplicator {
    /// Connects when first used, and again whenever the connection broke. Must be called in a runtime.
    pub fn new(config: &config::Redis, namespace: &str) -> Result<Self, RedisError> {
        let bucket = config.deduplication.deduplication_window.max(Duration::from_secs(1));
        let link = RedisLink::new(config, namespace)?;
        let instance = Instance::new();
        let (asking, asks) = mpsc::unbounded_channel();
        tokio::spawn(answer_all(asks, link.clone(), Exchange::new(namespace, bucket, instance)));
        Ok(Self { link, namespace: namespace.to_owned(), bucket, instance, asking })
    }

    /// Takes a token per event from the project's bucket, and asks of each id whether it was marked before, in one round
    /// trip. Nothing, if Redis does not answer.
    pub async fn check(
        &self,
        charge: Charge,
        ids: Vec<Uuid>,
        now: DateTime<Utc>,
    ) -> Option<(CheckReply, Reservation)> {
        if self.link.is_down() {
            metrics::deduplication_unavailable();
            return None;
        }
        let (number, bucket, prints) = (self.instance.number(), self.bucket_of(now), Prints::of(&ids));
        let (project_id, fate) = (charge.project_id, Fate::Unused);
        let release =
            Release { project_id, bucket, number, prints: prints.clone(), durable: Vec::new(), fate };
        let mut taken = Reservation::new(self.asking.clone(), release);
        let (answer, checked) = oneshot::channel();
        self.asking.send(Ask::Check(Check { charge, ids, prints, number, bucket, answer })).ok()?;
        let Ok(checked) = checked.await else {
            metrics::deduplication_unavailable();
            return None;
        };
        taken.may_publish();
        Some((checked, taken))
    }

    /// Marks ids as accepted that no check has taken; others are marked by [`Reservation::mark`]. Nobody waits for it: what this instance
    /// checks afterwards goes to Redis later. If it fails, the stream or the store will recognise them.
    pub fn mark(&self, project_id: ProjectId, ids: Vec<Uuid>, now: DateTime<Utc>) {
        self.ask(Ask::Mark(Mark { project_id, ids, bucket: self.bucket_of(now) }));
    }

    /// Whether another body is known that came under the key. False, if Redis does not answer.
    pub async fn contradicts(&self, project_id: ProjectId, claim: Claim<'_>) -> bool {
        let mut pipeline = redis::pipe();
        pipeline.get(self.claim_of(project_id, claim.key));
        let known: Option<(Option<Vec<u8>>,)> = self.link.run(&pipeline).await;
        known.and_then(|(body,)| body).is_some_and(|body| body != claim.body.as_bytes())
    }

    /// Remembers which body came first under a key, for a window: its events are durable.
    pub async fn remember(&self, project_id: ProjectId, claim: Claim<'_>) {
        let mut pipeline = redis::pipe();
        let command = pipeline.cmd("SET").arg(self.claim_of(project_id, claim.key));
        command.arg(claim.body.as_bytes()).arg("NX").arg("EX").arg(self.bucket.as_secs());
        self.link.run::<()>(&pipeline).await;
    }

    fn claim_of(&self, project_id: ProjectId, key: &str) -> String {
        let key = Uuid::new_v5(&Uuid::nil(), key.as_bytes()).simple();
        format!("{}:request:{project_id}:{key}", self.namespace)
    }

    /// Notes that nothing was taken before: there is no event in the stream nor in the database.
    pub async fn note_that_nothing_was_taken(&self) {
        let key = memory::key(&self.namespace);
        let Some(found) = self.memory(&key).await else { return };
        let mut pipeline = redis::pipe();
        memory::complete(&mut pipeline, &key, &found);
        self.link.run::<Vec<Value>>(&pipeline).await;
    }

    /// Forgets which ids are durable, unless `history` continues the one under which they were marked; true, if it forgot.
    pub async fn forget_unless_continued(&self, history: History) -> bool {
        let key = format!("{}:history", self.namespace);
        let Some((noted,)) = self.link.run::<(Option<String>,)>(redis::pipe().get(&key)).await else {
            return false;
        };
        let noted = noted.as_deref().and_then(History::parse);
        if noted == Some(history) {
            return false;
        }
        let is_another = noted.is_some_and(|noted| !history.continues(&noted));
        if is_another {
            let memory = memory::key(&self.namespace);
            let Some(found) = self.memory(&memory).await else { return false };
            let mut pipeline = redis::pipe();
            memory::begin(&mut pipeline, &memory, &found, Utc::now());
            if self.link.run::<Vec<Value>>(&pipeline).await.is_none() {
                return false;
            }
        }
        let mut pipeline = redis::pipe();
        pipeline.set(&key, history.to_string()).ignore();
        self.link.run::<()>(&pipeline).await;
        is_another
    }

    async fn memory(&self, key: &str) -> Option<memory::Found> {
        let mut pipeline = redis::pipe();
        memory::ask(&mut pipeline, key);
        let values = self.link.run::<Vec<Value>>(&pipeline).await?;
        memory::read(&mut values.into_iter()).ok()
    }

    /// Whether Redis takes marks now.
    pub async fn is_up(&self) -> bool {
        self.link.is_up().await
    }

    /// False, if Redis is known to be down.
    fn ask(&self, ask: Ask) -> bool {
        !self.link.is_down() && self.asking.send(ask).is_ok()
    }

    fn bucket_of(&self, now: DateTime<Utc>) -> i64 {
        now.timestamp().div_euclid(self.bucket.as_secs().cast_signed())
    }
}

/// Answers until nobody can ask any more.
async fn answer_all(mut asks: mpsc::UnboundedReceiver<Ask>, link: RedisLink, mut exchange: Exchange) {
    let run = |(pipeline, sent): (Pipeline, InFlight)| {
        let link = link.clone();
        async move { (link.run::<Vec<Value>>(&pipeline).await, sent) }
    };
    // Redis answers in order, so a check finds what was marked before it.
    let mut running = FuturesOrdered::new();
    let mut next = Together::default();
    loop {
        let has_room = running.len() < SIDE_BY_SIDE;
        tokio::select! {
            biased;
            Some((values, sent)) = running.next() => {
                if let Some(again) = exchange.finish(&link, sent, values).await {
                    running.push_back(run(again));
                }
            }
            ask = asks.recv(), if has_room => {
                let Some(ask) = ask else { return };
                next.add(ask);
                while !next.is_full() && let Ok(ask) = asks.try_recv() {
                    next.add(ask);
                }
                if next.is_awaited || next.is_full() {
                    running.push_back(run(exchange.begin(next.take())));
                }
            }
            () = sleep_until(next.due), if has_room && !next.asks.is_empty() => {
                running.push_back(run(exchange.begin(next.take())));
            }
        }
    }
}

/// What goes to Redis together.
struct Together {
    asks: Vec<Ask>,
    ids: usize,
    /// Somebody waits for the answer. What nobody waits for goes with what somebody does, or alone after a while.
    is_awaited: bool,
    due: Instant,
}

impl Default for Together {
    fn default() -> Self {
        Self { asks: Vec::new(), ids: 0, is_awaited: false, due: Instant::now() + PATIENCE }
    }
}

impl Together {
    fn add(&mut self, ask: Ask) {
        if self.asks.is_empty() {
            self.due = Instant::now() + PATIENCE;
        }
        self.ids += ask.ids();
        self.is_awaited |= matches!(ask, Ask::Check(_));
        self.asks.push(ask);
    }

    fn is_full(&self) -> bool {
        self.ids >= TOGETHER
    }

    fn take(&mut self) -> Vec<Ask> {
        std::mem::take(self).asks
    }
}
