//! The filter for duplicates in Redis: which ids were accepted lately? It is never the truth. Without it the stream and
//! the store remove duplicates, later and at more cost.
//!
//! A set per project and time bucket holds the ids' 16 bytes; the bucket of now and the one before are asked, so an id
//! is remembered for one to two buckets. The same round trip asks for the project's rate.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use redis::{
    Client, FromRedisValue, Pipeline, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tracing::{info, warn};
use uuid::Uuid;

use super::rate::{Allowance, OverRate, Rate, shared};
use crate::{config, metrics, project::ProjectId};

/// Remembers accepted ids in Redis.
#[derive(Clone)]
pub struct Filter {
    client: Client,
    options: ConnectionManagerConfig,
    connection: Arc<RwLock<ConnectionManager>>,
    namespace: String,
    bucket: Duration,
    probe_pause: Duration,
    /// Redis failed, and is not asked until it has taken a probe: an absent or slow one costs a request at most one
    /// timeout, and then nothing.
    down: Arc<AtomicBool>,
}

/// How long a Redis that failed is left alone before it is probed.
const PROBE_PAUSE: Duration = Duration::from_millis(500);

/// What a request takes of its project's rate.
#[derive(Clone, Copy, Debug)]
pub struct Charge {
    pub project_id: ProjectId,
    pub rate: Rate,
    pub events: NonZeroU32,
}

/// What Redis knows of a request.
#[derive(Debug)]
pub struct Checked {
    /// Whether the rate lets it in; nothing if Redis takes no writes.
    pub verdict: Option<Result<Allowance, OverRate>>,
    /// For each id whether it was marked before.
    pub known: Vec<bool>,
}

impl Filter {
    /// Connects when first used, and again whenever the connection broke.
    pub fn new(config: &config::Redis, namespace: &str) -> Result<Self, RedisError> {
        let client = Client::open(config.redis_url.as_str())?;
        let options = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(config.redis_timeout))
            .set_response_timeout(Some(config.redis_timeout))
            .set_number_of_retries(0);
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), options.clone())?;
        Ok(Self {
            client,
            options,
            connection: Arc::new(RwLock::new(connection)),
            namespace: namespace.to_owned(),
            bucket: config.deduplication_window.max(Duration::from_secs(1)),
            // What was asked before the failure has failed by then too (connecting, and an answer), and is not taken for a
            // failure of the connection after it.
            probe_pause: PROBE_PAUSE.max(2 * config.redis_timeout),
            down: Arc::default(),
        })
    }

    /// Takes a token per event from the project's bucket, and asks of each id whether it was marked before, in one round
    /// trip. Nothing, if Redis does not answer.
    pub async fn check(&self, charge: Charge, ids: &[Uuid], now: DateTime<Utc>) -> Option<Checked> {
        let checked = self.ask(charge, ids, now).await;
        if checked.is_none() {
            metrics::filter_unavailable();
        }
        checked
    }

    async fn ask(&self, charge: Charge, ids: &[Uuid], now: DateTime<Utc>) -> Option<Checked> {
        let Charge { project_id, rate, events } = charge;
        let bucket = self.bucket_of(now);
        let mut pipeline = redis::pipe();
        shared::ask(&mut pipeline, &format!("{}:rate:{project_id}", self.namespace), rate, events);
        if ids.is_empty() {
            let (answer,) = self.run::<(shared::Answer,)>(&pipeline).await?;
            return Some(Checked { verdict: shared::verdict(rate, answer), known: Vec::new() });
        }
        for bucket in [bucket, bucket - 1] {
            let command = pipeline.cmd("SMISMEMBER").arg(self.key(project_id, bucket));
            for id in ids {
                command.arg(id.as_bytes());
            }
        }
        let (answer, current, previous) =
            self.run::<(shared::Answer, Vec<bool>, Vec<bool>)>(&pipeline).await?;
        let known = current.iter().zip(previous).map(|(current, previous)| *current || previous).collect();
        Some(Checked { verdict: shared::verdict(rate, answer), known })
    }

    /// Marks ids as accepted. If that fails, the stream or the store will recognise them.
    pub async fn mark(&self, project_id: ProjectId, ids: &[Uuid], now: DateTime<Utc>) {
        let key = self.key(project_id, self.bucket_of(now));
        let mut pipeline = redis::pipe();
        let command = pipeline.cmd("SADD").arg(&key);
        for id in ids {
            command.arg(id.as_bytes());
        }
        pipeline.expire(&key, (2 * self.bucket).as_secs().cast_signed()).ignore();
        self.run::<redis::Value>(&pipeline).await;
    }

    /// Whether Redis takes marks now.
    pub async fn is_up(&self) -> bool {
        !self.down.load(Ordering::Acquire)
            && self.probe(self.connection()).await.inspect_err(|error| self.fails(error)).is_ok()
    }

    /// Asks Redis, if it is not known to be down.
    async fn run<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Option<T> {
        if self.down.load(Ordering::Acquire) {
            return None;
        }
        let answer = pipeline.query_async(&mut self.connection()).await;
        answer.inspect_err(|error| self.fails(error)).ok()
    }

    /// A write: a Redis that is full answers and takes nothing, so an answer alone does not count.
    async fn probe(&self, mut connection: ConnectionManager) -> Result<(), RedisError> {
        let mut probe = redis::cmd("SET");
        probe.arg(format!("{}:probe", self.namespace)).arg(1).arg("EX").arg(10);
        probe.exec_async(&mut connection).await
    }

    fn connection(&self) -> ConnectionManager {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A new connection, if Redis takes a probe over it. On the old one it may still owe answers, for which the next
    /// would be taken.
    async fn reconnect(&self) -> Result<(), RedisError> {
        let connection = ConnectionManager::new_lazy_with_config(self.client.clone(), self.options.clone())?;
        self.probe(connection.clone()).await?;
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = connection;
        Ok(())
    }

    /// Redis is left alone from now on, except for probes in the background.
    fn fails(&self, error: &RedisError) {
        if self.down.swap(true, Ordering::AcqRel) {
            return;
        }
        let error = crate::telemetry::chain(error);
        warn!(error, "Redis does not answer; going on without it, the store removes duplicates");
        let filter = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(filter.probe_pause).await;
                if filter.reconnect().await.is_ok() {
                    break;
                }
            }
            filter.down.store(false, Ordering::Release);
            info!("Redis takes marks again; duplicates are filtered");
        });
    }

    fn bucket_of(&self, now: DateTime<Utc>) -> i64 {
        now.timestamp().div_euclid(self.bucket.as_secs().cast_signed())
    }

    fn key(&self, project_id: ProjectId, bucket: i64) -> String {
        format!("{}:seen:{project_id}:{bucket}", self.namespace)
    }
}
