//! What the durable ids stand on: a stream, and a database that has all that left it. When one of them is lost, or goes back to an
//! older copy, ids are no longer durable, and must be forgotten: or events that are sent again would be taken for duplicates. Redis
//! forgets them, and the stream does not recognise its messages any more, because their ids depend on the history.

use std::fmt;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::{
    store::{StoreError, write::settled},
    stream::{Stream, state::StateError},
};

/// A stream, and how many of its messages the database has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// When the stream was created.
    pub stream: DateTime<Utc>,
    /// Messages that have left the stream and are not settled in the database: how many, and the first.
    pub lost: (i64, i64),
}

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum NotSeen {
    #[error(transparent)]
    Stream(#[from] StateError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl History {
    /// That of now.
    pub async fn look(stream: &Stream, pool: &PgPool) -> Result<Self, NotSeen> {
        let state = stream.state().await?;
        // While no worker runs nobody else notes what the stream has had.
        settled::note_stream(pool, state.created, state.last_sequence).await?;
        let losses = settled::losses(pool, state.created, state.settled_up_to).await?;
        let lost = losses.iter().find(|loss| loss.created == state.created);
        Ok(Self { stream: state.created, lost: lost.map_or((0, 0), |loss| (loss.missing, loss.first)) })
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(':');
        let stream = DateTime::from_timestamp_micros(numbers.next()?.parse().ok()?)?;
        Some(Self { stream, lost: (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?) })
    }

    /// Whether all that was durable before is still.
    pub(crate) fn continues(&self, before: &Self) -> bool {
        // What is lost never comes back: others are missing when a restored database was exchanged for the one before it.
        self.stream == before.stream && (self.lost.0 == 0 || self.lost == before.lost)
    }
}

impl fmt::Display for History {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.stream.timestamp_micros(), self.lost.0, self.lost.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_continues_until_something_of_it_is_lost() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("a time");
        let history = |seconds, lost| History { stream: at(seconds), lost };
        let before = history(1, (5, 7));
        assert_eq!(History::parse(&before.to_string()), Some(before));
        assert!(history(1, (5, 7)).continues(&before) && history(1, (0, 0)).continues(&before));
        for other in [history(1, (6, 7)), history(1, (3, 20)), history(2, (0, 0))] {
            assert!(!other.continues(&before), "{other}");
        }
    }
}
