//! The groups of operations.

use poem_openapi::Tags;

/// Groups of operations in the documentation.
#[derive(Tags)]
pub enum Tag {
    /// Send events, and read those of a user.
    Events,
    /// What is known of a user; merge users who are one person; delete a user and everything that is known of them.
    Users,
    /// Ask about users and events. Days are those of the project's time zone; a range of days includes both its ends.
    Statistics,
    /// Calls of earlier systems, whose clients go on working. New ones do better with the others.
    #[oai(rename = "Earlier systems")]
    Earlier,
    /// Whether weir lives and what it does.
    Operation,
}
