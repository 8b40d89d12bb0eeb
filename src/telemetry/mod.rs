//! Logs, as JSON lines on standard output, and metrics.

mod catalogue;
pub mod metrics;

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::config::{LogFormat, Logs};

/// Starts logging for the whole process.
///
/// # Panics
/// If logging was started before.
pub fn start(logs: &Logs) {
    let filter = EnvFilter::new(&logs.log_level);
    let registry = tracing_subscriber::registry().with(filter);
    match logs.log_format {
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_span_list(false)).init();
        }
        LogFormat::Text => {
            registry.with(fmt::layer().with_ansi(std::io::stdout().is_terminal())).init();
        }
    }
}

/// An error with its causes, as one line for a log or a terminal.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = text(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = text(error);
        // Libraries differ in whether they repeat their cause in their own text.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

/// What an error says. Of what PostgreSQL says only the sentence: sqlx adds a line of PostgreSQL's source.
fn text(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Database(error)) => error.message().to_owned(),
        Some(sqlx::Error::PoolTimedOut) => "no connection to the database came free in time".into(),
        _ => match error.downcast_ref::<sqlx::postgres::PgDatabaseError>() {
            Some(error) => error.message().to_owned(),
            None => error.to_string(),
        },
    }
}
