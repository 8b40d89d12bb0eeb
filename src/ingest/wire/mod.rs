//! Wire formats: how the bytes of a body become events. Each is a file of its own, which says what it reads and how.
//!
//! A format only takes a body apart, in one pass and without copying. [`super::validate`] checks the fields, the same for
//! all formats, so one bad event never spoils its batch. How a call answers is said by its route, in `http::routes`.

mod cloudevents;
mod compat;
pub mod field_names;
mod json;
pub(super) mod members;
mod native;
mod ndjson;
pub mod sdks;

use std::borrow::Cow;

use ::http::{HeaderMap, header};
use chrono::{DateTime, Utc};

use super::validate::{RawEvent, Rejection};
use crate::model::did_you_mean::Guesses;

macro_rules! calls {
    ($($(#[$doc:meta])* $call:ident: $($format:path),+;)+) => {
        $($(#[$doc])* pub enum $call {}

        impl Call for $call {
            const FORMATS: &'static [Format] = &[$($format),+];
        })+

        #[cfg(test)]
        pub(super) const ALL: &[&[Format]] = &[$($call::FORMATS),+];
    };
}

// The table of formats: in which of them each call takes events. The first that recognises a request reads its body.
calls! {
    /// `POST /events`
    Events: cloudevents::BINARY, native::JSON, ndjson::LINES, cloudevents::STRUCTURED, cloudevents::BATCHED;
    /// `POST /api/v1/events`
    Intake: compat::INTAKE;
    /// `POST /event`
    Website: compat::WEBSITE;
}

/// A call that sends events.
pub trait Call: Send + Sync {
    const FORMATS: &'static [Format];
}

/// A wire format.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    pub reads: Reads,
    /// What is to be parsed, if that is not the body as it was sent.
    pub unpack: Option<Unpack>,
    pub parse: for<'a> fn(&'a [u8], &Context<'_>) -> Result<Body<'a>, BodyError>,
}

/// Makes what is to be parsed of the request's headers and body.
pub type Unpack = fn(&HeaderMap, &[u8]) -> Result<Vec<u8>, BodyError>;

/// Which requests a format reads.
#[derive(Clone, Copy, Debug)]
pub enum Reads {
    /// Those with a body of one of these content types, written in small letters.
    ContentTypes(&'static [&'static str]),
    /// Those of which this holds, whatever their content type.
    Requests(fn(&HeaderMap) -> bool),
}

/// What a format may need to know besides the body.
#[derive(Debug)]
pub struct Context<'r> {
    /// Events of a body; what is more is only counted.
    pub max_events: usize,
    /// At wrong names, of all events of the body.
    pub guesses: Guesses,
    pub received_at: DateTime<Utc>,
    /// What was called, and with which parameters, where that says how the body is to be read.
    pub call: Asked<'r>,
}

/// A call, as far as its format may depend on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'r> {
    /// As its protocol has it.
    pub path: &'static str,
    /// Absent: the format does not need them.
    pub headers: Option<&'r HeaderMap>,
    pub parameters: &'r [(String, String)],
}

impl Context<'_> {
    pub fn new(max_events: usize) -> Self {
        Self { max_events, guesses: Guesses::default(), received_at: Utc::now(), call: Asked::default() }
    }
}

/// What stands in the place of an event: one, or why it cannot be read as one.
pub type ReadEvent<'a> = Result<RawEvent<'a>, Rejection>;

/// A body, taken apart.
#[derive(Debug)]
pub struct Body<'a> {
    /// It was one event, and not a list of events.
    pub single: bool,
    /// At most as many as are taken.
    pub events: Vec<ReadEvent<'a>>,
    /// As many as there were.
    pub sent: usize,
    /// The request's id, if the format has one.
    pub request_id: Option<Cow<'a, str>>,
    /// The answer is to name the events that were taken.
    pub names_events: bool,
    /// If one of its events is not valid, none is taken: so its sender understands the answer.
    pub all_or_nothing: bool,
    /// What was sent besides, is not kept, and is no fault of the sender.
    pub not_kept: usize,
}

/// Why a body as a whole cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body is not UTF-8{}: {error}", in_event(*index))]
    NotUtf8 { index: Option<usize>, error: std::str::Utf8Error },
    #[error("the body is not valid JSON{}: {error}", in_event(*index))]
    NotJson { index: Option<usize>, error: serde_json::Error },
    #[error("the header {name} is not valid: expected {expected}")]
    InvalidHeader { name: String, expected: &'static str },
    #[error("expected {expected}, got {got}")]
    WrongShape { expected: &'static str, got: &'static str },
    #[error("the body looks like gzip: send it with `Content-Encoding: gzip`")]
    Compressed,
    #[error("the body has no events")]
    Empty,
    #[error("{sent} events were sent; at most {limit} are taken at once")]
    TooManyEvents { sent: usize, limit: usize },
}

/// With which editors of some systems begin a text.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How gzip begins, and no text.
pub const GZIP: &[u8] = b"\x1f\x8b";

impl Format {
    pub fn recognises(&self, headers: &HeaderMap) -> bool {
        match self.reads {
            Reads::ContentTypes(known) => {
                known.iter().any(|known| known.eq_ignore_ascii_case(media_type(headers)))
            }
            Reads::Requests(are_of_it) => are_of_it(headers),
        }
    }

    pub fn content_types(&self) -> &'static [&'static str] {
        match self.reads {
            Reads::ContentTypes(known) => known,
            Reads::Requests(_) => &[],
        }
    }

    /// Takes a body apart.
    pub fn read<'a>(&self, body: &'a [u8], context: &Context<'_>) -> Result<Body<'a>, BodyError> {
        if body.starts_with(GZIP) {
            return Err(BodyError::Compressed);
        }
        let body = (self.parse)(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body), context)?;
        if body.sent > context.max_events {
            return Err(BodyError::TooManyEvents { sent: body.sent, limit: context.max_events });
        }
        Ok(body)
    }
}

/// As it was sent.
pub fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The content type without parameters.
fn media_type(headers: &HeaderMap) -> &str {
    content_type(headers).split(';').next().unwrap_or_default().trim()
}

impl<'a> Body<'a> {
    fn single(event: ReadEvent<'a>) -> Self {
        Self { single: true, ..Self::list(vec![event]) }
    }

    fn list(events: Vec<ReadEvent<'a>>) -> Self {
        Self {
            single: false,
            sent: events.len(),
            events,
            request_id: None,
            all_or_nothing: false,
            not_kept: 0,
            names_events: false,
        }
    }

    /// For formats in which a body of no events is an error.
    fn not_empty(self) -> Result<Self, BodyError> {
        if self.sent == 0 { Err(BodyError::Empty) } else { Ok(self) }
    }
}

impl BodyError {
    /// The place of the event in which the fault is, if it is in one of a list.
    pub fn index(&self) -> Option<usize> {
        match self {
            Self::NotUtf8 { index, .. } | Self::NotJson { index, .. } => *index,
            _ => None,
        }
    }
}

impl From<serde_json::Error> for BodyError {
    fn from(error: serde_json::Error) -> Self {
        Self::NotJson { index: None, error }
    }
}

fn in_event(index: Option<usize>) -> String {
    index.map_or_else(String::new, |index| {
        format!(" in the event at index {index} (none of its events was taken)")
    })
}
