//! A stream that does not answer, though the connection looks alive: its process is stopped, its disk hangs, or packets are
//! lost. Then one message at a time tries, and all others are refused at once instead of waiting for nothing.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{info, warn};

/// Whether the stream answers.
#[derive(Default)]
pub(super) struct Silence {
    silent: AtomicBool,
    somebody_tries: AtomicBool,
    last_answer: Mutex<Option<Instant>>,
}

/// The right to publish.
pub(super) struct Turn<'s> {
    /// Of the one who tries while the stream is silent.
    of: Option<&'s Silence>,
}

impl Turn<'_> {
    /// It is of the one who finds out whether the stream still is silent.
    pub(super) fn tries(&self) -> bool {
        self.of.is_some()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(silence) = self.of {
            silence.somebody_tries.store(false, Ordering::Release);
        }
    }
}

impl Silence {
    /// Nothing, if the stream is silent and somebody tries already.
    pub(super) fn enter(&self) -> Option<Turn<'_>> {
        if !self.is_silent() {
            return Some(Turn { of: None });
        }
        let is_first = !self.somebody_tries.swap(true, Ordering::AcqRel);
        is_first.then_some(Turn { of: Some(self) })
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Acquire)
    }

    /// The stream has answered, whatever it said.
    pub(super) fn answer(&self) {
        *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if self.silent.swap(false, Ordering::AcqRel) {
            info!("the stream answers again");
        }
    }

    /// A message was not answered for so long. The stream is silent if no other was either.
    pub(super) fn no_answer(&self, waited: Duration) {
        let last = *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= waited) && !self.silent.swap(true, Ordering::AcqRel) {
            warn!("the stream does not answer; events are refused until it does");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_the_stream_is_silent_one_at_a_time_tries() {
        let silence = Silence::default();
        let (_one, _two) = (silence.enter().expect("a turn"), silence.enter().expect("another"));
        silence.no_answer(Duration::ZERO);
        let trying = silence.enter().expect("the first that tries");
        assert!(silence.enter().is_none(), "the others are refused");
        drop(trying);
        let trying = silence.enter().expect("the next that tries");
        silence.answer();
        assert!(silence.enter().is_some() && silence.enter().is_some(), "all again");
        drop(trying);
    }

    #[test]
    fn one_lost_answer_among_others_is_no_silence() {
        let silence = Silence::default();
        silence.answer();
        silence.no_answer(Duration::from_mins(1));
        assert!(!silence.is_silent());
    }
}
