//! What is remembered of projects, so that not every request asks the database.

pub mod event_types;
pub mod key_cache;
