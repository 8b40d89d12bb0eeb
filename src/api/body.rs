//! The body of `POST /events`: its bytes, with the schema that they must follow.
//!
//! poem-openapi's own `Json` would build a tree of values first; here the handler parses borrowed text.

use bytes::Bytes;
use poem::{Request, RequestBody, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions, Object,
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry},
    types::{Any, Type},
};

use super::problem::{Code, Problem};

/// Types of bodies that are read as JSON. `navigator.sendBeacon` sends text/plain.
const CONTENT_TYPES: [&str; 2] = ["application/json", "text/plain"];

/// The most bytes of a body.
#[derive(Clone, Copy)]
pub struct BodyLimit(pub usize);

/// The bytes of a body with events.
pub struct EventsBody(pub Bytes);

/// An event. Only its type is required.
#[derive(Object)]
#[oai(rename = "Event")]
#[allow(dead_code, reason = "describes what `ingest::decode` reads")]
struct EventSchema {
    /// Makes sending safe to repeat: an id is counted once. Any text; a UUIDv7 costs least. Absent: weir gives one.
    #[oai(validator(min_length = 1, max_length = 200))]
    event_id: Option<String>,
    /// Absent or null: an event of no user, counted among events and never among users.
    #[oai(validator(min_length = 1, max_length = 200))]
    user_id: Option<String>,
    /// Also accepted as `event_name` or `event`.
    #[oai(validator(min_length = 1, max_length = 200))]
    event_type: String,
    /// RFC 3339. Also accepted as `timestamp` or `client_ts`. Absent: the time of receipt.
    occurred_at: Option<String>,
    /// What is known of the event: an object of at most 32 KiB and 32 levels. Also accepted as `metadata`.
    properties: Option<Any<serde_json::Map<String, serde_json::Value>>>,
}

/// A batch of events.
#[derive(Object)]
#[oai(rename = "Batch", example)]
#[allow(dead_code, reason = "describes what `ingest::decode` reads")]
struct BatchSchema {
    events: Vec<EventSchema>,
}

impl poem_openapi::types::Example for BatchSchema {
    fn example() -> Self {
        let event = |event_type: &str, path: &str| EventSchema {
            event_id: None,
            user_id: Some("user_123".into()),
            event_type: event_type.into(),
            occurred_at: None,
            properties: serde_json::json!({ "path": path, "platform": "web" }).as_object().cloned().map(Any),
        };
        Self { events: vec![event("page_view", "/home"), event("purchase", "/checkout")] }
    }
}

impl<'a> ApiExtractor<'a> for EventsBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        EventSchema::register(registry);
        BatchSchema::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let list = MetaSchema {
            items: Some(Box::new(EventSchema::schema_ref())),
            min_items: Some(1),
            ..MetaSchema::new("array")
        };
        let schema = MetaSchema {
            any_of: vec![
                BatchSchema::schema_ref(),
                MetaSchemaRef::Inline(Box::new(list)),
                EventSchema::schema_ref(),
            ],
            example: <BatchSchema as poem_openapi::types::ToJSON>::to_json(
                &<BatchSchema as poem_openapi::types::Example>::example(),
            ),
            ..MetaSchema::ANY
        };
        let media_type = |content_type| MetaMediaType {
            content_type,
            schema: MetaSchemaRef::Inline(Box::new(schema.clone())),
        };
        Some(MetaRequest {
            description: Some("A batch, a list of events, or one event"),
            content: CONTENT_TYPES.map(media_type).into(),
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        check_content_type(request)?;
        let BodyLimit(limit) = *request.data().expect("the application has a limit");
        let too_large = || Problem::new(Code::BodyTooLarge, format!("at most {limit} bytes are taken"));
        let announced =
            request.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large().into());
        }
        let bytes = body.take()?.into_bytes_limit(limit).await.map_err(Problem::from)?;
        Ok(Self(bytes))
    }
}

fn check_content_type(request: &Request) -> Result<(), Problem> {
    let unsupported = |detail| Err(Problem::new(Code::UnsupportedMediaType, detail));
    let content_type = request.content_type().unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !CONTENT_TYPES.iter().any(|known| known.eq_ignore_ascii_case(media_type)) {
        return unsupported(format!("expected Content-Type application/json, got '{content_type}'"));
    }
    match request.header(header::CONTENT_ENCODING).map(str::trim) {
        None | Some("" | "identity") => Ok(()),
        Some(encoding) => unsupported(format!("the Content-Encoding '{encoding}' is not supported")),
    }
}
