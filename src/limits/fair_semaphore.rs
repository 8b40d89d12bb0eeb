//! A semaphore of whose permits each project, or each address, has at most half.

use std::{hash::Hash, sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::project::ProjectId;

/// Projects whose share is remembered. A share that was forgotten while it was in use would be given twice.
const REMEMBERED: u64 = 100_000;

/// Gives permits, of which each project has at most half; or whoever else they are shared among.
#[derive(Clone)]
pub(crate) struct FairSemaphore<K: Hash + Eq = ProjectId> {
    all: Arc<Semaphore>,
    share: usize,
    shares: Cache<K, Arc<Semaphore>>,
}

/// Some permits, given back when dropped: of the project's share, and of all.
pub(crate) type Permits = [OwnedSemaphorePermit; 2];

/// One permit, given back when dropped.
pub struct Permit {
    _permits: Permits,
}

impl<K: Hash + Eq + Copy + Send + Sync + 'static> FairSemaphore<K> {
    pub(crate) fn new(permits: usize) -> Self {
        let permits = permits.clamp(2, Semaphore::MAX_PERMITS);
        let shares = Cache::builder().max_capacity(REMEMBERED).build();
        Self { all: Arc::new(Semaphore::new(permits)), share: permits / 2, shares }
    }

    fn share_of(&self, whose: K) -> Arc<Semaphore> {
        self.shares.get_with(whose, || Arc::new(Semaphore::new(self.share)))
    }

    /// So many permits, if there are as many now.
    pub(crate) fn try_acquire(&self, whose: K, permits: u32) -> Option<Permits> {
        let own = self.share_of(whose).try_acquire_many_owned(permits).ok()?;
        Some([own, self.all.clone().try_acquire_many_owned(permits).ok()?])
    }

    /// One permit, after a wait if there is none now.
    pub(crate) async fn acquire(&self, whose: K, wait: Duration) -> Option<Permit> {
        let permits = async {
            let own = self.share_of(whose).acquire_owned().await.expect("never closed");
            [own, self.all.clone().acquire_owned().await.expect("never closed")]
        };
        tokio::time::timeout(wait, permits).await.ok().map(|permits| Permit { _permits: permits })
    }
}
