//! What becomes of events that are sent.

mod bots;
mod copies;
mod nasty;
mod sending;
mod shapes;
