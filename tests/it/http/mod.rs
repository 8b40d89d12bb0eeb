//! What HTTP and keys promise: shapes, bounds, walls between projects, hints.

mod bounds;
mod compat;
mod contract;
mod cors;
mod examples;
mod fairness;
mod hints;
mod isolation;
mod manners;
