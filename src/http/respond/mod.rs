//! What an answer says: problems, tables, caching.

pub mod answer;
pub mod instant;
pub mod problem;
pub mod table;
pub(crate) mod warnings;
