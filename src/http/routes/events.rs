//! Sending events, and reading those of a user.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat, Utc};
use poem::web::Data;
use poem_openapi::{
    ApiResponse, Enum, Object, OpenApi, Union,
    param::{Header, Query},
    registry::MetaSchema,
};
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use crate::http::{
    extract::{
        auth::{Caller, Read, Write},
        body::EventsBody,
        parameters::{Checks, Param, ParameterValue, Required, UpTo},
        receiver::Receiver,
    },
    openapi::Tag,
    respond::{
        answer::{JsonAnswer, Properties},
        instant::Instant,
        problem::{Asking, Code, FieldError, Problem, Refusal, Sending},
    },
};
use crate::{
    ingest::{receipt::Receipt, wire},
    model::request_id::RequestId,
    store::read::events::{self, EventPage, StoredEvent, TimelinePosition},
};

/// Characters of a place in a timeline: a time and an id, in base64.
const MAX_CURSOR: usize = 100;

pub struct EventsApi {
    pub receiver: Receiver,
    pub pool: PgPool,
}

/// What became of the events.
#[derive(Union, Serialize)]
#[oai(rename = "Taken", one_of)]
#[serde(untagged)]
enum Taken {
    Batch(BatchTaken),
    Single(EventTaken),
}

/// What became of a batch: `accepted` + `duplicates` + the number of `rejected` is the number of events sent.
#[derive(Object, Serialize)]
struct BatchTaken {
    /// Events that are durable and will be stored.
    accepted: u32,
    /// Events whose id was taken before.
    duplicates: u32,
    /// Events that are not valid, each with its reason. Do not send them again as they are.
    rejected: Vec<FieldError>,
    /// The request's id, as in the logs.
    request_id: String,
}

/// What became of a single event.
#[derive(Object, Serialize)]
struct EventTaken {
    status: TakenStatus,
    /// The event's id, as it was sent or as weir gave it.
    event_id: String,
}

#[derive(Enum, Serialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
enum TakenStatus {
    Accepted,
    Duplicate,
}

#[derive(ApiResponse)]
enum TakenResponse {
    /// At least one event was accepted, and is durable
    #[oai(status = 202)]
    Accepted(
        JsonAnswer<Taken>,
        /// Events that a full bucket of the project holds, and the seconds in which it fills.
        #[oai(header = "RateLimit-Policy")]
        String,
        /// Events that the project may still send, and the seconds until its bucket is full.
        #[oai(header = "RateLimit")]
        String,
    ),
    /// Nothing new: every valid event was taken before
    #[oai(status = 200)]
    Duplicate(
        JsonAnswer<Taken>,
        /// Events that a full bucket of the project holds, and the seconds in which it fills.
        #[oai(header = "RateLimit-Policy")]
        String,
        /// Events that the project may still send, and the seconds until its bucket is full.
        #[oai(header = "RateLimit")]
        String,
    ),
}

/// Events of a user, newest first.
#[derive(Object, Serialize)]
pub(crate) struct Timeline {
    #[oai(validator(max_items = 1000))]
    events: Vec<TimelineEvent>,
    /// The number of events in this page.
    count: u32,
    /// Send as `cursor` for the next page; null: there is none.
    next: Option<String>,
}

#[derive(Object, Serialize)]
struct TimelineEvent {
    /// The UUID that was sent, or the UUID derived from the text that was sent.
    event_id: String,
    /// The user's own id, also of an event that was sent with an alias.
    user_id: String,
    event_type: String,
    occurred_at: Instant,
    received_at: Instant,
    properties: Properties,
}

#[OpenApi]
impl EventsApi {
    /// Send events
    ///
    /// Takes a batch, a list of events, or one event, each judged on its own. The answer comes when the accepted
    /// events are durable. An `event_id` is counted once, however often it is sent: on a broken connection, a 408, 429
    /// or 503, send the same events again.
    ///
    /// Besides JSON: an event in each line (`application/x-ndjson`), and CloudEvents 1.0, structured, batched, or in
    /// binary mode with headers `ce-…`. A body may be compressed with gzip, deflate, br or zstd.
    #[oai(path = "/events", method = "post", operation_id = "send_events", tag = "Tag::Events")]
    async fn send(
        &self,
        caller: Caller<Write>,
        Data(request_id): Data<&RequestId>,
        /// Makes the request safe to repeat when its events have no ids: they are derived from this key and each
        /// event's place and content. 1 to 200 characters, with or without quotes around them. Another body under the same
        /// key is refused with 422 within the deduplication window, unless all of its events have ids.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Param<String>>,
        body: EventsBody<'_, wire::Events>,
    ) -> Result<TakenResponse, Refusal<Sending>> {
        let key = idempotency_key.0;
        let receipt = self.receiver.receive(&caller, request_id, key, body).await?;
        Ok(taken(receipt, request_id)?)
    }

    /// Events of a user
    ///
    /// The newest first, in pages. With an alias, those of the user whose alias it is.
    #[oai(path = "/events", method = "get", operation_id = "user_events", tag = "Tag::Events")]
    async fn of_user(
        &self,
        caller: Caller<Read>,
        /// The user, as sent with the events, or an alias.
        #[oai(example = "example_user")]
        user_id: Query<Required<String>>,
        /// Most events in a page; default 20.
        limit: Query<Param<UpTo<1000>>>,
        /// `next` of the page before.
        cursor: Query<Param<TimelinePosition>>,
    ) -> Result<JsonAnswer<Timeline>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let user_id = checks.required("user_id", user_id.0);
        let limit = checks.optional("limit", limit.0).map_or(20, |limit| limit.0);
        let after = checks.optional("cursor", cursor.0);
        let user_id = checks.finish(user_id)?;

        let page = events::of_user(&self.pool, caller.project.id, &user_id, after, limit).await?;
        Ok(JsonAnswer(Timeline::new(page)?))
    }
}

impl Timeline {
    pub(crate) fn new(page: EventPage) -> Result<Self, Problem> {
        let last = page.events.last().filter(|_| page.more);
        let next = last.map(|last| cursor_of(last.occurred_at, last.event_id));
        let event = |event: StoredEvent| {
            Ok(TimelineEvent {
                event_id: event.event_id.to_string(),
                user_id: event.user_id,
                event_type: event.event_type,
                occurred_at: Instant(event.occurred_at),
                received_at: Instant(event.received_at),
                properties: Properties::new(event.properties)?,
            })
        };
        let events: Vec<TimelineEvent> =
            page.events.into_iter().map(event).collect::<Result<_, Problem>>()?;
        Ok(Self { count: count(events.len()), events, next })
    }
}

/// A problem, if there were events and none of them is valid.
pub(crate) fn some_valid(receipt: &Receipt) -> Result<(), Problem> {
    if receipt.accepted + receipt.duplicates > 0 || receipt.rejected.is_empty() {
        return Ok(());
    }
    let detail = match receipt.rejected.len() {
        1 => "the event is not valid".into(),
        all => format!("none of the {all} events is valid"),
    };
    let errors = receipt.rejected.iter().map(FieldError::from).collect();
    let mut problem = Problem::invalid(Code::ValidationFailed, detail, errors);
    problem.allowance = Some(receipt.allowance);
    Err(problem)
}

fn taken(receipt: Receipt, request_id: &RequestId) -> Result<TakenResponse, Problem> {
    some_valid(&receipt)?;
    let Receipt { accepted, duplicates, rejected, single, allowance, .. } = receipt;
    let taken = match single {
        Some(event_id) => {
            let status = if accepted > 0 { TakenStatus::Accepted } else { TakenStatus::Duplicate };
            Taken::Single(EventTaken { status, event_id })
        }
        None => Taken::Batch(BatchTaken {
            accepted: count(accepted),
            duplicates: count(duplicates),
            rejected: rejected.iter().map(FieldError::from).collect(),
            request_id: request_id.as_str().into(),
        }),
    };
    let (policy, limit) = (allowance.policy(), allowance.limit());
    Ok(if accepted > 0 {
        TakenResponse::Accepted(JsonAnswer(taken), policy, limit)
    } else {
        TakenResponse::Duplicate(JsonAnswer(taken), policy, limit)
    })
}

pub(crate) fn example_user() -> Required<String> {
    Param::example("user_123")
}

pub(crate) fn count(events: usize) -> u32 {
    u32::try_from(events).unwrap_or(u32::MAX)
}

fn cursor_of(occurred_at: DateTime<Utc>, event_id: Uuid) -> String {
    let time = occurred_at.to_rfc3339_opts(SecondsFormat::Micros, true);
    BASE64_URL_SAFE_NO_PAD.encode(format!("{time} {event_id}"))
}

impl ParameterValue for TimelinePosition {
    const INVALID: &'static str = "invalid_cursor";

    fn expected() -> String {
        "the `next` of the page before".into()
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_CURSOR {
            return None;
        }
        let decoded = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (time, event_id) = decoded.split_once(' ')?;
        let occurred_at = DateTime::parse_from_rfc3339(time).ok()?.to_utc();
        Some(Self { occurred_at, event_id: event_id.parse().ok()? })
    }

    fn schema() -> MetaSchema {
        MetaSchema { max_length: Some(MAX_CURSOR), ..MetaSchema::new("string") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_the_place_it_was_made_of() {
        let occurred_at = DateTime::from_timestamp_micros(1_700_000_000_000_001).expect("a time");
        let place = TimelinePosition { occurred_at, event_id: Uuid::from_u128(17) };
        assert_eq!(TimelinePosition::parse(&cursor_of(place.occurred_at, place.event_id)), Some(place));
        assert_eq!(TimelinePosition::parse("bm90IGEgcGxhY2U"), None);
    }
}
