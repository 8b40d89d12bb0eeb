//! The list of metrics: names, kinds, labels, and what they mean. It describes them to Prometheus and makes
//! `docs/prometheus.md`.
//!
//! Names follow Prometheus: seconds and bytes as units, `_total` for counters.

use std::fmt::Write as _;

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Which process has a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    Api,
    Worker,
    Both,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    process: Process,
    labels: &'static [&'static str],
    /// What it counts or measures: in words for people, on one line.
    pub(super) help: &'static str,
}

/// The metrics that are defined here, each as a constant and all of them in [`METRICS`].
macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident, $process:ident, [$($label:literal),*], $help:literal;)*) => {
        $(pub(super) const $constant: &str = $name;)*
        /// All metrics, in the order of an event's way.
        pub(super) const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            process: Process::$process,
            labels: &[$($label),*],
            help: $help,
        }),*];
    };
}

metrics! {
    EVENTS_RECEIVED = "events_received_total", Counter, Api, [],
        "Events in requests, before any check.";
    EVENTS_INGESTED = "events_ingested_total", Counter, Api, [],
        "Events that are durable in the stream and were new to it.";
    EVENTS_DUPLICATE = "events_duplicate_total", Counter, Both, ["caught_by"],
        "Events dropped as duplicates. `caught_by` is what recognised them: `request`, `redis`, `stream` or `store`.";
    EVENTS_REJECTED = "events_rejected_total", Counter, Api, ["reason"],
        "Events that were not taken: not valid, over the rate, or not made durable. `reason` is a code of docs/errors.md.";
    API_REQUESTS = "api_requests_total", Counter, Api, ["endpoint", "status"],
        "Requests, by endpoint and status.";
    API_REQUEST_DURATION = "api_request_duration_seconds", Histogram, Api, ["endpoint"],
        "From the head of a request to its answer.";
    REQUESTS_REFUSED = "requests_refused_total", Counter, Api, ["code"],
        "Requests answered with a problem document, by its code.";
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded_total", Counter, Api, ["bucket"],
        "Requests refused because a bucket was empty. `bucket` is whose it was: `project` or `address`.";
    INGESTION_DURATION = "ingestion_duration_seconds", Histogram, Api, [],
        "From a read body to the ack of the stream.";
    DEDUPLICATION_UNAVAILABLE = "deduplication_unavailable_total", Counter, Api, [],
        "Requests that went on without Redis; the stream and the database remove their duplicates.";
    PUBLISH_FAILURES = "publish_failures_total", Counter, Api, ["reason"],
        "Requests whose events the stream did not take.";
    BODY_MEMORY = "body_memory_bytes", Gauge, Api, [],
        "Memory set aside for bodies that are read or worked on.";
    CONNECTIONS = "connections", Gauge, Api, [],
        "Open connections to the API.";
    CONNECTIONS_REFUSED = "connections_refused_total", Counter, Api, [],
        "Connections refused because too many were open.";
    STREAM_MESSAGES = "stream_messages", Gauge, Worker, ["state"],
        "Messages in the stream of events: `waiting`, or `in_hand` with a worker. One message holds a batch.";
    STREAM_OLDEST = "stream_oldest_message_seconds", Gauge, Worker, [],
        "Age of the oldest message in the stream of events; 0 if the stream is empty.";
    STREAM_ORPHANS = "stream_orphans_total", Counter, Worker, [],
        "Messages that the stream had kept though its consumers were past them. They were given back to the consumers.";
    EVENTS_STORED = "events_stored_total", Counter, Worker, [],
        "Events written to the database.";
    EVENTS_DROPPED = "events_dropped_total", Counter, Worker, ["reason"],
        "Accepted events that are not stored. `reason`: `user_deleted`, `project_deleted` or `expired`.";
    EVENTS_ONLY_ABOUT_USERS = "events_only_about_users_total", Counter, Worker, [],
        "Accepted events without a type of their own, which only say who a user is and what is known of them.";
    LINKS_REFUSED = "links_refused_total", Counter, Worker, ["reason"],
        "Anonymous ids that did not become aliases, though an event said so. `reason`: `known_user`, `alias_of_another` or \
         `too_many_aliases`.";
    TRAITS_REFUSED = "traits_refused_total", Counter, Worker, ["reason"],
        "Traits of users that are not kept. `reason`: `too_long` or `too_many`.";
    EVENTS_DEAD = "events_dead_lettered_total", Counter, Worker, ["reason"],
        "Events set aside in the dead-letter stream. A message that cannot be read counts as one.";
    DEAD_LETTERS = "dead_letters", Gauge, Worker, [],
        "Messages in the dead-letter stream.";
    WRITE_DURATION = "write_duration_seconds", Histogram, Worker, [],
        "One transaction of the writer.";
    WRITE_RETRIES = "write_retries_total", Counter, Worker, [],
        "Transactions tried again because the database or the stream was away. It should not grow.";
    INGEST_TO_STORED = "ingest_to_stored_seconds", Histogram, Worker, [],
        "From the receipt of an event to its commit.";
    INGEST_TO_VISIBLE = "ingest_to_visible_seconds", Histogram, Worker, [],
        "From the receipt of an event until statistics show it.";
    ROLL_UP_DURATION = "roll_up_duration_seconds", Histogram, Worker, [],
        "One roll-up of activity.";
    ROLL_UP_FAILURES = "roll_up_failures_total", Counter, Worker, [],
        "Roll-ups that failed; late events are not in the statistics until one succeeds. It should not grow.";
    USERS_DELETED = "users_deleted_total", Counter, Worker, [],
        "Users removed from events and statistics.";
    USERS_MERGED = "users_merged_total", Counter, Worker, [],
        "Users whose events and statistics became those of others.";
    CLOCK_SKEW = "clock_skew_seconds", Gauge, Both, [],
        "How far the clocks of this process and of the database are apart, at least. It should stay below 2.";
    TIME_ZONE_RULES = "time_zone_rules", Gauge, Worker, ["version"],
        "1, labelled with the release of the time zone rules that this process has.";
    PROMOTIONS_STOPPED = "promotions_stopped_total", Counter, Worker, [],
        "Promoted properties that were stopped because of their values. `weir doctor` names them.";
    DAYS_TO_RECOUNT = "days_to_recount", Gauge, Worker, [],
        "Days of projects that wait to be counted anew by new rules of their time zones.";
}

/// `docs/prometheus.md`.
pub(super) fn document() -> String {
    let mut page = String::from(
        "# Metrics for Prometheus\n\n\
         <!-- Made by `weir metrics`: change src/telemetry/catalogue.rs instead. -->\n\n\
         `/metrics` of `weir serve` (API) and of `weir-worker` (worker) give these. A metric appears when it is first \
         counted. What to watch: [operations.md](operations.md).\n\n\
         | metric | kind | process | labels | meaning |\n|---|---|---|---|---|\n",
    );
    for Metric { name, kind, process, labels, help } in METRICS {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let process = match process {
            Process::Api => "API",
            Process::Worker => "worker",
            Process::Both => "both",
        };
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(page, "| `{name}` | {kind} | {process} | {} | {help} |", labels.join(", "))
            .expect("a text takes all");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_prometheus_asks_for() {
        for Metric { name, kind, help, .. } in METRICS {
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
            assert!(help.ends_with('.') && !help.contains('|'), "{name}: {help}");
        }
    }

    #[test]
    fn the_page_is_that_of_this_list() {
        assert_eq!(
            document(),
            include_str!("../../docs/prometheus.md"),
            "run `weir metrics > docs/prometheus.md`"
        );
    }
}
