//! What a request says: who asks, parameters, bodies.

pub mod auth;
pub mod body;
pub mod body_schema;
pub mod group;
pub mod json_body;
pub mod parameters;
pub mod receiver;
mod repeated;
pub mod segments;
pub mod text;
