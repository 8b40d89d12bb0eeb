//! Users: their numbers, aliases, and how they are merged and deleted.

pub mod deletions;
pub mod dictionary;
pub mod merges;
