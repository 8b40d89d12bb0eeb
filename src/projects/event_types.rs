//! The bound on a project's event types: each is rows of activity for every hour, and what varies goes into properties.

use std::{
    collections::{BTreeSet, HashSet},
    num::NonZeroU32,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use moka::sync::Cache;
use sqlx::PgPool;
use tracing::warn;

use crate::{
    model::project::ProjectId,
    store::{self, StoreError},
    telemetry,
};

/// Projects whose types are remembered.
const REMEMBERED: u64 = 10_000;
/// How long a request waits for the database to say whether there is room for a new type.
const PATIENCE: Duration = Duration::from_secs(1);
/// After an answer that will not change soon, the database is not asked again for so long.
const PAUSE: Duration = Duration::from_secs(5);

/// The event types of projects, remembered.
#[derive(Clone)]
pub struct EventTypes {
    pool: PgPool,
    projects: Cache<ProjectId, Arc<RwLock<KnownTypes>>>,
}

#[derive(Default)]
struct KnownTypes {
    event_types: HashSet<Box<str>>,
    paused: Option<(PauseReason, Instant)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PauseReason {
    /// All types of the project are known, and there is room for no more.
    Full,
    /// The database did not answer.
    Away,
}

impl EventTypes {
    pub fn new(pool: PgPool) -> Self {
        Self { pool, projects: Cache::new(REMEMBERED) }
    }

    /// All event types of a project, if one of these is not among those that are remembered; otherwise nothing.
    pub async fn all_if_one_is_unknown(
        &self,
        project_id: ProjectId,
        event_types: &BTreeSet<String>,
    ) -> Result<Option<HashSet<String>>, StoreError> {
        let known = self.projects.get_with(project_id, Arc::default);
        let are_known = {
            let known = known.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            event_types.iter().all(|one| known.event_types.contains(one.as_str()))
        };
        if are_known {
            return Ok(None);
        }
        let all = store::projects::event_types::all(&self.pool, project_id);
        let all = tokio::time::timeout(PATIENCE, all).await.unwrap_or(Err(StoreError::TimedOut))?;
        let mut known = known.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.event_types.extend(all.iter().map(|one| one.as_str().into()));
        Ok(Some(all.into_iter().collect()))
    }

    /// Those of the types for which the project has no room. While the database is away, none: events are taken, and the
    /// bound holds again afterwards.
    pub async fn beyond(
        &self,
        project_id: ProjectId,
        limit: NonZeroU32,
        event_types: &BTreeSet<&str>,
    ) -> HashSet<String> {
        let known = self.projects.get_with(project_id, Arc::default);
        let (unknown, paused) = {
            let known = known.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            let unknown: Vec<&str> =
                event_types.iter().copied().filter(|one| !known.event_types.contains(*one)).collect();
            (unknown, known.paused.filter(|(_, since)| since.elapsed() < PAUSE))
        };
        match paused {
            _ if unknown.is_empty() => return HashSet::new(),
            Some((PauseReason::Full, _)) => return unknown.into_iter().map(Into::into).collect(),
            Some((PauseReason::Away, _)) => return HashSet::new(),
            None => {}
        }
        let admitted = store::projects::event_types::admit(&self.pool, project_id, &unknown, limit);
        let admitted = tokio::time::timeout(PATIENCE, admitted).await.unwrap_or(Err(StoreError::TimedOut));
        let mut known = known.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        match admitted {
            Ok(admitted) => {
                known.event_types.extend(admitted.into_iter().map(String::into_boxed_str));
                let beyond: HashSet<String> = unknown
                    .iter()
                    .filter(|one| !known.event_types.contains(**one))
                    .map(ToString::to_string)
                    .collect();
                known.paused = (!beyond.is_empty()).then(|| (PauseReason::Full, Instant::now()));
                beyond
            }
            Err(error) => {
                let error = telemetry::chain(&error);
                warn!(error, "new event types are taken without asking whether there is room for them");
                known.paused = Some((PauseReason::Away, Instant::now()));
                HashSet::new()
            }
        }
    }
}
