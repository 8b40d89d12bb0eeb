//! Logs, as JSON lines on standard output.

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

/// An error with its causes, as one line for a log.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Libraries differ in whether they repeat their cause in their own text.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}
