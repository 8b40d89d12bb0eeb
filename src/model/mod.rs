//! The nouns: events, projects, keys, time zones. They know nobody.

pub mod did_you_mean;
pub mod duration;
pub mod event;
pub mod key;
pub mod origin;
pub mod project;
pub mod properties;
pub mod range;
pub mod request_id;
pub mod rfc3339;
mod wall_clock;
pub mod zone;
