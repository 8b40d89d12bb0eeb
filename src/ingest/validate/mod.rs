//! The rules of an event's fields. What passes here can be stored; what does not is told which field, and why.

mod cloud_event;
mod members;
mod rejection;
#[cfg(test)]
pub(super) mod tests;
mod text;

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

pub use self::rejection::{Reason, Rejection};
use self::text::{bounded, shortened, string, trimmed};
use super::wire::{Decoded, FIELD_NAMES, RawEvent, RawFields, kind};
use crate::{
    config::Limits,
    model::{
        did_you_mean::Guesses,
        duration::in_words,
        event::Event,
        project::ProjectId,
        properties::{self, Fault},
        rfc3339,
    },
};

/// An event that passed, with the id as its sender wrote it.
#[derive(Debug)]
pub struct Valid<'a> {
    pub event: Event<'a>,
    /// Absent: weir gave the id.
    pub sent_id: Option<Cow<'a, str>>,
}

/// The id that an event was sent with, if it can be shown.
pub fn sent_id<'a>(raw: &RawEvent<'a>) -> Option<Cow<'a, str>> {
    let id = match raw {
        RawEvent::Fields(fields) => fields.event_id,
        RawEvent::CloudEvent(event) => event.id,
        RawEvent::NotAnObject(_) | RawEvent::NotJson(_) => None,
    };
    string("event_id", id).and_then(|id| bounded("event_id", id)).ok().flatten()
}

/// The id that a body gives its request, if its dialect has one and it can stand in logs.
pub fn request_id(dialect: Dialect, decoded: &Decoded<'_>) -> Option<String> {
    let RawEvent::Fields(fields) = decoded.events.first().filter(|_| dialect == Dialect::Intake)? else {
        return None;
    };
    let (_, id) = fields.others.iter().find(|(name, _)| name == "request_id")?;
    let id = string("request_id", Some(id)).ok()??;
    crate::model::request_id::is_valid(&id).then(|| id.into_owned())
}

/// Whose names of fields a body may use besides weir's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Weir,
    /// `POST /api/v1/events`: a `request_id`.
    Intake,
    /// `POST /event`: `site_id` and `path`, which become properties.
    Website,
}

impl Dialect {
    fn others(self) -> &'static [&'static str] {
        match self {
            Self::Weir => &[],
            Self::Intake => &["request_id"],
            Self::Website => &["site_id", "path"],
        }
    }
}

/// How other systems call the fields.
const FOREIGN_NAMES: &[(&str, &str)] = &[
    ("eventId", "event_id"),
    ("insert_id", "event_id"),
    ("$insert_id", "event_id"),
    ("messageId", "event_id"),
    ("message_id", "event_id"),
    ("uuid", "event_id"),
    ("id", "event_id"),
    ("userId", "user_id"),
    ("distinct_id", "user_id"),
    ("distinctId", "user_id"),
    ("anonymousId", "user_id"),
    ("eventType", "event_type"),
    ("eventName", "event_type"),
    ("type", "event_type"),
    ("name", "event_type"),
    ("ts", "occurred_at"),
    ("time", "occurred_at"),
    ("occurredAt", "occurred_at"),
    ("originalTimestamp", "occurred_at"),
    ("event_properties", "properties"),
    ("props", "properties"),
];
/// How other systems wrap their events.
const BATCH_NAMES: &[&str] = &["batch", "data", "messages", "records"];

/// What the sender calls the fields, for messages.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    pub event_id: &'static str,
    pub user_id: &'static str,
    pub event_type: &'static str,
    pub occurred_at: &'static str,
    pub properties: &'static str,
}

impl Names {
    pub const OWN: Self = Self {
        event_id: "event_id",
        user_id: "user_id",
        event_type: "event_type",
        occurred_at: "occurred_at",
        properties: "properties",
    };
}

/// The fields of an event as texts, before any rule but that of their type.
#[derive(Debug)]
pub struct Texts<'a> {
    pub names: &'static Names,
    pub event_id: Option<Cow<'a, str>>,
    /// What the id is unique within, if that is less than the project.
    pub source: Option<Cow<'a, str>>,
    pub user_id: Option<Cow<'a, str>>,
    pub event_type: Option<Cow<'a, str>>,
    pub occurred_at: Option<Cow<'a, str>>,
    /// Valid JSON.
    pub properties: Option<Cow<'a, str>>,
    /// The event's place in what was sent.
    pub index: usize,
}

/// Applies the rules of a project's events to those of a request, at one moment.
#[derive(Debug)]
pub struct Rules<'l> {
    pub limits: &'l Limits,
    pub project_id: ProjectId,
    pub now: DateTime<Utc>,
    /// Makes a request safe to repeat whose events have no ids.
    pub idempotency_key: Option<&'l str>,
    pub dialect: Dialect,
    pub guesses: Guesses,
}

impl Rules<'_> {
    /// An event as a client sent it, at its place in the request.
    pub fn event<'a>(&self, raw: &RawEvent<'a>, index: usize) -> Result<Valid<'a>, Rejection> {
        match raw {
            RawEvent::Fields(fields) => self.texts(self.fields(fields, index)?),
            RawEvent::CloudEvent(event) => self.texts(cloud_event::texts(event, index)?),
            RawEvent::NotAnObject(kind) => {
                Err(Rejection::of_event(Reason::NotAnObject, format!("expected an object, got {kind}")))
            }
            RawEvent::NotJson(error) => {
                Err(Rejection::of_event(Reason::InvalidJson, format!("not valid JSON: {error}")))
            }
        }
    }

    fn fields<'a>(&self, fields: &RawFields<'a>, index: usize) -> Result<Texts<'a>, Rejection> {
        let known = self.dialect.others();
        let mut unknown = fields.others.iter().filter(|(name, _)| !known.contains(&&**name));
        if let Some((name, _)) = unknown.next() {
            let mut first = self.unknown_field(name);
            // All at once, so that nobody has to send once for each.
            for (name, _) in unknown {
                first.message = format!("{}; {}", first.message, self.unknown_field(name).message);
            }
            return Err(first);
        }
        if let Some(name) = fields.repeated {
            return Err(repeated(name));
        }
        let mut properties =
            fields.properties.map(RawValue::get).filter(|text| *text != "null").map(Cow::Borrowed);
        for (name, value) in &fields.others {
            string(name, Some(value))?;
        }
        if self.dialect == Dialect::Website {
            properties = Some(members::put_before(&fields.others, properties)?);
        }
        Ok(Texts {
            names: &Names::OWN,
            event_id: string("event_id", fields.event_id)?,
            source: None,
            user_id: string("user_id", fields.user_id)?,
            event_type: string("event_type", fields.event_type)?,
            occurred_at: string("occurred_at", fields.occurred_at)?,
            properties,
            index,
        })
    }

    fn unknown_field(&self, name: &str) -> Rejection {
        if let Some((_, field)) = FOREIGN_NAMES.iter().find(|(foreign, _)| *foreign == name) {
            let message = format!("'{name}' is not a field of an event; weir calls it '{field}'");
            return Rejection { field: Some(name.to_owned().into()), reason: Reason::UnknownField, message };
        }
        if BATCH_NAMES.contains(&name) {
            let message =
                format!("'{name}' is not a field of an event; send a batch as {{\"events\": [...]}}");
            return Rejection { field: Some(name.to_owned().into()), reason: Reason::UnknownField, message };
        }
        let known = FIELD_NAMES.iter().map(|(known, _)| *known).chain(self.dialect.others().iter().copied());
        let known = self.guesses.nearest(name, known);
        let name = shortened(name);
        let message = match known {
            Some(known) => format!("'{name}' is not a field of an event; did you mean '{known}'?"),
            None => format!("'{name}' is not a field of an event; put your own fields inside 'properties'"),
        };
        Rejection { field: Some(name.into()), reason: Reason::UnknownField, message }
    }

    /// An event whose fields came as texts.
    pub fn texts<'a>(&self, texts: Texts<'a>) -> Result<Valid<'a>, Rejection> {
        let names = texts.names;
        let sent_id = bounded(names.event_id, texts.event_id)?;
        let event_type = bounded(names.event_type, texts.event_type)?
            .map(trimmed)
            .ok_or_else(|| Rejection::missing(names.event_type, "the type of the event"))?;
        let user_id = bounded(names.user_id, texts.user_id)?.map(trimmed);
        let occurred_at = texts.occurred_at.map(|text| self.time(names, &text)).transpose()?;
        let properties = match texts.properties {
            Some(properties) => {
                self.check_properties(names, &properties)?;
                properties
            }
            None => "{}".into(),
        };
        let event_id = match (&sent_id, &texts.source, self.idempotency_key) {
            (Some(id), None, _) => self.project_id.event_id(id),
            (Some(id), Some(source), _) => self.project_id.event_id_within(source, id),
            (None, _, Some(key)) => {
                let user = user_id.as_deref().unwrap_or_default();
                let time = occurred_at.map(|time| time.timestamp_micros());
                // What it says is part of it: under the same key another event has another id.
                let event = format!("{key}\0{event_type}\0{user}\0{time:?}\0{properties}");
                self.project_id.replayable_event_id(&event, texts.index)
            }
            (None, _, None) => Uuid::now_v7(),
        };
        Ok(Valid { event: Event { event_id, user_id, event_type, occurred_at, properties }, sent_id })
    }

    /// RFC 3339, to the microsecond, neither too old nor too far ahead.
    fn time(&self, names: &Names, text: &str) -> Result<DateTime<Utc>, Rejection> {
        let refused = |reason, message| Err(Rejection::new(names.occurred_at, reason, message));
        let time = match rfc3339::parse(text) {
            Ok(time) => time,
            Err(wrong) => return refused(Reason::InvalidTime, format!("{wrong}; got '{}'", shortened(text))),
        };
        let (oldest, latest) = (self.limits.max_event_age, self.limits.max_event_ahead);
        if self.now - time > TimeDelta::from_std(oldest).unwrap_or(TimeDelta::MAX) {
            let message = format!(
                "the event is too old: at most {} are allowed (WEIR_MAX_EVENT_AGE), got {text}",
                in_words(oldest)
            );
            return refused(Reason::TooOld, message);
        }
        if time - self.now > TimeDelta::from_std(latest).unwrap_or(TimeDelta::MAX) {
            let message = format!(
                "the event is too far in the future: at most {} are allowed (WEIR_MAX_EVENT_AHEAD), got {text}",
                in_words(latest)
            );
            return refused(Reason::TooFarAhead, message);
        }
        Ok(time)
    }

    fn check_properties(&self, names: &Names, text: &str) -> Result<(), Rejection> {
        let refused = |reason, message| Err(Rejection::new(names.properties, reason, message));
        if !text.starts_with('{') {
            return refused(Reason::WrongType, format!("expected an object, got {}", kind(text)));
        }
        let limit = self.limits.max_properties;
        if text.len() as u64 > limit.as_u64() {
            return refused(Reason::TooLarge, format!("expected at most {limit}, got {} bytes", text.len()));
        }
        let max_depth = usize::from(self.limits.max_properties_depth);
        match properties::check(text, max_depth) {
            Ok(()) => Ok(()),
            Err(Fault::TooDeep) => {
                refused(Reason::TooDeep, format!("expected at most {max_depth} levels of objects and lists"))
            }
            Err(Fault::Nul) => refused(Reason::InvalidText, "the character \\u0000 cannot be stored".into()),
            Err(Fault::LoneSurrogate) => refused(
                Reason::InvalidText,
                "half of an emoji or other character is missing: a surrogate such as \\ud83d stands alone"
                    .into(),
            ),
            Err(Fault::NumberTooLarge) => refused(
                Reason::NumberTooLarge,
                "a number is too large for 64-bit floating point; send it as a text".into(),
            ),
        }
    }
}

fn repeated(name: &'static str) -> Rejection {
    Rejection::new(name, Reason::RepeatedField, "the field was sent more than once".into())
}
