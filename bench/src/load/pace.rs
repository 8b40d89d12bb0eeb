//! When requests are sent.
//!
//! Closed loop: each connection sends as soon as it has its answer, which gives the highest rate. Open loop: requests are due
//! at times of their own, as those of independent clients are, and what a server holds up is held up in the measurement too:
//! a latency counts from when a request was due.

use std::{
    cell::Cell,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{
    Mutex,
    mpsc::{self, UnboundedReceiver},
};

use crate::event::mix;

pub(super) struct Pace {
    measured_from: Instant,
    end: Instant,
    begun: Cell<usize>,
    /// How many measured ones are still to be begun.
    left: Cell<u64>,
    /// When requests are due; nothing: whenever a connection is free.
    due: Option<Mutex<UnboundedReceiver<Instant>>>,
}

/// A request that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct DueRequest {
    pub number: usize,
    pub due: Instant,
    /// It is no warm-up.
    pub measured: bool,
}

impl Pace {
    pub fn start(warm_up: Duration, duration: Duration, requests: Option<u64>, rate: Option<f64>) -> Self {
        let begin = Instant::now();
        let measured_from = begin + warm_up;
        let end = measured_from + duration;
        let due = rate.map(|rate| Mutex::new(arrivals(begin, end, rate)));
        Self { measured_from, end, begun: Cell::new(0), left: Cell::new(requests.unwrap_or(u64::MAX)), due }
    }

    pub fn measured_from(&self) -> Instant {
        self.measured_from
    }

    /// Waits for the next request; nothing, if there is none any more.
    pub async fn next(&self) -> Option<DueRequest> {
        let due = match &self.due {
            Some(due) => due.lock().await.recv().await?,
            None => Some(Instant::now()).filter(|now| *now < self.end)?,
        };
        let measured = due >= self.measured_from;
        if measured {
            self.left.set(self.left.get().checked_sub(1)?);
        }
        let number = self.begun.get();
        self.begun.set(number + 1);
        Some(DueRequest { number, due, measured })
    }
}

/// Times at random, with exponential gaps: a Poisson process. A thread of its own, because tokio's clock ticks in milliseconds.
fn arrivals(begin: Instant, end: Instant, rate: f64) -> UnboundedReceiver<Instant> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let mut due = begin;
        for number in 0.. {
            let uniform = (mix(number) >> 11) as f64 / (1_u64 << 53) as f64;
            due += Duration::from_secs_f64(-(1.0 - uniform).ln() / rate);
            if due >= end {
                return;
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.send(due).is_err() {
                return; // nobody sends any more
            }
        }
    });
    receiver
}
