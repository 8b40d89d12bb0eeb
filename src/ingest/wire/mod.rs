//! From the bytes of a body to events whose fields are still raw: one pass, nothing copied.
//!
//! Only the shape is decided here; [`super::validate`] looks at the fields. So one bad event never spoils its batch.

mod cloud_event;
mod fields;
mod json;
#[cfg(test)]
mod tests;

use serde_json::value::RawValue;

pub(crate) use self::cloud_event::MAX_EXTENSIONS;
pub use self::{
    cloud_event::{BinaryModeError, RawCloudEvent, structured},
    fields::{FIELD_NAMES, Field, RawFields},
};
use self::{fields::Members, json::Body};

/// How a body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `{"events":[E,…]}`, `[E,…]` or `E`.
    Json,
    /// An event in each line.
    NdJson,
    /// A CloudEvent of version 1.0.
    CloudEvent,
    /// A list of CloudEvents.
    CloudEventBatch,
}

/// A body, taken apart.
#[derive(Debug)]
pub struct Decoded<'a> {
    /// The body was one event, not a list of events.
    pub single: bool,
    pub events: Vec<RawEvent<'a>>,
}

/// An element of the list of events.
#[derive(Debug)]
pub enum RawEvent<'a> {
    Fields(RawFields<'a>),
    CloudEvent(Box<RawCloudEvent<'a>>),
    /// Not an object; what it is instead.
    NotAnObject(&'static str),
    /// Not JSON; why. Only where each event is a text of its own.
    NotJson(String),
}

/// Why a body as a whole cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body is not UTF-8{}: {error}", in_event(*index))]
    NotUtf8 { index: Option<usize>, error: std::str::Utf8Error },
    #[error("the body is not valid JSON{}: {error}", in_event(*index))]
    NotJson { index: Option<usize>, error: serde_json::Error },
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
const GZIP: &[u8] = b"\x1f\x8b";

/// Takes a body apart.
pub fn decode(body: &[u8], format: Format, max_events: usize) -> Result<Decoded<'_>, BodyError> {
    if body.starts_with(GZIP) {
        return Err(BodyError::Compressed);
    }
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let (single, list) = match format {
        Format::Json => match whole(body, |text| json::body(text, max_events))? {
            Body::Single(event) => (true, List { events: vec![event], sent: 1 }),
            Body::List(list) => (false, list),
        },
        Format::NdJson => (false, lines(body, max_events)),
        Format::CloudEvent => {
            let event = whole(body, json::cloud_event)?;
            (true, List { events: vec![event], sent: 1 })
        }
        Format::CloudEventBatch => (false, whole(body, |text| json::cloud_events(text, max_events))?),
    };
    // A batch of no CloudEvents is a batch, says their specification.
    if list.sent == 0 && format != Format::CloudEventBatch {
        return Err(BodyError::Empty);
    }
    if list.sent > max_events {
        return Err(BodyError::TooManyEvents { sent: list.sent, limit: max_events });
    }
    Ok(Decoded { single, events: list.events })
}

/// Reads a body of one JSON text. What is not UTF-8 is told by the event in which it is.
fn whole<'a, T>(body: &'a [u8], read: impl Fn(&'a str) -> Result<T, BodyError>) -> Result<T, BodyError> {
    let error = match std::str::from_utf8(body) {
        Ok(text) => return read(text),
        Err(error) => error,
    };
    let before = std::str::from_utf8(&body[..error.valid_up_to()]).unwrap_or_default();
    match read(before) {
        Err(BodyError::NotJson { index, .. }) => Err(BodyError::NotUtf8 { index, error }),
        _ => Err(BodyError::NotUtf8 { index: None, error }),
    }
}

fn in_event(index: Option<usize>) -> String {
    index.map_or_else(String::new, |index| {
        format!(" in the event at index {index} (none of its events was taken)")
    })
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

struct List<'a> {
    /// At most as many as are taken.
    events: Vec<RawEvent<'a>>,
    /// As many as there were.
    sent: usize,
}

/// The events of lines; empty lines are none. A line that cannot be read costs only itself.
fn lines(body: &[u8], max_events: usize) -> List<'_> {
    let mut list = List { events: Vec::new(), sent: 0 };
    for line in body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        list.sent += 1;
        if list.sent > max_events {
            continue;
        }
        let event = match std::str::from_utf8(line) {
            Ok(text) => json::element::<RawFields<'_>>(text)
                .unwrap_or_else(|error| RawEvent::NotJson(error.to_string())),
            Err(error) => RawEvent::NotJson(error.to_string()),
        };
        list.events.push(event);
    }
    list
}

/// What a JSON text is, by its first character.
pub(crate) fn kind(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Puts a member's value into its slot; false if it was taken.
fn put<'a>(slot: &mut Option<&'a RawValue>, value: &'a RawValue) -> bool {
    slot.replace(value).is_none()
}
