//! The names of an event's fields: weir's own, those of systems before it, and what to do about names that are neither.

use super::Context;
use crate::ingest::validate::{Names, shortened};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    EventId,
    UserId,
    EventType,
    OccurredAt,
    Properties,
    AnonymousId,
    Traits,
    InitialTraits,
}

/// Every name of a field, with the field that it means. `POST /events` takes all of them, because several systems before
/// weir sent to it; a call of one system takes those of that system.
pub const FIELD_NAMES: &[(&str, Field)] = &[
    ("event_id", Field::EventId),
    ("user_id", Field::UserId),
    ("event_type", Field::EventType),
    ("event_name", Field::EventType),
    ("event", Field::EventType),
    ("occurred_at", Field::OccurredAt),
    ("timestamp", Field::OccurredAt),
    ("client_ts", Field::OccurredAt),
    ("properties", Field::Properties),
    ("metadata", Field::Properties),
    ("anonymous_id", Field::AnonymousId),
    ("traits", Field::Traits),
    ("initial_traits", Field::InitialTraits),
];

/// How other systems call the fields, for messages.
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
    ("anonymousId", "anonymous_id"),
    ("device_id", "anonymous_id"),
    ("$device_id", "anonymous_id"),
    ("user_properties", "traits"),
    ("$set", "traits"),
    ("$set_once", "initial_traits"),
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
/// How other systems wrap their events, likewise.
const BATCH_NAMES: &[&str] = &["batch", "data", "messages", "records"];

impl Field {
    /// The field's own name, whatever alias was sent.
    pub fn name(self) -> &'static str {
        match self {
            Self::EventId => Names::OWN.event_id,
            Self::UserId => Names::OWN.user_id,
            Self::EventType => Names::OWN.event_type,
            Self::OccurredAt => Names::OWN.occurred_at,
            Self::Properties => Names::OWN.properties,
            Self::AnonymousId => Names::OWN.anonymous_id,
            Self::Traits => Names::OWN.traits,
            Self::InitialTraits => Names::OWN.initial_traits,
        }
    }
}

/// The names of fields that a format takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub names: &'static [(&'static str, Field)],
    /// Fields that weir does not have. They are texts, and the format says what becomes of them.
    pub more: &'static [&'static str],
}

impl Default for Accepted {
    fn default() -> Self {
        Self { names: FIELD_NAMES, more: &[] }
    }
}

impl Accepted {
    pub fn field(self, name: &str) -> Option<Field> {
        self.names.iter().find(|(known, _)| *known == name).map(|&(_, field)| field)
    }

    /// What to do about a name that is not taken.
    pub fn unknown_field(self, name: &str, context: &Context<'_>) -> String {
        let shown = shortened(name);
        let others_name = FIELD_NAMES.iter().find(|(known, _)| *known == name).map(|(_, field)| field.name());
        let foreign_name =
            FOREIGN_NAMES.iter().find(|(foreign, _)| *foreign == name).map(|(_, field)| *field);
        if let Some(field) = others_name.or(foreign_name) {
            return format!("'{shown}' is not a field of an event; weir calls it '{field}'");
        }
        if BATCH_NAMES.contains(&name) {
            return format!("'{shown}' is not a field of an event; send a batch as {{\"events\": [...]}}");
        }
        let known = self.names.iter().map(|(known, _)| *known).chain(self.more.iter().copied());
        match context.guesses.nearest(name, known) {
            Some(known) => format!("'{shown}' is not a field of an event; did you mean '{known}'?"),
            None => format!("'{shown}' is not a field of an event; put your own fields inside 'properties'"),
        }
    }
}
