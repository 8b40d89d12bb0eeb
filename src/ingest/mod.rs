//! The way in: decode, validate, check, publish, mark.

pub mod decode;
pub mod filter;
mod properties;
pub mod rate;
pub mod validate;

use std::{borrow::Cow, collections::HashSet, num::NonZeroU32, time::Instant};

use chrono::{DateTime, SubsecRound, Utc};
use futures::future;
use uuid::Uuid;

use self::{
    decode::BodyError,
    filter::Filter,
    rate::{Allowance, OverRate, Rates},
    validate::{Rejection, Rules},
};
use crate::{
    config::Limits,
    event::{Batch, Event},
    metrics::{self, CaughtBy},
    project::ProjectId,
    stream::{
        message,
        publish::{NotPublished, Published, Publisher},
    },
};

/// Takes events: what it has counted as accepted is durable.
#[derive(Clone)]
pub struct Ingest {
    pub filter: Filter,
    pub publisher: Publisher,
    pub rates: Rates,
    pub limits: Limits,
}

/// What became of a request's events: `accepted + duplicates + rejected.len()` is their number.
#[derive(Debug)]
pub struct Receipt {
    pub accepted: usize,
    pub duplicates: usize,
    pub rejected: Vec<Rejected>,
    /// The id of the event if the body was a single one, as it was sent or as weir gave it.
    pub single: Option<String>,
    /// What the project may still send.
    pub allowance: Allowance,
}

/// An event that was refused.
#[derive(Debug)]
pub struct Rejected {
    /// Its place in the request, from 0.
    pub index: usize,
    /// As sent, if it was sent and is a text.
    pub event_id: Option<String>,
    pub rejection: Rejection,
}

/// Why nothing of a request was taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    OverRate(#[from] OverRate),
    #[error("the events cannot be made durable")]
    NotPublished(#[from] NotPublished),
}

impl Ingest {
    /// Takes the events of a body. On an error the client may send all of them again: what was taken nevertheless is
    /// recognised.
    pub async fn take(
        &self,
        project_id: ProjectId,
        request_id: &str,
        idempotency_key: Option<&str>,
        body: &[u8],
    ) -> Result<Receipt, NotTaken> {
        let begun = Instant::now();
        let received_at = Utc::now().trunc_subsecs(6);
        let decoded = decode::decode(body, self.limits.max_events as usize)?;
        metrics::events_received(decoded.events.len());
        let sent = u32::try_from(decoded.events.len()).ok().and_then(NonZeroU32::new);
        let allowance = self
            .rates
            .take(project_id, sent.unwrap_or(NonZeroU32::MAX))
            .inspect_err(|_| metrics::events_rejected("over_rate", decoded.events.len()))?;

        let mut receipt =
            Receipt { accepted: 0, duplicates: 0, rejected: Vec::new(), single: None, allowance };
        let mut seen = HashSet::with_capacity(decoded.events.len());
        let mut events = Vec::with_capacity(decoded.events.len());
        let rules = Rules { limits: &self.limits, project_id, now: received_at, idempotency_key };
        for (index, raw) in decoded.events.iter().enumerate() {
            match rules.event(raw, index) {
                Ok(valid) => {
                    if decoded.single {
                        receipt.single =
                            Some(valid.sent_id.map_or(valid.event.event_id.to_string(), Cow::into_owned));
                    }
                    if seen.insert(valid.event.event_id) {
                        events.push(valid.event);
                    } else {
                        receipt.duplicates += 1;
                    }
                }
                Err(rejection) => {
                    metrics::events_rejected(rejection.reason.code(), 1);
                    let event_id = validate::sent_id(raw).map(Cow::into_owned);
                    receipt.rejected.push(Rejected { index, event_id, rejection });
                }
            }
        }
        metrics::events_duplicate(CaughtBy::Request, receipt.duplicates);

        let fresh = self.without_known(project_id, events, received_at).await;
        receipt.duplicates += seen.len() - fresh.len();
        let (accepted, duplicates) = self.make_durable(project_id, request_id, received_at, fresh).await?;
        receipt.accepted = accepted;
        receipt.duplicates += duplicates;
        metrics::ingestion(begun.elapsed());
        Ok(receipt)
    }

    async fn without_known<'a>(
        &self,
        project_id: ProjectId,
        mut events: Vec<Event<'a>>,
        now: DateTime<Utc>,
    ) -> Vec<Event<'a>> {
        if events.is_empty() {
            return events;
        }
        let ids: Vec<Uuid> = events.iter().map(|event| event.event_id).collect();
        let sent = events.len();
        let mut known = self.filter.check(project_id, &ids, now).await.into_iter();
        events.retain(|_| !known.next().unwrap_or(false));
        metrics::events_duplicate(CaughtBy::Filter, sent - events.len());
        events
    }

    /// Publishes and marks; the numbers of events that were new to the stream and of those that it had.
    async fn make_durable(
        &self,
        project_id: ProjectId,
        request_id: &str,
        received_at: DateTime<Utc>,
        events: Vec<Event<'_>>,
    ) -> Result<(usize, usize), NotTaken> {
        let batches = split(events, self.publisher.largest_message()).map(|events| Batch {
            project_id,
            request_id: request_id.into(),
            received_at,
            events,
        });
        let published = future::join_all(batches.map(|batch| async {
            let result = self.publisher.publish(&batch).await;
            (batch.events, result)
        }))
        .await;

        let durable: Vec<Uuid> = published
            .iter()
            .filter(|(_, result)| result.is_ok())
            .flat_map(|(events, _)| events.iter().map(|event| event.event_id))
            .collect();
        if !durable.is_empty() {
            self.filter.mark(project_id, &durable, received_at).await;
        }
        let (mut accepted, mut duplicates) = (0, 0);
        let mut failure = None;
        for (events, result) in published {
            match result {
                Ok(Published { duplicate: false, .. }) => accepted += events.len(),
                Ok(Published { duplicate: true, .. }) => duplicates += events.len(),
                Err(error) => {
                    metrics::events_rejected("not_durable", events.len());
                    failure = Some(error);
                }
            }
        }
        metrics::events_ingested(accepted);
        metrics::events_duplicate(CaughtBy::Stream, duplicates);
        match failure {
            None => Ok((accepted, duplicates)),
            Some(error) => Err(error.into()),
        }
    }
}

/// Cuts events into messages of at most `largest` bytes.
pub fn split(events: Vec<Event<'_>>, largest: usize) -> impl Iterator<Item = Vec<Event<'_>>> {
    let mut events = events.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut part = vec![events.next()?];
        let mut size = message::encoded_size(&part[0]);
        while let Some(event) = events.next_if(|event| {
            size += message::encoded_size(event);
            size <= largest
        }) {
            part.push(event);
        }
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_into_messages_of_bounded_size_and_none_is_lost() {
        let event = |n: u128| Event {
            event_id: Uuid::from_u128(n),
            user_id: None,
            event_type: "e".into(),
            occurred_at: None,
            properties: "{}",
        };
        let size = message::encoded_size(&event(0));
        let parts: Vec<_> = split((0..10).map(event).collect(), 3 * size).collect();
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3, 1]);
        assert_eq!(parts.concat(), (0..10).map(event).collect::<Vec<_>>());
        assert_eq!(
            split((0..2).map(event).collect(), 1).count(),
            2,
            "an event larger than a message goes alone"
        );
    }
}
