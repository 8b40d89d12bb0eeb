//! What becomes of events that are sent.

mod copies;
mod nasty;
mod sending;
mod shapes;
