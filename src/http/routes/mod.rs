//! The operations, one file for each subject.

pub mod compat;
pub mod events;
pub mod health;
pub mod merges;
pub mod sdks;
pub mod stats;
pub mod users;
