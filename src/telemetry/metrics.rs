//! Every metric of weir: its name, its labels, what it means. No other module writes a name.
//!
//! Names follow Prometheus: seconds and bytes as units, `_total` for counters.
#![allow(clippy::disallowed_macros, reason = "this is the module that may")]

use std::time::Duration;

use chrono::Utc;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::stream::state::State;

const EVENTS_RECEIVED: &str = "events_received_total";
const EVENTS_INGESTED: &str = "events_ingested_total";
const EVENTS_DUPLICATE: &str = "events_duplicate_total";
const EVENTS_REJECTED: &str = "events_rejected_total";
const EVENTS_STORED: &str = "events_stored_total";
const EVENTS_DEAD: &str = "events_dead_lettered_total";
const INGESTION_DURATION: &str = "ingestion_duration_seconds";
const API_REQUESTS: &str = "api_requests_total";
const API_REQUEST_DURATION: &str = "api_request_duration_seconds";
const RATE_LIMIT_EXCEEDED: &str = "rate_limit_exceeded_total";
const REQUESTS_REFUSED: &str = "requests_refused_total";
const BODY_MEMORY: &str = "body_memory_bytes";
const CONNECTIONS: &str = "connections";
const CONNECTIONS_REFUSED: &str = "connections_refused_total";
const FILTER_UNAVAILABLE: &str = "filter_unavailable_total";
const PUBLISH_FAILURES: &str = "publish_failures_total";
const WRITE_DURATION: &str = "write_duration_seconds";
const WRITE_RETRIES: &str = "write_retries_total";
const INGEST_TO_STORED: &str = "ingest_to_stored_seconds";
const INGEST_TO_VISIBLE: &str = "ingest_to_visible_seconds";
const EVENTS_DROPPED: &str = "events_dropped_total";
const USERS_DELETED: &str = "users_deleted_total";
const USERS_MERGED: &str = "users_merged_total";
const STREAM_MESSAGES: &str = "stream_messages";
const STREAM_OLDEST: &str = "stream_oldest_message_seconds";
const CLOCK_SKEW: &str = "clock_skew_seconds";
const ORPHANS: &str = "stream_orphans_total";
const TIME_ZONE_RULES: &str = "time_zone_rules";
const DAYS_TO_RECOUNT: &str = "days_to_recount";
const DEAD_LETTERS: &str = "dead_letters";
const ROLL_UP_DURATION: &str = "roll_up_duration_seconds";
const ROLL_UP_FAILURES: &str = "roll_up_failures_total";

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
    describe_counter!(EVENTS_RECEIVED, "Events in requests and imports, before any check");
    describe_counter!(EVENTS_INGESTED, "Events that are durable in the stream and were new to it");
    describe_counter!(EVENTS_DUPLICATE, "Events dropped as duplicates, by what recognised them");
    describe_counter!(
        EVENTS_REJECTED,
        "Events that were not taken, by reason: not valid, over the rate, or not made durable"
    );
    describe_counter!(EVENTS_STORED, "Events written to the database");
    describe_counter!(
        EVENTS_DEAD,
        "Events set aside in the dead-letter stream, by reason; a message that cannot be read counts as one"
    );
    describe_histogram!(INGESTION_DURATION, "From a read body to the stream's ack");
    describe_counter!(API_REQUESTS, "Requests, by endpoint and status");
    describe_histogram!(API_REQUEST_DURATION, "From a read head to an answer, by endpoint");
    describe_counter!(RATE_LIMIT_EXCEEDED, "Requests refused because a bucket was empty, by whose it was");
    describe_counter!(REQUESTS_REFUSED, "Requests answered with a problem document, by its code");
    describe_gauge!(BODY_MEMORY, "Memory that is set aside for bodies that are read or worked on");
    describe_gauge!(CONNECTIONS, "Connections that are open to the API");
    describe_counter!(CONNECTIONS_REFUSED, "Connections refused because too many were open");
    describe_counter!(FILTER_UNAVAILABLE, "Requests that went on without Redis");
    describe_counter!(PUBLISH_FAILURES, "Requests whose events the stream did not take, by reason");
    describe_histogram!(WRITE_DURATION, "One transaction of the writer");
    describe_counter!(WRITE_RETRIES, "Transactions tried again because the database or the stream was away");
    describe_histogram!(INGEST_TO_STORED, "From the receipt of an event to its commit");
    describe_histogram!(INGEST_TO_VISIBLE, "From the receipt of an event until statistics show it");
    describe_counter!(
        EVENTS_DROPPED,
        "Events that were accepted and are not stored, by reason: their user was deleted, or they are not kept any more"
    );
    describe_counter!(USERS_DELETED, "Users removed from events and statistics");
    describe_counter!(USERS_MERGED, "Users whose events and statistics became those of others");
    describe_gauge!(STREAM_MESSAGES, "Messages in the stream of events: waiting, or in hand with a worker");
    describe_gauge!(STREAM_OLDEST, "Age of the oldest message in the stream of events; 0 if it is empty");
    describe_gauge!(CLOCK_SKEW, "How far the clocks of this process and of the database are apart at least");
    describe_counter!(
        ORPHANS,
        "Messages that the stream had kept though its consumers were past them, and that were given back to them"
    );
    describe_gauge!(DEAD_LETTERS, "Messages in the dead-letter stream");
    describe_gauge!(TIME_ZONE_RULES, "1, with the release of the rules of time zones that this process has");
    describe_gauge!(
        DAYS_TO_RECOUNT,
        "Days of projects that are to be counted anew by new rules of their time zones"
    );
    describe_histogram!(ROLL_UP_DURATION, "One roll-up of activity");
    describe_counter!(
        ROLL_UP_FAILURES,
        "Roll-ups that failed; late events are not in the statistics until one succeeds"
    );
    handle
}

/// What recognised a duplicate.
#[derive(Clone, Copy, Debug)]
pub enum CaughtBy {
    /// The same id twice in one request.
    Request,
    /// The filter in Redis.
    Filter,
    /// The stream, by the message's id.
    Stream,
    /// The database's unique index.
    Store,
}

impl CaughtBy {
    fn label(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Filter => "filter",
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

pub fn filter_unavailable() {
    counter!(FILTER_UNAVAILABLE).increment(1);
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

pub fn users_deleted(users: usize) {
    counter!(USERS_DELETED).increment(users as u64);
}

pub fn users_merged(users: usize) {
    counter!(USERS_MERGED).increment(users as u64);
}

pub fn stream(state: &State) {
    let in_hand = state.in_hand.min(state.messages);
    gauge!(STREAM_MESSAGES, "state" => "in_hand").set(exact(in_hand));
    gauge!(STREAM_MESSAGES, "state" => "waiting").set(exact(state.messages - in_hand));
    let age = state.oldest.map_or(0.0, |oldest| (Utc::now() - oldest).as_seconds_f64().max(0.0));
    gauge!(STREAM_OLDEST).set(age);
    gauge!(DEAD_LETTERS).set(exact(state.dead));
}

pub fn clock_skew(milliseconds: i64) {
    gauge!(CLOCK_SKEW).set(exact(milliseconds.unsigned_abs()) / 1_000.0);
}

pub fn orphans(messages: usize) {
    counter!(ORPHANS).increment(messages as u64);
}

pub fn roll_up(duration: Duration) {
    histogram!(ROLL_UP_DURATION).record(duration);
}

pub fn roll_up_failed() {
    counter!(ROLL_UP_FAILURES).increment(1);
}
