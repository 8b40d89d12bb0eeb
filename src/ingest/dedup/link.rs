//! The connection to Redis, and a breaker: an absent or slow Redis costs a request at most one timeout, and then nothing.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    Client, FromRedisValue, Pipeline, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tracing::{info, warn};

use crate::config;

/// How long a Redis that failed is left alone before it is probed.
const PROBE_PAUSE: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub(crate) struct RedisLink {
    client: Client,
    options: ConnectionManagerConfig,
    connection: Arc<RwLock<ConnectionManager>>,
    probe_key: String,
    probe_pause: Duration,
    /// Redis failed, and is not asked until it has taken a probe.
    down: Arc<AtomicBool>,
}

impl RedisLink {
    pub(crate) fn new(config: &config::Redis, namespace: &str) -> Result<Self, RedisError> {
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
            probe_key: format!("{namespace}:probe"),
            // What was asked before the failure has failed by then too (connecting, and an answer), and is not taken for a
            // failure of the connection after it.
            probe_pause: PROBE_PAUSE.max(2 * config.redis_timeout),
            down: Arc::default(),
        })
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// Whether Redis takes writes now.
    pub(crate) async fn is_up(&self) -> bool {
        !self.is_down() && self.probe(self.connection()).await.inspect_err(|error| self.fails(error)).is_ok()
    }

    /// Asks Redis, if it is not known to be down.
    pub(crate) async fn run<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Option<T> {
        if self.is_down() {
            return None;
        }
        let answer = pipeline.query_async(&mut self.connection()).await;
        answer.inspect_err(|error| self.fails(error)).ok()
    }

    /// A write: a Redis that is full answers and takes nothing, so an answer alone does not count.
    async fn probe(&self, mut connection: ConnectionManager) -> Result<(), RedisError> {
        let mut probe = redis::cmd("SET");
        probe.arg(&self.probe_key).arg(1).arg("EX").arg(10);
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
        let link = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(link.probe_pause).await;
                if link.reconnect().await.is_ok() {
                    break;
                }
            }
            link.down.store(false, Ordering::Release);
            info!("Redis takes marks again; duplicates are filtered");
        });
    }
}
