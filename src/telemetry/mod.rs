//! Logs, as JSON lines on standard output, and metrics.

mod catalogue;
pub mod metrics;

use std::{error::Error, io::IsTerminal};

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
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = text(error);
    let mut cause = error.source().filter(|_| !is_of_postgresql(error));
    while let Some(error) = cause {
        let text = text(error);
        // Libraries differ in whether they repeat their cause in their own text.
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source().filter(|_| !is_of_postgresql(error));
    }
    line
}

/// The cause of sqlx's error is PostgreSQL's sentence again.
fn is_of_postgresql(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(sqlx::Error::Database(_)))
}

/// What an error says. Of what PostgreSQL says only the sentence: sqlx adds a line of PostgreSQL's source.
fn text(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Database(error)) => error.message().to_owned(),
        Some(sqlx::Error::PoolTimedOut) => {
            "no connection to the database in time: it cannot be reached, or all connections are in use"
                .into()
        }
        _ => match error.downcast_ref::<sqlx::postgres::PgDatabaseError>() {
            Some(error) => error.message().to_owned(),
            None => error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::chain;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn an_error_says_nothing_twice() {
        let link = |text, source: Option<Link>| Link { text, source: source.map(Box::new) };
        let error = link("cannot connect", Some(link("refused: no route", Some(link("no route", None)))));
        assert_eq!(chain(&error), "cannot connect: refused: no route");
        let error = link("no route to host", Some(link("no route", Some(link("host is down", None)))));
        assert_eq!(chain(&error), "no route to host: host is down");
    }
}
