//! What became of a request's events.

use std::sync::Arc;

use super::{validate::Rejection, wire::BodyError};
use crate::limits::rate::{Allowance, OverRate};
use crate::stream::publish::NotPublished;

/// What became of a request's events: `accepted + duplicates + rejected.len()` is their number, unless valid ones were not
/// taken because others are not valid.
#[derive(Debug)]
pub struct Receipt {
    pub accepted: usize,
    pub duplicates: usize,
    pub rejected: Vec<Rejected>,
    /// The id of the event if the body was a single one, as it was sent or as weir gave it.
    pub single: Option<String>,
    /// The ids of the valid events, as they were sent or as weir gave them, if the answer is to name them.
    pub named: Vec<String>,
    /// The id of the request, if the body had one.
    pub request_id: Option<String>,
    /// What the project may still send.
    pub allowance: Allowance,
}

/// An event that was refused.
#[derive(Debug)]
pub struct Rejected {
    /// Its place in the request, from 0.
    pub index: usize,
    pub rejection: Rejection,
}

/// Why nothing of a request was taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    OverRate(#[from] OverRate),
    #[error("another body came under the same Idempotency-Key before")]
    KeyReused,
    #[error("the events cannot be made durable")]
    NotPublished { source: Arc<NotPublished>, allowance: Allowance },
}
