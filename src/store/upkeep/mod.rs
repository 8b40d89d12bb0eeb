//! What the workers do beside storing, and what operators look at.

pub mod clock;
pub mod expiry;
pub mod incarnation;
pub mod inspection;
pub mod recounts;
