//! What was sent, what was answered, and how long that took.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{connection::ServerAnswer, pace::DueRequest};

/// Bounds of a latency, in microseconds, and its significant digits.
const LONGEST: u64 = 120_000_000;
const DIGITS: u8 = 3;

/// A request that was sent.
pub(super) struct SentRequest {
    due_request: DueRequest,
    at: Instant,
    events: u64,
    /// Of these, the ones that were accepted before.
    repeated: u64,
}

impl SentRequest {
    pub fn now(due_request: DueRequest, events: usize, repeated: usize) -> Self {
        Self { due_request, at: Instant::now(), events: events as u64, repeated: repeated as u64 }
    }
}

pub(super) struct Tally {
    measured_from: Instant,
    last_answer: Instant,
    latencies: Histogram<u64>,
    waits: Histogram<u64>,
    measured: Measured,
    in_all: InAll,
}

/// The events and requests of the measured time.
#[derive(Clone, Default, Serialize)]
struct Measured {
    requests: u64,
    events: u64,
    /// Answered as accepted.
    accepted: u64,
    /// Answered as duplicates.
    duplicates: u64,
    /// Refused one by one, in an answer of success.
    rejected: u64,
    /// Sent though they were accepted before.
    repeated: u64,
    /// Requests by the status of their answer.
    statuses: BTreeMap<u16, u64>,
    /// Requests without an answer.
    broken: u64,
}

/// The events of the whole run, warm-up included.
#[derive(Clone, Default, Serialize)]
struct InAll {
    /// Different events in requests that were answered with success, without those that were rejected.
    stored_at_least: u64,
    /// Different events that were sent.
    stored_at_most: u64,
}

#[derive(Serialize)]
pub(crate) struct LoadReport {
    #[serde(flatten)]
    measured: Measured,
    in_all: InAll,
    /// From the begin of the measured time to the last answer.
    seconds: f64,
    requests_per_second: f64,
    /// Of events that were answered with success.
    events_per_second: f64,
    /// From when a request was due to the end of its answer.
    latency_ms: Quantiles,
    /// From when a request was due until it was sent: a connection was not free, or the generator late.
    wait_ms: Quantiles,
}

#[derive(Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Tally {
    pub fn new(measured_from: Instant) -> Self {
        let histogram = || Histogram::new_with_max(LONGEST, DIGITS).expect("bounds that are valid");
        Self {
            measured_from,
            last_answer: measured_from,
            latencies: histogram(),
            waits: histogram(),
            measured: Measured::default(),
            in_all: InAll::default(),
        }
    }

    /// A request was answered just now, or its connection broke.
    pub fn add(&mut self, sent: &SentRequest, answer: Option<&ServerAnswer>) {
        let SentRequest { due_request, at, events, repeated } = *sent;
        let success = answer.filter(|answer| answer.is_success());
        let rejected = success.map_or(0, |answer| events - answer.accepted - answer.duplicates);
        self.in_all.stored_at_most += events - repeated;
        if success.is_some() {
            self.in_all.stored_at_least += events - repeated - rejected;
        }
        if !due_request.measured {
            return;
        }
        self.last_answer = Instant::now();
        self.latencies.saturating_record(micros(self.last_answer - due_request.due));
        self.waits.saturating_record(micros(at - due_request.due));
        let measured = &mut self.measured;
        measured.requests += 1;
        measured.events += events;
        measured.repeated += repeated;
        measured.rejected += rejected;
        measured.accepted += success.map_or(0, |answer| answer.accepted);
        measured.duplicates += success.map_or(0, |answer| answer.duplicates);
        match answer {
            Some(answer) => *measured.statuses.entry(answer.status).or_default() += 1,
            None => measured.broken += 1,
        }
    }

    pub fn report(self) -> LoadReport {
        let seconds = (self.last_answer - self.measured_from).as_secs_f64();
        let Measured { requests, accepted, duplicates, .. } = self.measured;
        let per_second = |number: u64| if seconds > 0.0 { number as f64 / seconds } else { 0.0 };
        LoadReport {
            requests_per_second: per_second(requests),
            events_per_second: per_second(accepted + duplicates),
            measured: self.measured,
            in_all: self.in_all,
            seconds,
            latency_ms: quantiles(&self.latencies),
            wait_ms: quantiles(&self.waits),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn quantiles(histogram: &Histogram<u64>) -> Quantiles {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    Quantiles { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: histogram.max() as f64 / 1000.0 }
}
