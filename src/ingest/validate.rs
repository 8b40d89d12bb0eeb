//! The rules of an event's fields. What passes here can be stored; what does not is told which field, and why.

use std::borrow::Cow;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    decode::{FIELD_NAMES, RawEvent, RawFields, kind},
    properties::{self, Fault},
};
use crate::{config::Limits, event::Event, nearest::nearest, project::ProjectId};

/// Characters of an id or a type.
const MAX_TEXT: usize = 200;

/// Why an event was refused. Stable: clients may act on it, and metrics count by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    NotAnObject,
    UnknownField,
    RepeatedField,
    Missing,
    WrongType,
    Empty,
    TooLong,
    InvalidText,
    InvalidTime,
    TooOld,
    TooFarAhead,
    TooLarge,
    TooDeep,
    NumberTooLarge,
}

impl Reason {
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAnObject => "not_an_object",
            Self::UnknownField => "unknown_field",
            Self::RepeatedField => "repeated_field",
            Self::Missing => "missing",
            Self::WrongType => "wrong_type",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::InvalidText => "invalid_text",
            Self::InvalidTime => "invalid_time",
            Self::TooOld => "too_old",
            Self::TooFarAhead => "too_far_ahead",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::NumberTooLarge => "number_too_large",
        }
    }
}

/// What is wrong with an event: the first thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Absent when the event as a whole is wrong.
    pub field: Option<Cow<'static, str>>,
    pub reason: Reason,
    /// What was expected and what came.
    pub message: String,
}

impl Rejection {
    /// A field that should be JSON and is not.
    pub fn invalid_json(field: &'static str, error: &serde_json::Error) -> Self {
        rejection(field, Reason::InvalidText, format!("not valid JSON: {error}"))
    }
}

/// An event that passed, with the id as its sender wrote it.
#[derive(Debug)]
pub struct Valid<'a> {
    pub event: Event<'a>,
    /// Absent: weir gave the id.
    pub sent_id: Option<Cow<'a, str>>,
}

/// The id that an event was sent with, if it can be shown.
pub fn sent_id<'a>(raw: &RawEvent<'a>) -> Option<Cow<'a, str>> {
    match raw {
        RawEvent::Fields(fields) => {
            string("event_id", fields.event_id).and_then(|id| bounded("event_id", id)).ok().flatten()
        }
        RawEvent::NotAnObject(_) => None,
    }
}

/// The fields of an event as texts, before any rule but that of their type.
#[derive(Debug, Default)]
pub struct Texts<'a> {
    pub event_id: Option<Cow<'a, str>>,
    pub user_id: Option<Cow<'a, str>>,
    pub event_type: Option<Cow<'a, str>>,
    pub occurred_at: Option<Cow<'a, str>>,
    /// Valid JSON.
    pub properties: Option<&'a str>,
    /// The event's place in what was sent.
    pub index: usize,
}

/// Applies the rules of a project's events, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'l> {
    pub limits: &'l Limits,
    pub project_id: ProjectId,
    pub now: DateTime<Utc>,
    /// Makes a request safe to repeat whose events have no ids.
    pub idempotency_key: Option<&'l str>,
}

impl Rules<'_> {
    /// An event as a client sent it, at its place in the request.
    pub fn event<'a>(&self, raw: &RawEvent<'a>, index: usize) -> Result<Valid<'a>, Rejection> {
        match raw {
            RawEvent::Fields(fields) => self.fields(fields, index),
            RawEvent::NotAnObject(kind) => Err(Rejection {
                field: None,
                reason: Reason::NotAnObject,
                message: format!("expected an object, got {kind}"),
            }),
        }
    }

    fn fields<'a>(&self, fields: &RawFields<'a>, index: usize) -> Result<Valid<'a>, Rejection> {
        if let Some(name) = &fields.unknown {
            return Err(unknown_field(name));
        }
        if let Some(name) = fields.repeated {
            return Err(rejection(name, Reason::RepeatedField, "the field was sent more than once".into()));
        }
        self.texts(Texts {
            event_id: string("event_id", fields.event_id)?,
            user_id: string("user_id", fields.user_id)?,
            event_type: string("event_type", fields.event_type)?,
            occurred_at: string("occurred_at", fields.occurred_at)?,
            properties: fields.properties.map(RawValue::get).filter(|text| *text != "null"),
            index,
        })
    }

    /// An event whose fields came as texts.
    pub fn texts<'a>(&self, texts: Texts<'a>) -> Result<Valid<'a>, Rejection> {
        let sent_id = bounded("event_id", texts.event_id)?;
        let event_type = bounded("event_type", texts.event_type)?.ok_or_else(|| {
            rejection("event_type", Reason::Missing, "the type of the event is required".into())
        })?;
        let user_id = bounded("user_id", texts.user_id)?;
        let occurred_at = texts.occurred_at.map(|text| self.time(&text)).transpose()?;
        let properties = texts.properties.map_or(Ok("{}"), |text| self.properties(text))?;
        let event_id = match (&sent_id, self.idempotency_key) {
            (Some(id), _) => self.project_id.event_id(id),
            (None, Some(key)) => self.project_id.replayable_event_id(key, texts.index),
            (None, None) => Uuid::now_v7(),
        };
        Ok(Valid { event: Event { event_id, user_id, event_type, occurred_at, properties }, sent_id })
    }

    /// RFC 3339, to the microsecond, neither too old nor too far ahead.
    fn time(&self, text: &str) -> Result<DateTime<Utc>, Rejection> {
        let refused = |reason, message| Err(rejection("occurred_at", reason, message));
        let Ok(time) = DateTime::parse_from_rfc3339(text) else {
            let expected = "expected a time of RFC 3339 such as 2024-01-15T10:30:00Z";
            return refused(Reason::InvalidTime, format!("{expected}, got '{}'", shortened(text)));
        };
        let time = time.to_utc().trunc_subsecs(6);
        let (oldest, latest) = (self.limits.max_event_age, self.limits.max_event_ahead);
        if self.now - time > TimeDelta::from_std(oldest).unwrap_or(TimeDelta::MAX) {
            let message = format!("at most {} old is taken, got {text}", humantime::format_duration(oldest));
            return refused(Reason::TooOld, message);
        }
        if time - self.now > TimeDelta::from_std(latest).unwrap_or(TimeDelta::MAX) {
            let message =
                format!("at most {} ahead is taken, got {text}", humantime::format_duration(latest));
            return refused(Reason::TooFarAhead, message);
        }
        Ok(time)
    }

    fn properties<'a>(&self, text: &'a str) -> Result<&'a str, Rejection> {
        let refused = |reason, message| Err(rejection("properties", reason, message));
        if !text.starts_with('{') {
            return refused(Reason::WrongType, format!("expected an object, got {}", kind(text)));
        }
        let limit = self.limits.max_properties;
        if text.len() as u64 > limit.as_u64() {
            return refused(Reason::TooLarge, format!("at most {limit} are taken, got {} bytes", text.len()));
        }
        let max_depth = usize::from(self.limits.max_properties_depth);
        match properties::check(text, max_depth) {
            Ok(()) => Ok(text),
            Err(Fault::TooDeep) => refused(Reason::TooDeep, format!("at most {max_depth} levels are taken")),
            Err(Fault::Nul) => refused(Reason::InvalidText, "the character \\u0000 cannot be stored".into()),
            Err(Fault::LoneSurrogate) => {
                refused(Reason::InvalidText, "half of a surrogate pair stands alone, such as \\ud83d".into())
            }
            Err(Fault::NumberTooLarge) => {
                refused(Reason::NumberTooLarge, "a number is beyond those of 64-bit floating point".into())
            }
        }
    }
}

fn rejection(field: &'static str, reason: Reason, message: String) -> Rejection {
    Rejection { field: Some(field.into()), reason, message }
}

fn unknown_field(name: &str) -> Rejection {
    let known = nearest(name, FIELD_NAMES.iter().map(|(known, _)| *known));
    let name = shortened(name);
    let message = match known {
        Some(known) => format!("'{name}' is not a field of an event; did you mean '{known}'?"),
        None => format!("'{name}' is not a field of an event; what is your own belongs into 'properties'"),
    };
    Rejection { field: Some(name.into()), reason: Reason::UnknownField, message }
}

/// A text of 1 to 200 characters that PostgreSQL can store.
fn bounded<'a>(field: &'static str, text: Option<Cow<'a, str>>) -> Result<Option<Cow<'a, str>>, Rejection> {
    let Some(text) = text else { return Ok(None) };
    let characters = text.chars().count();
    if characters == 0 {
        return Err(rejection(
            field,
            Reason::Empty,
            format!("expected 1 to {MAX_TEXT} characters, got none"),
        ));
    }
    if characters > MAX_TEXT {
        let message = format!("expected 1 to {MAX_TEXT} characters, got {characters}");
        return Err(rejection(field, Reason::TooLong, message));
    }
    if text.contains('\0') {
        return Err(rejection(field, Reason::InvalidText, "the character \\u0000 cannot be stored".into()));
    }
    Ok(Some(text))
}

/// A JSON string's text. Null is as good as absent.
fn string<'a>(field: &'static str, raw: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, Rejection> {
    let Some(raw) = raw.map(RawValue::get).filter(|raw| *raw != "null") else { return Ok(None) };
    let Some(inside) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(rejection(field, Reason::WrongType, format!("expected a string, got {}", kind(raw))));
    };
    if !inside.contains('\\') {
        return Ok(Some(Cow::Borrowed(inside)));
    }
    match serde_json::from_str(raw) {
        Ok(text) => Ok(Some(Cow::Owned(text))),
        Err(error) => Err(rejection(field, Reason::InvalidText, format!("not a valid string: {error}"))),
    }
}

/// The beginning of what came, for a message.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 64;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
