//! The rules of an event's fields, the same for every wire format. What passes here can be stored; what does not is told
//! which field, and why. Names that are no field of an event are found where they are read, in [`super::wire::field_names`].

mod rejection;
#[cfg(test)]
pub(super) mod tests;
mod text;

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};
use uuid::Uuid;

pub use self::rejection::{Reason, Rejection};
use self::text::trimmed;
pub(super) use self::text::{bounded, kind, shortened};
use crate::{
    config::Limits,
    model::{
        duration::in_words,
        event::{AboutUser, Event},
        project::ProjectId,
        properties::{self, Fault},
        rfc3339,
    },
};

/// What the sender calls the fields, for messages.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    pub event_id: &'static str,
    pub user_id: &'static str,
    pub event_type: &'static str,
    pub occurred_at: &'static str,
    pub properties: &'static str,
    pub anonymous_id: &'static str,
    pub traits: &'static str,
    pub initial_traits: &'static str,
}

impl Names {
    pub const OWN: Self = Self {
        event_id: "event_id",
        user_id: "user_id",
        event_type: "event_type",
        occurred_at: "occurred_at",
        properties: "properties",
        anonymous_id: "anonymous_id",
        traits: "traits",
        initial_traits: "initial_traits",
    };
}

impl Default for &Names {
    fn default() -> Self {
        &Names::OWN
    }
}

/// An event as its wire format reads it: each field a text, of which no rule is checked yet.
#[derive(Debug, Default)]
pub struct RawEvent<'a> {
    pub names: &'static Names,
    pub event_id: Option<Cow<'a, str>>,
    /// What the id is unique within, if that is less than the project.
    pub source: Option<Cow<'a, str>>,
    pub user_id: Option<Cow<'a, str>>,
    pub event_type: Option<Cow<'a, str>>,
    pub occurred_at: Option<RawTime<'a>>,
    /// Valid JSON.
    pub properties: Option<Cow<'a, str>>,
    /// The user's id from before the login; without `user_id`, the only one.
    pub anonymous_id: Option<Cow<'a, str>>,
    /// Valid JSON, as these:
    pub traits: Option<Cow<'a, str>>,
    pub initial_traits: Option<Cow<'a, str>>,
    /// It is no event of its own, and has no type.
    pub is_only_about_user: bool,
}

/// When an event happened, as far as its format knows.
#[derive(Debug)]
pub enum RawTime<'a> {
    /// RFC 3339, or meant to be.
    Text(Cow<'a, str>),
    Known(DateTime<Utc>),
}

/// An event that passed, with the id as its sender wrote it.
#[derive(Debug)]
pub struct Valid<'a> {
    pub event: Event<'a>,
    /// Absent: weir gave the id.
    pub sent_id: Option<Cow<'a, str>>,
}

impl Valid<'_> {
    /// The id as it was sent, or as weir gave it.
    pub fn shown_id(&self) -> String {
        self.sent_id.as_deref().map_or_else(|| self.event.event_id.to_string(), str::to_owned)
    }
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
    /// Validates an event, at its place in the request.
    pub fn validate<'a>(&self, mut raw: RawEvent<'a>, index: usize) -> Result<Valid<'a>, Rejection> {
        let sent_id = bounded(raw.names.event_id, raw.event_id.take())?;
        match self.event(raw, sent_id.as_deref(), index) {
            Ok(event) => Ok(Valid { event, sent_id }),
            Err(rejection) => Err(rejection.with_id(sent_id)),
        }
    }

    fn event<'a>(
        &self,
        raw: RawEvent<'a>,
        sent_id: Option<&str>,
        index: usize,
    ) -> Result<Event<'a>, Rejection> {
        let names = raw.names;
        let event_type = match bounded(names.event_type, raw.event_type)?.map(trimmed) {
            Some(event_type) => event_type,
            None if raw.is_only_about_user => "".into(),
            None => return Err(Rejection::missing(names.event_type, "the type of the event")),
        };
        let known_id = bounded(names.user_id, raw.user_id)?.map(trimmed);
        let anonymous_id = bounded(names.anonymous_id, raw.anonymous_id)?.map(trimmed);
        let occurred_at = raw.occurred_at.map(|time| self.time(names, &time)).transpose()?;
        let properties = self.object(names.properties, raw.properties)?.unwrap_or_else(|| "{}".into());
        let traits = self.object(names.traits, raw.traits)?;
        let initial_traits = self.object(names.initial_traits, raw.initial_traits)?;
        let is_anonymous = known_id.is_none() && anonymous_id.is_some();
        let (user_id, anonymous_id) = match known_id {
            Some(known_id) => (Some(known_id), anonymous_id),
            None => (anonymous_id, None),
        };
        let about_user = AboutUser { anonymous_id, traits, initial_traits };
        let about_user = (about_user != AboutUser::default()).then(|| Box::new(about_user));
        if about_user.is_some() && user_id.is_none() {
            return Err(Rejection::missing(names.user_id, "the user whose traits these are"));
        }
        let event_id = match (sent_id, &raw.source, self.idempotency_key) {
            (Some(id), None, _) => self.project_id.event_id(id),
            (Some(id), Some(source), _) => self.project_id.event_id_within(source, id),
            (None, _, Some(key)) => {
                let user = user_id.as_deref().unwrap_or_default();
                let time = occurred_at.map(|time| time.timestamp_micros());
                // What it says is part of it: under the same key another event has another id.
                let event = format!("{key}\0{event_type}\0{user}\0{time:?}\0{properties}");
                self.project_id.replayable_event_id(&event, index)
            }
            (None, _, None) => Uuid::now_v7(),
        };
        Ok(Event { event_id, user_id, event_type, occurred_at, properties, is_anonymous, about_user })
    }

    /// To the microsecond, neither too old nor too far ahead.
    fn time(&self, names: &Names, time: &RawTime<'_>) -> Result<DateTime<Utc>, Rejection> {
        let refused = |reason, message| Err(Rejection::new(names.occurred_at, reason, message));
        let parsed = match time {
            RawTime::Known(time) => Ok(time.trunc_subsecs(6)),
            RawTime::Text(text) => {
                rfc3339::parse(text).map_err(|wrong| format!("{wrong}; got '{}'", shortened(text)))
            }
        };
        let time = match parsed {
            Ok(time) => time,
            Err(wrong) => return refused(Reason::InvalidTime, wrong),
        };
        let shown = || time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let (oldest, latest) = (self.limits.max_event_age, self.limits.max_event_ahead);
        if self.now - time > TimeDelta::from_std(oldest).unwrap_or(TimeDelta::MAX) {
            let message = format!(
                "the event is too old: at most {} are allowed (WEIR_MAX_EVENT_AGE), got {}",
                in_words(oldest),
                shown()
            );
            return refused(Reason::TooOld, message);
        }
        if time - self.now > TimeDelta::from_std(latest).unwrap_or(TimeDelta::MAX) {
            let message = format!(
                "the event is too far in the future: at most {} are allowed (WEIR_MAX_EVENT_AHEAD), got {}",
                in_words(latest),
                shown()
            );
            return refused(Reason::TooFarAhead, message);
        }
        Ok(time)
    }

    /// An object of the sender's own making, whole: properties or traits.
    fn object<'a>(
        &self,
        field: &'static str,
        text: Option<Cow<'a, str>>,
    ) -> Result<Option<Cow<'a, str>>, Rejection> {
        text.map(|text| self.check_object(field, &text).map(|()| text)).transpose()
    }

    fn check_object(&self, field: &'static str, text: &str) -> Result<(), Rejection> {
        let refused = |reason, message| Err(Rejection::new(field, reason, message));
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
