//! Calls of other systems, so that their clients go on working: thin adapters over the same path.

use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Header, Query},
    payload::Json,
};
use serde::Serialize;
use sqlx::PgPool;

use super::events::{self, example_user};
use crate::http::{
    extract::{
        auth::{Caller, Read, Write},
        body::EventsBody,
        parameters::{Checks, Param, Required, UpTo},
        receiver::Receiver,
    },
    openapi::Tag,
    respond::{
        answer::{JsonAnswer, Properties},
        instant::Instant,
        problem::{Asking, Refusal, Sending},
    },
};
use crate::{ingest::wire, model::request_id::RequestId, store};

pub struct EarlierApi {
    pub receiver: Receiver,
    pub pool: PgPool,
}

#[derive(Object)]
struct IntakeTaken {
    /// The event's id, as weir gave it.
    event_id: String,
    /// True.
    accepted: bool,
}

#[derive(ApiResponse)]
enum IntakeResponse {
    /// The event is durable
    #[oai(status = 201)]
    Created(
        Json<IntakeTaken>,
        /// Events that a full bucket of the project holds, and the seconds in which it fills.
        #[oai(header = "RateLimit-Policy")]
        String,
        /// Events that the project may still send, and the seconds until its bucket is full.
        #[oai(header = "RateLimit")]
        String,
        /// The request's id: the body's `request_id`, else the caller's, else a new one.
        #[oai(header = "X-Request-Id")]
        String,
    ),
    /// The event was taken before
    #[oai(status = 200)]
    Known(
        Json<IntakeTaken>,
        /// Events that a full bucket of the project holds, and the seconds in which it fills.
        #[oai(header = "RateLimit-Policy")]
        String,
        /// Events that the project may still send, and the seconds until its bucket is full.
        #[oai(header = "RateLimit")]
        String,
        /// The request's id: the body's `request_id`, else the caller's, else a new one.
        #[oai(header = "X-Request-Id")]
        String,
    ),
}

#[derive(ApiResponse)]
enum WebsiteResponse {
    /// The event is durable, or was taken before
    #[oai(status = 204)]
    Taken(
        /// Events that a full bucket of the project holds, and the seconds in which it fills.
        #[oai(header = "RateLimit-Policy")]
        String,
        /// Events that the project may still send, and the seconds until its bucket is full.
        #[oai(header = "RateLimit")]
        String,
    ),
}

#[derive(Object, Serialize)]
struct IntakeTimeline {
    #[oai(validator(max_items = 1000))]
    events: Vec<IntakeEvent>,
    /// The number of events.
    count: u32,
    user_id: String,
}

#[derive(Object, Serialize)]
struct IntakeEvent {
    id: String,
    event: String,
    user_id: String,
    received_at: Instant,
    client_ts: Instant,
    metadata: Properties,
}

#[OpenApi(tag = "Tag::Earlier")]
impl EarlierApi {
    /// Send an event to the intake
    ///
    /// As `POST /events` with one event, under the intake's names or weir's own.
    #[oai(path = "/api/v1/events", method = "post", operation_id = "send_intake_event")]
    async fn send_intake(
        &self,
        caller: Caller<Write>,
        Data(request_id): Data<&RequestId>,
        /// Makes the request safe to repeat. 1 to 200 characters.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Param<String>>,
        body: EventsBody<'_, wire::Intake>,
    ) -> Result<IntakeResponse, Refusal<Sending>> {
        let key = idempotency_key.0;
        let receipt = self.receiver.receive(&caller, request_id, key, body).await?;
        events::some_valid(&receipt)?;
        let (policy, limit) = (receipt.allowance.policy(), receipt.allowance.limit());
        let request_id = receipt.request_id.unwrap_or_else(|| request_id.as_str().into());
        let taken = Json(IntakeTaken { event_id: receipt.single.unwrap_or_default(), accepted: true });
        Ok(if receipt.accepted > 0 {
            IntakeResponse::Created(taken, policy, limit, request_id)
        } else {
            IntakeResponse::Known(taken, policy, limit, request_id)
        })
    }

    /// Events of a user, as the intake names their fields
    ///
    /// The newest first. `GET /events` has pages too.
    #[oai(path = "/api/v1/events", method = "get", operation_id = "intake_user_events")]
    async fn intake_events(
        &self,
        caller: Caller<Read>,
        /// The user, as sent with the events.
        #[oai(example = "example_user")]
        user_id: Query<Required<String>>,
        /// Most events; default 20.
        limit: Query<Param<UpTo<1000>>>,
    ) -> Result<JsonAnswer<IntakeTimeline>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let user_id = checks.required("user_id", user_id.0);
        let limit = checks.optional("limit", limit.0).map_or(20, |limit| limit.0);
        let user_id = checks.finish(user_id)?;
        let page = store::read::events::of_user(&self.pool, caller.project.id, &user_id, None, limit).await?;
        let events: Vec<IntakeEvent> = page
            .events
            .into_iter()
            .map(|event| {
                Ok(IntakeEvent {
                    id: event.event_id.to_string(),
                    event: event.event_type,
                    user_id: event.user_id,
                    received_at: Instant(event.received_at),
                    client_ts: Instant(event.occurred_at),
                    metadata: Properties::new(event.properties)?,
                })
            })
            .collect::<Result<_, Refusal<Asking>>>()?;
        Ok(JsonAnswer(IntakeTimeline { count: events::count(events.len()), events, user_id }))
    }

    /// Send a website's event
    ///
    /// As `POST /events` with one event. `timestamp` is its time; `site_id` and `path` become properties.
    #[oai(path = "/event", method = "post", operation_id = "send_website_event")]
    async fn send_website(
        &self,
        caller: Caller<Write>,
        Data(request_id): Data<&RequestId>,
        /// Makes the request safe to repeat. 1 to 200 characters.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Param<String>>,
        body: EventsBody<'_, wire::Website>,
    ) -> Result<WebsiteResponse, Refusal<Sending>> {
        let key = idempotency_key.0;
        let receipt = self.receiver.receive(&caller, request_id, key, body).await?;
        events::some_valid(&receipt)?;
        Ok(WebsiteResponse::Taken(receipt.allowance.policy(), receipt.allowance.limit()))
    }
}
