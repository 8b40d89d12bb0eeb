//! The filter for duplicates in Redis: which ids were accepted lately? It is never the truth. Without it the stream and
//! the store remove duplicates, later and at more cost.
//!
//! A set per project and time bucket holds the ids' 16 bytes; the bucket of now and the one before are asked, so an id
//! is remembered for one to two buckets. The same round trip asks for the project's rate.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use redis::{
    Client, Pipeline, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tracing::{info, warn};
use uuid::Uuid;

use super::rate::{Allowance, OverRate, Rate, shared};
use crate::{config, metrics, project::ProjectId};

/// Remembers accepted ids in Redis.
#[derive(Clone)]
pub struct Filter {
    connection: ConnectionManager,
    namespace: String,
    bucket: Duration,
    /// Whether Redis failed and has not taken a mark since: a change is logged once, not per request. A Redis that is full
    /// answers and takes nothing, so an answer alone does not count.
    down: Arc<AtomicBool>,
}

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
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(client, options)?,
            namespace: namespace.to_owned(),
            bucket: config.deduplication_window.max(Duration::from_secs(1)),
            down: Arc::default(),
        })
    }

    /// Takes a token per event from the project's bucket, and asks of each id whether it was marked before, in one round
    /// trip. Nothing, if Redis does not answer.
    pub async fn check(&self, charge: Charge, ids: &[Uuid], now: DateTime<Utc>) -> Option<Checked> {
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
        if self.run::<redis::Value>(&pipeline).await.is_some() {
            self.takes_marks();
        }
    }

    /// Whether Redis takes marks now.
    pub async fn is_up(&self) -> bool {
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg(format!("{}:probe", self.namespace)).arg(1).arg("EX").arg(10);
        self.run::<redis::Value>(&pipeline).await.inspect(|_| self.takes_marks()).is_some()
    }

    async fn run<T: redis::FromRedisValue>(&self, pipeline: &Pipeline) -> Option<T> {
        match pipeline.query_async(&mut self.connection.clone()).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                metrics::filter_unavailable();
                if !self.down.swap(true, Ordering::Relaxed) {
                    let error = crate::telemetry::chain(&error);
                    warn!(error, "Redis does not answer; going on without it, the store removes duplicates");
                }
                None
            }
        }
    }

    fn takes_marks(&self) {
        if self.down.swap(false, Ordering::Relaxed) {
            info!("Redis takes marks again; duplicates are filtered");
        }
    }

    fn bucket_of(&self, now: DateTime<Utc>) -> i64 {
        now.timestamp().div_euclid(self.bucket.as_secs().cast_signed())
    }

    fn key(&self, project_id: ProjectId, bucket: i64) -> String {
        format!("{}:seen:{project_id}:{bucket}", self.namespace)
    }
}
