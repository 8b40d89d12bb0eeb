//! The schema, and the jobs of the worker.

pub mod deletions;
mod expiry;
mod histories;
mod identities;
mod merges;
mod project_deletions;
mod roll_up;
mod schema;
