//! The circuit breaker before a stream that does not answer, though the connection looks alive: its process is stopped, its
//! disk hangs, or packets are lost. While it is open, one message at a time tries, and all others are refused at once instead
//! of waiting for nothing.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{info, warn};

/// Open while the stream does not answer.
#[derive(Default)]
pub(super) struct Breaker {
    open: AtomicBool,
    is_probed: AtomicBool,
    last_answer: Mutex<Option<Instant>>,
}

/// The right to publish one message.
pub(super) struct Attempt<'b> {
    /// The breaker, of the one attempt while it is open: it finds out whether the stream answers again.
    probed: Option<&'b Breaker>,
}

impl Attempt<'_> {
    /// Whether it is the one that finds out whether the stream answers again.
    pub(super) fn is_probe(&self) -> bool {
        self.probed.is_some()
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(breaker) = self.probed {
            breaker.is_probed.store(false, Ordering::Release);
        }
    }
}

impl Breaker {
    /// Nothing, if the breaker is open and somebody tries already.
    pub(super) fn admit(&self) -> Option<Attempt<'_>> {
        if !self.is_open() {
            return Some(Attempt { probed: None });
        }
        let is_first = !self.is_probed.swap(true, Ordering::AcqRel);
        is_first.then_some(Attempt { probed: Some(self) })
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// The stream has answered, whatever it said.
    pub(super) fn record_answer(&self) {
        *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if self.open.swap(false, Ordering::AcqRel) {
            info!("the stream answers again");
        }
    }

    /// A message was not answered for so long. The breaker opens if no other was either.
    pub(super) fn record_timeout(&self, waited: Duration) {
        let last = *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= waited) && !self.open.swap(true, Ordering::AcqRel) {
            warn!("the stream does not answer; events are refused until it does");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_it_is_open_one_at_a_time_tries() {
        let breaker = Breaker::default();
        let (_one, _two) = (breaker.admit().expect("an attempt"), breaker.admit().expect("another"));
        breaker.record_timeout(Duration::ZERO);
        let probe = breaker.admit().expect("the first that tries");
        assert!(breaker.admit().is_none(), "the others are refused");
        drop(probe);
        let probe = breaker.admit().expect("the next that tries");
        breaker.record_answer();
        assert!(breaker.admit().is_some() && breaker.admit().is_some(), "all again");
        drop(probe);
    }

    #[test]
    fn one_lost_answer_among_others_does_not_open_it() {
        let breaker = Breaker::default();
        breaker.record_answer();
        breaker.record_timeout(Duration::from_mins(1));
        assert!(!breaker.is_open());
    }
}
