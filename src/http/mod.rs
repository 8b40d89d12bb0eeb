//! The HTTP interface: a server, and an application of operations. What a request says is taken out in `extract`, the
//! operations stand in `routes`, one file for each subject, and what is answered in `respond`.

mod app;
mod cors;
mod extract;
mod openapi;
mod respond;
mod routes;
mod script;
pub mod server;

pub use self::app::{Parts, app, openapi};
