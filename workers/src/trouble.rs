//! A failure that lasts: logged when it begins, less and less often while it lasts, and when it is over.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{info, warn};
use weir::telemetry;

/// It is logged again after so long, and then after twice as long each time, up to the longest.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_mins(1);

/// What does not work, for all who try it.
#[derive(Clone)]
pub(crate) struct Trouble {
    /// What is not done, as the log says it.
    what: &'static str,
    lasting: Arc<Mutex<Option<Lasting>>>,
}

struct Lasting {
    error: String,
    began: Instant,
    tell_at: Instant,
    pause: Duration,
}

impl Trouble {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, lasting: Arc::default() }
    }

    /// It has failed.
    pub(crate) fn failed(&self, error: &(dyn std::error::Error + 'static)) {
        let error = telemetry::chain(error);
        let now = Instant::now();
        let mut lasting = self.lasting.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = match &mut *lasting {
            None => {
                *lasting =
                    Some(Lasting { error: error.clone(), began: now, tell_at: now + FIRST, pause: FIRST });
                0
            }
            Some(lasting) => {
                lasting.error.clone_from(&error);
                if now < lasting.tell_at {
                    return;
                }
                lasting.pause = (lasting.pause * 2).min(LONGEST);
                lasting.tell_at = now + lasting.pause;
                (now - lasting.began).as_secs()
            }
        };
        drop(lasting);
        warn!(error, seconds, "{} yet; trying again", self.what);
    }

    /// It has worked.
    pub(crate) fn is_over(&self) {
        if let Some(Lasting { began, .. }) =
            self.lasting.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            let seconds = began.elapsed().as_secs();
            info!(seconds, "{} for a while; it works again", self.what);
        }
    }

    /// Why it has not worked for so long; a single try that failed is no trouble yet.
    pub(crate) fn lasting(&self, so_long: Duration) -> Option<String> {
        let lasting = self.lasting.lock().unwrap_or_else(PoisonError::into_inner);
        lasting
            .as_ref()
            .filter(|lasting| lasting.began.elapsed() >= so_long)
            .map(|lasting| lasting.error.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_lasts_until_it_works_again() {
        let trouble = Trouble::new("events are not stored");
        assert_eq!(trouble.lasting(Duration::ZERO), None);
        trouble.clone().failed(&std::io::Error::other("read-only"));
        trouble.failed(&std::io::Error::other("full"));
        assert_eq!(trouble.lasting(Duration::ZERO).as_deref(), Some("full"));
        assert_eq!(trouble.lasting(LONGEST), None, "it has just begun");
        trouble.is_over();
        assert_eq!(trouble.lasting(Duration::ZERO), None);
    }
}
