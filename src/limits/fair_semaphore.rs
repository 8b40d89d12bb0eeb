//! Room for work that is bounded, of which each project has at most half.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::project::ProjectId;

/// Projects whose share is remembered. A share that was forgotten while it was in use would be given twice.
const REMEMBERED: u64 = 100_000;

/// A number of places, of which each project has at most half.
#[derive(Clone)]
pub(crate) struct Room {
    all: Arc<Semaphore>,
    share: usize,
    shares: Cache<ProjectId, Arc<Semaphore>>,
}

/// Places in a room, given back when dropped.
pub(crate) type Places = [OwnedSemaphorePermit; 2];

/// A turn to be worked on, given back when dropped.
pub struct Turn {
    _places: Places,
}

impl Room {
    pub(crate) fn new(places: usize) -> Self {
        let places = places.clamp(2, Semaphore::MAX_PERMITS);
        let shares = Cache::builder().max_capacity(REMEMBERED).build();
        Self { all: Arc::new(Semaphore::new(places)), share: places / 2, shares }
    }

    fn share_of(&self, project_id: ProjectId) -> Arc<Semaphore> {
        self.shares.get_with(project_id, || Arc::new(Semaphore::new(self.share)))
    }

    pub(crate) fn try_enter(&self, project_id: ProjectId, places: u32) -> Option<Places> {
        let own = self.share_of(project_id).try_acquire_many_owned(places).ok()?;
        Some([own, self.all.clone().try_acquire_many_owned(places).ok()?])
    }

    /// One place, after a wait if there is none now.
    pub(crate) async fn turn(&self, project_id: ProjectId, wait: Duration) -> Option<Turn> {
        let places = async {
            let own = self.share_of(project_id).acquire_owned().await.expect("never closed");
            [own, self.all.clone().acquire_owned().await.expect("never closed")]
        };
        tokio::time::timeout(wait, places).await.ok().map(|places| Turn { _places: places })
    }
}
