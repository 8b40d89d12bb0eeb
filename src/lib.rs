//! weir
pub mod api;
pub mod config;
pub mod event;
pub mod ingest;
pub mod key;
pub mod metrics;
pub mod project;
pub mod shutdown;
pub mod stats;
pub mod store;
pub mod stream;
pub mod telemetry;
