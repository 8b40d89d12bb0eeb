//! Users: their numbers, aliases, and how they are merged and deleted.

pub mod deletions;
pub mod dictionary;
mod identities;
pub mod known;
pub mod merges;
mod people;
pub mod present;
pub mod traits;

pub use self::people::LinkRefusal;
