//! What bounds the work: rates, requests and bodies under way, connections.

pub mod admission;
pub mod connections;
pub mod fair_semaphore;
pub mod rate;
