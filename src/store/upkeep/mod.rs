//! What the workers do beside storing, and what operators look at.

pub mod clock;
pub(crate) mod counting;
pub mod expiry;
pub mod inspection;
pub mod recounts;
pub mod roll_up;
pub mod zone_rules;
