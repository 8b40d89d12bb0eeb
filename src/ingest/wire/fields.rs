//! The fields of an event, as weir and the systems before it name them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{RawEvent, put};

/// Members of unknown name that are kept, to be judged and told of.
const MAX_OTHERS: usize = 6;

/// What collects the members of an event's object.
pub(crate) trait Members<'a>: Default {
    fn put(&mut self, name: Cow<'a, str>, value: &'a RawValue);
    fn into_event(self) -> RawEvent<'a>;
}

/// The fields of an event, each as it was sent.
#[derive(Debug, Default)]
pub struct RawFields<'a> {
    pub event_id: Option<&'a RawValue>,
    pub user_id: Option<&'a RawValue>,
    pub event_type: Option<&'a RawValue>,
    pub occurred_at: Option<&'a RawValue>,
    pub properties: Option<&'a RawValue>,
    /// The first few fields of other names, in the order in which they came.
    pub others: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// The first field that stood there twice, under one name or two.
    pub repeated: Option<&'static str>,
}

/// Every name of a field, with the field that it means.
pub const FIELD_NAMES: [(&str, Field); 10] = [
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
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    EventId,
    UserId,
    EventType,
    OccurredAt,
    Properties,
}

impl Field {
    /// The field's own name, whatever alias was sent.
    pub fn name(self) -> &'static str {
        match self {
            Self::EventId => "event_id",
            Self::UserId => "user_id",
            Self::EventType => "event_type",
            Self::OccurredAt => "occurred_at",
            Self::Properties => "properties",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        FIELD_NAMES.iter().find(|(known, _)| *known == name).map(|&(_, field)| field)
    }
}

impl<'a> Members<'a> for RawFields<'a> {
    fn put(&mut self, name: Cow<'a, str>, value: &'a RawValue) {
        let Some(field) = Field::from_name(&name) else {
            if self.others.len() < MAX_OTHERS {
                self.others.push((name, value));
            }
            return;
        };
        let slot = match field {
            Field::EventId => &mut self.event_id,
            Field::UserId => &mut self.user_id,
            Field::EventType => &mut self.event_type,
            Field::OccurredAt => &mut self.occurred_at,
            Field::Properties => &mut self.properties,
        };
        if !put(slot, value) {
            self.repeated.get_or_insert(field.name());
        }
    }

    fn into_event(self) -> RawEvent<'a> {
        RawEvent::Fields(self)
    }
}
