//! A semaphore of whose permits each project has at most half.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::project::ProjectId;

/// Projects whose share is remembered. A share that was forgotten while it was in use would be given twice.
const REMEMBERED: u64 = 100_000;

/// Gives permits, of which each project has at most half.
#[derive(Clone)]
pub(crate) struct FairSemaphore {
    all: Arc<Semaphore>,
    share: usize,
    shares: Cache<ProjectId, Arc<Semaphore>>,
}

/// Some permits, given back when dropped: of the project's share, and of all.
pub(crate) type Permits = [OwnedSemaphorePermit; 2];

/// One permit, given back when dropped.
pub struct Permit {
    _permits: Permits,
}

impl FairSemaphore {
    pub(crate) fn new(permits: usize) -> Self {
        let permits = permits.clamp(2, Semaphore::MAX_PERMITS);
        let shares = Cache::builder().max_capacity(REMEMBERED).build();
        Self { all: Arc::new(Semaphore::new(permits)), share: permits / 2, shares }
    }

    fn share_of(&self, project_id: ProjectId) -> Arc<Semaphore> {
        self.shares.get_with(project_id, || Arc::new(Semaphore::new(self.share)))
    }

    /// So many permits, if there are as many now.
    pub(crate) fn try_acquire(&self, project_id: ProjectId, permits: u32) -> Option<Permits> {
        let own = self.share_of(project_id).try_acquire_many_owned(permits).ok()?;
        Some([own, self.all.clone().try_acquire_many_owned(permits).ok()?])
    }

    /// One permit, after a wait if there is none now.
    pub(crate) async fn acquire(&self, project_id: ProjectId, wait: Duration) -> Option<Permit> {
        let permits = async {
            let own = self.share_of(project_id).acquire_owned().await.expect("never closed");
            [own, self.all.clone().acquire_owned().await.expect("never closed")]
        };
        tokio::time::timeout(wait, permits).await.ok().map(|permits| Permit { _permits: permits })
    }
}
