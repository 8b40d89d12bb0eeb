//! The way in: decode, validate, check, publish, mark.

mod check;
pub mod dedup;
pub mod encoding;
#[cfg(test)]
mod fuzz;
pub mod idempotency;
pub mod receipt;
pub mod validate;
pub mod wire;

use std::{
    collections::{BTreeSet, HashSet},
    time::Instant,
};

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use futures::future;
use uuid::Uuid;

use self::{
    check::Checked,
    dedup::{Deduplicator, Reservation},
    idempotency::Claim,
    receipt::{NotTaken, Receipt, Rejected},
    validate::{Reason, Rejection, Rules, Valid},
    wire::{Asked, Body, Context, Format, members::put_before},
};
use crate::{
    config::{self, Bots},
    model::{
        event::{Batch, Event},
        project::{Project, ProjectId},
    },
    stream::{
        message::{self, Encoded},
        publish::{Published, Publisher},
    },
    telemetry::metrics::{self, CaughtBy},
    work,
};
use crate::{
    limits::{
        admission::LARGE,
        rate::{Allowance, OverRate, local},
    },
    projects::event_types::EventTypes,
};

/// Events of a body that take a core for milliseconds to validate, however small they are.
const MANY: usize = 1_000;
/// Bytes of a body that may hold as many events of the smallest kind. What is wrong with names is found while it is read.
const ROOM_FOR_MANY: usize = MANY * 32;

/// Takes events: what it has counted as accepted is durable.
#[derive(Clone)]
pub struct Ingest {
    pub deduplicator: Deduplicator,
    pub publisher: Publisher,
    pub event_types: EventTypes,
    /// The buckets of projects while Redis does not answer.
    pub buckets: local::Projects,
    pub rates: config::Rates,
    pub limits: config::Limits,
}

/// What is known of a body before it is read.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    pub project: &'r Project,
    pub request_id: &'r str,
    pub idempotency_key: Option<&'r str>,
    pub format: &'r Format,
    /// A known bot has opened the page that sends.
    pub is_from_bot: bool,
    pub call: Asked<'r>,
}

/// The events of a request, each validated.
struct Validated<'a> {
    /// What passed, with its place in the request.
    valid: Vec<(usize, Valid<'a>)>,
    rejected: Vec<Rejected>,
    single: Option<String>,
    /// The ids of what passed, if the answer is to name them.
    named: Vec<String>,
    /// Whether an event has its id from the `Idempotency-Key`.
    has_derived_ids: bool,
}

/// What a body is after deduplication; nothing of it borrows from the body.
struct Deduplicated<'r> {
    new: New,
    /// What came under which `Idempotency-Key`, if ids depend on it.
    claim: Option<Claim<'r>>,
    duplicates: usize,
    rejected: Vec<Rejected>,
    single: Option<String>,
    named: Vec<String>,
    request_id: Option<String>,
    allowance: Allowance,
}

/// Events that are to be made durable.
struct New {
    received_at: DateTime<Utc>,
    batches: Vec<Encoded>,
    /// Nothing: Redis was not asked.
    taken: Option<Reservation>,
}

impl Ingest {
    /// Takes the events of a body. On an error the client may send all of them again: what was taken nevertheless is
    /// recognised.
    pub async fn take(&self, request: &Request<'_>, body: Bytes) -> Result<Receipt, NotTaken> {
        let begun = Instant::now();
        let Deduplicated { new, claim, duplicates, rejected, single, named, request_id, allowance } =
            self.deduplicate(request, &body).await?;
        drop(body); // what waits for the stream is there once
        let (accepted, known) = self.make_durable(request.project.id, new, allowance).await?;
        if let Some(claim) = claim {
            self.deduplicator.remember(request.project.id, claim).await;
        }
        metrics::ingestion(begun.elapsed());
        let duplicates = duplicates + known;
        Ok(Receipt { accepted, duplicates, rejected, single, named, request_id, allowance })
    }

    /// Finds the events of a body that are valid and, as far as Redis knows, new.
    async fn deduplicate<'r>(
        &self,
        request: &Request<'r>,
        bytes: &[u8],
    ) -> Result<Deduplicated<'r>, NotTaken> {
        let received_at = Utc::now().trunc_subsecs(6);
        let project = request.project;
        let is_large = bytes.len() >= LARGE;
        let max_events = self.limits.max_events as usize;
        let context = Context { received_at, call: request.call, ..Context::new(max_events) };
        let may_be_much = bytes.len() >= ROOM_FOR_MANY;
        let body = work::long_if(may_be_much, || request.format.read(bytes, &context))?;
        let received = body.events.len();
        metrics::events_received(received + body.not_kept);
        if body.not_kept > 0 {
            metrics::events_rejected("not_kept", body.not_kept);
        }
        let over_rate = |_: &OverRate| metrics::events_rejected("over_rate", received);
        let charge = self.charge_of(project, received).inspect_err(over_rate)?;
        let request_id = body.request_id.as_deref().map(str::to_owned);
        let all_or_nothing = body.all_or_nothing;

        let is_much = is_large || received >= MANY;
        let mut validated = work::long_if(is_much, || self.validate(request, body, received_at));
        self.bound_event_types(project, &mut validated).await;
        if all_or_nothing && !validated.rejected.is_empty() {
            metrics::events_rejected("beside_invalid", validated.valid.len());
            validated.valid.clear();
        }
        let Validated { valid, rejected, single, named, has_derived_ids } = validated;
        let key = request.idempotency_key.filter(|_| has_derived_ids);
        let claim = key.map(|key| work::long_if(is_large, || Claim::new(key, bytes)));
        if let Some(claim) = claim
            && self.deduplicator.contradicts(project.id, claim).await
        {
            metrics::events_rejected("idempotency_key_reused", received);
            return Err(NotTaken::KeyReused);
        }
        let mut seen = HashSet::with_capacity(valid.len());
        let valid_number = valid.len();
        let mut events: Vec<Event<'_>> = valid
            .into_iter()
            .map(|(_, valid)| valid.event)
            .filter(|event| seen.insert(event.event_id))
            .collect();
        drop(seen);

        let ids: Vec<Uuid> = events.iter().map(|event| event.event_id).collect();
        let asked = ids.len();
        let checked = self.check(charge, ids, received_at).await.inspect_err(over_rate)?;
        let Checked { allowance, known, copies, taken } = checked;
        for Rejected { rejection, .. } in &rejected {
            metrics::events_rejected(rejection.reason.code(), 1);
        }
        let repeated = valid_number - events.len();
        metrics::events_duplicate(CaughtBy::Request, repeated);
        let mut known = known.into_iter();
        events.retain(|_| !known.next().unwrap_or(false));
        let filtered = asked - events.len();
        metrics::events_duplicate(CaughtBy::Redis, filtered);

        let batches = split(events, self.publisher.largest_message()).map(|events| {
            Encoded::of(&Batch {
                project_id: project.id,
                request_id: request_id.as_deref().unwrap_or(request.request_id).into(),
                received_at,
                copies,
                events,
            })
        });
        let new = New { received_at, batches: batches.collect(), taken };
        Ok(Deduplicated {
            new,
            claim,
            duplicates: repeated + filtered,
            rejected,
            single,
            named,
            request_id,
            allowance,
        })
    }

    fn validate<'a>(&self, request: &Request<'_>, body: Body<'a>, now: DateTime<Utc>) -> Validated<'a> {
        let rules = Rules {
            limits: &self.limits,
            project_id: request.project.id,
            now,
            idempotency_key: request.idempotency_key,
        };
        let mut validated = Validated {
            valid: Vec::with_capacity(body.events.len()),
            rejected: Vec::new(),
            single: None,
            named: Vec::new(),
            has_derived_ids: false,
        };
        for (index, raw) in body.events.into_iter().enumerate() {
            match raw.and_then(|raw| rules.validate(raw, index)).and_then(|valid| self.of_bot(request, valid))
            {
                Ok(valid) => {
                    validated.has_derived_ids |= valid.sent_id.is_none() && request.idempotency_key.is_some();
                    if body.single {
                        validated.single = Some(valid.shown_id());
                    }
                    if body.names_events {
                        validated.named.push(valid.shown_id());
                    }
                    validated.valid.push((index, valid));
                }
                Err(rejection) => validated.rejected.push(Rejected { index, rejection }),
            }
        }
        validated
    }

    /// What becomes of an event, if it is a bot's.
    fn of_bot<'a>(&self, request: &Request<'_>, mut valid: Valid<'a>) -> Result<Valid<'a>, Rejection> {
        match self.limits.bots {
            _ if !request.is_from_bot => Ok(valid),
            Bots::Keep => Ok(valid),
            Bots::Drop => {
                let message = "a known bot has opened the page, and WEIR_BOTS is drop".into();
                Err(Rejection::of_event(Reason::Bot, message).with_id(valid.sent_id))
            }
            Bots::Mark => {
                let marked = put_before([("$bot", "true")], Some(valid.event.properties));
                valid.event.properties = marked.unwrap_or_default();
                Ok(valid)
            }
        }
    }

    /// Refuses the events whose type would be one more than the project may have.
    async fn bound_event_types(&self, project: &Project, validated: &mut Validated<'_>) {
        let limit = project.overrides.max_event_types.unwrap_or(self.limits.max_event_types);
        let events = validated.valid.iter().map(|(_, valid)| &valid.event);
        let typed = events.filter(|event| !event.is_only_about_user());
        let event_types: BTreeSet<&str> = typed.map(|event| &*event.event_type).collect();
        let beyond = self.event_types.beyond(project.id, limit, &event_types).await;
        if beyond.is_empty() {
            return;
        }
        let refused = validated.valid.extract_if(.., |(_, valid)| beyond.contains(&*valid.event.event_type));
        for (index, Valid { event, sent_id }) in refused {
            let rejection = Rejection::too_many_event_types(&event.event_type, limit.get()).with_id(sent_id);
            validated.rejected.push(Rejected { index, rejection });
        }
        validated.rejected.sort_by_key(|rejected| rejected.index);
    }

    /// Publishes and marks; the numbers of events that were new to the stream and of those that it had.
    async fn make_durable(
        &self,
        project_id: ProjectId,
        New { received_at, batches, mut taken }: New,
        allowance: Allowance,
    ) -> Result<(usize, usize), NotTaken> {
        let published = future::join_all(batches.into_iter().map(|Encoded { event_ids, payload }| async {
            let result = self.publisher.publish(project_id, &event_ids, payload).await;
            (event_ids, result)
        }))
        .await;

        let (mut durable, mut accepted, mut duplicates) = (Vec::new(), 0, 0);
        let mut failure = None;
        for (event_ids, result) in published {
            match result {
                // It has had them, which does not say that they are durable still: see [`dedup::History`].
                Ok(Published { duplicate: true, .. }) => duplicates += event_ids.len(),
                Ok(Published { duplicate: false, .. }) => {
                    accepted += event_ids.len();
                    durable.extend(event_ids);
                }
                Err(error) => {
                    metrics::events_rejected("not_durable", event_ids.len());
                    failure = Some(error);
                }
            }
        }
        match &mut taken {
            Some(taken) => taken.mark(durable),
            None if durable.is_empty() => {}
            None => self.deduplicator.mark(project_id, durable, received_at),
        }
        if duplicates == 0 && failure.is_none() {
            taken.into_iter().for_each(Reservation::mark_durable);
        }
        metrics::events_ingested(accepted);
        metrics::events_duplicate(CaughtBy::Stream, duplicates);
        match failure {
            None => Ok((accepted, duplicates)),
            Some(source) => Err(NotTaken::NotPublished { source, allowance }),
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
            properties: "{}".into(),
            is_anonymous: false,
            about_user: None,
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
