//! The statistics, against definitions and by hand.

mod late_events;
mod oracle;
pub mod promotions;
mod retention;
mod shop;
mod statistics;
mod timezones;
mod users;
mod values;
mod yielding;
