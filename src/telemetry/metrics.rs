//! Records every metric of weir. No other module writes a name.
#![allow(clippy::disallowed_macros, reason = "this is the module that may")]

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::catalogue::{
    API_REQUEST_DURATION, API_REQUESTS, BODY_MEMORY, CLOCK_SKEW, CONNECTIONS, CONNECTIONS_REFUSED,
    DAYS_TO_RECOUNT, DEAD_LETTERS, DEDUPLICATION_UNAVAILABLE, EVENTS_DEAD, EVENTS_DROPPED, EVENTS_DUPLICATE,
    EVENTS_INGESTED, EVENTS_ONLY_ABOUT_USERS, EVENTS_RECEIVED, EVENTS_REJECTED, EVENTS_STORED,
    INGEST_TO_STORED, INGEST_TO_VISIBLE, INGESTION_DURATION, Kind, LINKS_REFUSED, METRICS, Metric,
    PROMOTIONS_STOPPED, PUBLISH_FAILURES, RATE_LIMIT_EXCEEDED, REQUESTS_REFUSED, ROLL_UP_DURATION,
    ROLL_UP_FAILURES, STREAM_MESSAGES, STREAM_OLDEST, STREAM_ORPHANS, TIME_ZONE_RULES, TRAITS_REFUSED,
    USERS_DELETED, USERS_MERGED, WRITE_DURATION, WRITE_RETRIES,
};

/// Seconds; from a fast request to a long outage.
const BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Samples are summed up this often, whether somebody reads the metrics or not: they would pile up.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts recording for the whole process; the handle renders what Prometheus scrapes. Must be called in a runtime.
///
/// # Panics
/// If recording was started before.
pub fn start() -> PrometheusHandle {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), BUCKETS)
        .expect("the buckets are not empty")
        .install_recorder()
        .expect("recording is started once");
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    for &Metric { name, kind, help, .. } in METRICS {
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Histogram => describe_histogram!(name, help),
        }
    }
    handle
}

/// The page `docs/prometheus.md`: every metric with its kind, labels and meaning.
pub fn document() -> String {
    super::catalogue::document()
}

/// What recognised a duplicate.
#[derive(Clone, Copy, Debug)]
pub enum CaughtBy {
    /// The same id twice in one request.
    Request,
    /// The ids that Redis remembers.
    Redis,
    /// The stream, by the message's id.
    Stream,
    /// The database's unique index.
    Store,
}

impl CaughtBy {
    fn label(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Redis => "redis",
            Self::Stream => "stream",
            Self::Store => "store",
        }
    }
}

pub fn events_received(events: usize) {
    counter!(EVENTS_RECEIVED).increment(events as u64);
}

pub fn events_ingested(events: usize) {
    counter!(EVENTS_INGESTED).increment(events as u64);
}

pub fn events_duplicate(caught_by: CaughtBy, events: usize) {
    counter!(EVENTS_DUPLICATE, "caught_by" => caught_by.label()).increment(events as u64);
}

pub fn events_rejected(reason: &'static str, events: usize) {
    counter!(EVENTS_REJECTED, "reason" => reason).increment(events as u64);
}

pub fn events_stored(events: usize) {
    counter!(EVENTS_STORED).increment(events as u64);
}

pub fn events_dead_lettered(reason: &'static str, events: usize) {
    counter!(EVENTS_DEAD, "reason" => reason).increment(events as u64);
}

pub fn ingestion(duration: Duration) {
    histogram!(INGESTION_DURATION).record(duration);
}

/// `endpoint` is a path of the interface or `other`, never the path as sent: labels must be few.
pub fn api_request(endpoint: &str, status: u16, duration: Duration) {
    counter!(API_REQUESTS, "endpoint" => endpoint.to_owned(), "status" => status.to_string()).increment(1);
    histogram!(API_REQUEST_DURATION, "endpoint" => endpoint.to_owned()).record(duration);
}

/// `bucket` is whose bucket was empty: `project` or `address`.
pub fn rate_limit_exceeded(bucket: &'static str) {
    counter!(RATE_LIMIT_EXCEEDED, "bucket" => bucket).increment(1);
}

/// `code` is that of the problem document.
pub fn request_refused(code: &'static str) {
    counter!(REQUESTS_REFUSED, "code" => code).increment(1);
}

pub fn connection_refused() {
    counter!(CONNECTIONS_REFUSED).increment(1);
}

pub fn body_memory_taken(bytes: usize) {
    gauge!(BODY_MEMORY).increment(exact(bytes as u64));
}

pub fn body_memory_given_back(bytes: usize) {
    gauge!(BODY_MEMORY).decrement(exact(bytes as u64));
}

/// The release of the rules of time zones.
pub fn time_zone_rules(version: &'static str) {
    gauge!(TIME_ZONE_RULES, "version" => version).set(1.0);
}

pub fn promotion_stopped() {
    counter!(PROMOTIONS_STOPPED).increment(1);
}

/// Days that are to be counted anew by new rules of time zones.
pub fn days_to_recount(days: i64) {
    gauge!(DAYS_TO_RECOUNT).set(exact(days.unsigned_abs()));
}

/// A gauge's number.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn exact(number: u64) -> f64 {
    number as f64
}

pub fn connection_opened() {
    gauge!(CONNECTIONS).increment(1.0);
}

pub fn connection_closed() {
    gauge!(CONNECTIONS).decrement(1.0);
}

pub fn deduplication_unavailable() {
    counter!(DEDUPLICATION_UNAVAILABLE).increment(1);
}

pub fn publish_failed(reason: &'static str) {
    counter!(PUBLISH_FAILURES, "reason" => reason).increment(1);
}

pub fn write(duration: Duration) {
    histogram!(WRITE_DURATION).record(duration);
}

pub fn write_retry() {
    counter!(WRITE_RETRIES).increment(1);
}

pub fn ingest_to_stored(age: Duration) {
    histogram!(INGEST_TO_STORED).record(age);
}

pub fn ingest_to_visible(age: Duration) {
    histogram!(INGEST_TO_VISIBLE).record(age);
}

/// `reason` is why events that were accepted are not stored: `user_deleted`, `project_deleted` or `expired`.
pub fn events_dropped(reason: &'static str, events: usize) {
    counter!(EVENTS_DROPPED, "reason" => reason).increment(events as u64);
}

pub fn events_only_about_users(events: usize) {
    counter!(EVENTS_ONLY_ABOUT_USERS).increment(events as u64);
}

/// `reason` is why an id from before a login did not become an alias of the user who came with it.
pub fn link_refused(reason: &'static str) {
    counter!(LINKS_REFUSED, "reason" => reason).increment(1);
}

/// `reason` is why a trait of a user is not kept.
pub fn traits_refused(reason: &'static str, traits: usize) {
    counter!(TRAITS_REFUSED, "reason" => reason).increment(traits as u64);
}

pub fn users_deleted(users: usize) {
    counter!(USERS_DELETED).increment(users as u64);
}

pub fn users_merged(users: usize) {
    counter!(USERS_MERGED).increment(users as u64);
}

/// Messages of the stream of events that wait and that are with workers, how old the oldest is, and how many the dead-letter
/// stream has.
pub fn stream(waiting: u64, in_hand: u64, oldest: Duration, dead_letters: u64) {
    gauge!(STREAM_MESSAGES, "state" => "in_hand").set(exact(in_hand));
    gauge!(STREAM_MESSAGES, "state" => "waiting").set(exact(waiting));
    gauge!(STREAM_OLDEST).set(oldest.as_secs_f64());
    gauge!(DEAD_LETTERS).set(exact(dead_letters));
}

pub fn clock_skew(milliseconds: i64) {
    gauge!(CLOCK_SKEW).set(exact(milliseconds.unsigned_abs()) / 1_000.0);
}

pub fn orphans(messages: usize) {
    counter!(STREAM_ORPHANS).increment(messages as u64);
}

pub fn roll_up(duration: Duration) {
    histogram!(ROLL_UP_DURATION).record(duration);
}

pub fn roll_up_failed() {
    counter!(ROLL_UP_FAILURES).increment(1);
}
