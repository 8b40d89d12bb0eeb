//! Whose a key is: asked of the database, and remembered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::sync::Cache;
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::{
    model::{
        key::{Key, KeyHash, KeyKind},
        project::Project,
    },
    store::{self, StoreError, projects::keys::StoredKey},
    telemetry,
};

/// A change of a key or of its project takes effect within this time.
const FRESH: Duration = Duration::from_secs(5);
/// How long a request waits for the database to say whose its key is.
const PATIENCE: Duration = Duration::from_secs(1);
/// Keys remembered.
const REMEMBERED: u64 = 100_000;
/// Keys that are asked for in one query.
const TOGETHER: usize = 1_000;
/// Between two queries, so that there are at most 100 a second, whoever asks for what.
const REST: Duration = Duration::from_millis(10);
/// Requests that wait for a key to be looked up.
const WAITING: usize = 10_000;

/// The project of a key, and what the key may do.
#[derive(Clone)]
pub struct Principal {
    pub project: Arc<Project>,
    /// The key's number, by which lists and logs name it.
    pub key_id: i32,
    pub kind: KeyKind,
}

/// Looks keys up, and remembers them: the unknown ones too, in a memory of their own, so that made-up keys drive no real
/// one out.
///
/// One query at a time asks for all keys that requests wait for, and rests before the next. So a flood of made-up keys, each
/// different, costs the database a bounded number of queries and one connection.
#[derive(Clone)]
pub struct Keys {
    known: Cache<KeyHash, (Principal, Instant)>,
    unknown: Cache<KeyHash, ()>,
    lookups: mpsc::Sender<Lookup>,
}

struct Lookup {
    hash: KeyHash,
    answer: oneshot::Sender<Result<Option<Principal>, Arc<StoreError>>>,
}

impl Keys {
    /// Must be called in a runtime.
    pub fn new(pool: PgPool) -> Self {
        let (lookups, waiting) = mpsc::channel(WAITING);
        tokio::spawn(look_up(pool, waiting));
        Self {
            known: Cache::new(REMEMBERED),
            unknown: Cache::builder().max_capacity(REMEMBERED).time_to_live(FRESH).build(),
            lookups,
        }
    }

    /// The principal of a key, if it is known and not revoked. While the database is away, what was known of the key holds
    /// on.
    pub async fn principal(&self, key: &Key) -> Result<Option<Principal>, Arc<StoreError>> {
        let hash = key.hash();
        let known = self.known.get(&hash);
        match &known {
            Some((principal, looked_up)) if looked_up.elapsed() < FRESH => {
                return Ok(Some(principal.clone()));
            }
            None if self.unknown.contains_key(&hash) => return Ok(None),
            _ => {}
        }
        let principal = match (self.ask(hash).await, known) {
            (Ok(principal), _) => principal,
            (Err(error), Some((principal, _))) => {
                let error = telemetry::chain(&error);
                warn!(error, "a key cannot be looked up; what was known of it holds on");
                Some(principal)
            }
            (Err(error), None) => return Err(error),
        };
        if let Some(principal) = &principal {
            self.known.insert(hash, (principal.clone(), Instant::now()));
        } else {
            self.known.invalidate(&hash);
            self.unknown.insert(hash, ());
        }
        Ok(principal)
    }

    async fn ask(&self, hash: KeyHash) -> Result<Option<Principal>, Arc<StoreError>> {
        let timed_out = || Arc::new(StoreError::TimedOut);
        let (answer, answered) = oneshot::channel();
        self.lookups.try_send(Lookup { hash, answer }).map_err(|_| timed_out())?;
        answered.await.unwrap_or_else(|_| Err(timed_out()))
    }
}

/// Answers lookups, all that wait together, until nobody can ask any more.
async fn look_up(pool: PgPool, mut waiting: mpsc::Receiver<Lookup>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, TOGETHER).await > 0 {
        let hashes: Vec<KeyHash> = batch.iter().map(|lookup| lookup.hash).collect();
        let found = tokio::time::timeout(PATIENCE, store::projects::keys::lookup(&pool, &hashes)).await;
        let found = found.unwrap_or(Err(StoreError::TimedOut)).map_err(Arc::new).map(|found| {
            let principal = |(hash, StoredKey { project, key_id, kind })| {
                (hash, Principal { project: Arc::new(project), key_id, kind })
            };
            found.into_iter().map(principal).collect::<std::collections::HashMap<_, _>>()
        });
        for Lookup { hash, answer } in batch.drain(..) {
            // A request that has gone needs no answer.
            answer.send(found.as_ref().map(|found| found.get(&hash).cloned()).map_err(Arc::clone)).ok();
        }
        tokio::time::sleep(REST).await;
    }
}
