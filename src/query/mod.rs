//! What product teams want to know, one file for each question: values in, the answer out.
//!
//! Each file has a `Query`, whose fields are what is asked, and which answers for a project. It reads one snapshot of the
//! database ([`crate::store::read`]), in which the [`plan`] says where from, and hands what it read to pure functions
//! ([`crate::stats`]). Nothing here knows of HTTP, and there is no SQL here.

pub mod active_users;
pub mod count;
pub mod funnel;
pub mod lifecycle;
pub mod pages;
mod plan;
pub mod profile;
pub mod retention;
pub mod stickiness;
pub mod timeseries;
pub mod top_events;
pub mod users;
