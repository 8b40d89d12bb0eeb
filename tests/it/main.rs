//! weir from outside: its real processes on real servers, through its HTTP interface and command line.
//!
//! `./scripts/test` starts the servers and sets their addresses. Every test has a database, a stream and keys in Redis
//! of its own, so tests disturb neither each other nor anything else on the servers.

#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a test may panic, and tells a story from top to bottom"
)]

mod bench;
mod bounds;
mod clients;
mod command_line;
mod contract;
mod copies;
mod cors;
mod dead_letters;
mod deletions;
mod dlq;
mod doctor;
mod documents;
mod durability;
mod earlier;
mod examples;
mod expiry;
mod fairness;
mod faults;
mod hints;
mod import_hints;
mod imports;
mod ingest;
mod isolation;
mod late_events;
mod manners;
mod merges;
mod nasty;
mod older_copies;
mod oracle;
mod orphans;
mod outages;
mod poison;
mod project_deletions;
mod promotions;
mod retention;
mod roll_up;
mod schema;
mod schemathesis;
mod shapes;
mod sharing;
mod shop;
mod statistics;
mod support;
mod timezones;
mod transactions;
mod users;
mod values;
