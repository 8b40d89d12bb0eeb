//! What is read.

pub mod active;
pub mod activity;
pub mod condition;
pub mod events;
pub mod funnel;
pub mod occurrences;
pub mod pages;
pub mod profile;
pub mod retention;
pub mod snapshot;
pub mod source;
