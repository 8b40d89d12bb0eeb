//! weir from outside: its real processes on real servers, through its HTTP interface and command line.
//!
//! `./scripts/test` starts the servers and sets their addresses. Every test has a database, a stream and keys in Redis
//! of its own, so tests disturb neither each other nor anything else on the servers.

#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a test may panic, and tells a story from top to bottom"
)]

mod http;
mod ingest;
mod sdks;
mod stats;
mod stream;
mod support;
mod tools;
mod upkeep;
