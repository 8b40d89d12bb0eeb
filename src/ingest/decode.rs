//! From the text of a body to events whose fields are still raw: one pass, nothing copied.
//!
//! Only the shape is decided here; [`super::validate`] looks at the fields. So one bad event never spoils its batch.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

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
    /// Not an object; what it is instead.
    NotAnObject(&'static str),
}

/// The fields of an event, each as it was sent.
#[derive(Debug, Default)]
pub struct RawFields<'a> {
    pub event_id: Option<&'a RawValue>,
    pub user_id: Option<&'a RawValue>,
    pub event_type: Option<&'a RawValue>,
    pub occurred_at: Option<&'a RawValue>,
    pub properties: Option<&'a RawValue>,
    /// The first field that weir does not know.
    pub unknown: Option<Cow<'a, str>>,
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

/// Why a body as a whole cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body is not UTF-8: {0}")]
    NotUtf8(#[from] std::str::Utf8Error),
    #[error("the body is not valid JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("expected an event, a list of events or {{\"events\": […]}}, got {0}")]
    WrongShape(&'static str),
    #[error("the body has no events")]
    Empty,
    #[error("{sent} events were sent; at most {limit} are taken at once")]
    TooManyEvents { sent: usize, limit: usize },
}

/// Takes a body apart: `{"events":[E,…]}`, `[E,…]` or `E`.
pub fn decode(body: &[u8], max_events: usize) -> Result<Decoded<'_>, BodyError> {
    let text = std::str::from_utf8(body)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let body = match kind(text.trim_start()) {
        "an object" | "a list" => deserializer.deserialize_any(BodyVisitor { max_events })?,
        other => {
            IgnoredAny::deserialize(&mut deserializer)?;
            return Err(BodyError::WrongShape(other));
        }
    };
    deserializer.end()?;
    let (single, list) = match body {
        Body::Single(fields) => (true, List { events: vec![RawEvent::Fields(*fields)], sent: 1 }),
        Body::List(list) => (false, list),
    };
    if list.sent == 0 {
        return Err(BodyError::Empty);
    }
    if list.sent > max_events {
        return Err(BodyError::TooManyEvents { sent: list.sent, limit: max_events });
    }
    Ok(Decoded { single, events: list.events })
}

/// What a JSON text is, by its first character.
pub(super) fn kind(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

enum Body<'a> {
    Single(Box<RawFields<'a>>),
    List(List<'a>),
}

struct List<'a> {
    /// At most as many as are taken.
    events: Vec<RawEvent<'a>>,
    /// As many as there were.
    sent: usize,
}

struct BodyVisitor {
    max_events: usize,
}

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Body<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Body<'de>, A::Error> {
        ListSeed { max_events: self.max_events }.visit_seq(list).map(Body::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Body<'de>, A::Error> {
        let mut fields = RawFields::default();
        let mut first = true;
        while let Some(name) = object.next_key_seed(Name)? {
            if first && name == "events" {
                let list = object.next_value_seed(ListSeed { max_events: self.max_events })?;
                if object.next_key::<IgnoredAny>()?.is_some() {
                    return Err(serde::de::Error::custom("`events` must be the only member of a batch"));
                }
                return Ok(Body::List(list));
            }
            first = false;
            fields.put(name, object.next_value()?);
        }
        Ok(Body::Single(Box::new(fields)))
    }
}

struct ListSeed {
    max_events: usize,
}

impl<'de> DeserializeSeed<'de> for ListSeed {
    type Value = List<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<List<'de>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ListSeed {
    type Value = List<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List<'de>, A::Error> {
        let mut events = Vec::new();
        while events.len() < self.max_events {
            match list.next_element_seed(EventSeed)? {
                Some(event) => events.push(event),
                None => return Ok(List { sent: events.len(), events }),
            }
        }
        let mut sent = events.len();
        while list.next_element::<IgnoredAny>()?.is_some() {
            sent += 1;
        }
        Ok(List { events, sent })
    }
}

struct EventSeed;

impl<'de> DeserializeSeed<'de> for EventSeed {
    type Value = RawEvent<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawEvent<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EventSeed {
    type Value = RawEvent<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<RawEvent<'de>, A::Error> {
        let mut fields = RawFields::default();
        while let Some(name) = object.next_key_seed(Name)? {
            fields.put(name, object.next_value()?);
        }
        Ok(RawEvent::Fields(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawEvent<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(RawEvent::NotAnObject("a list"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<RawEvent<'de>, E> {
        Ok(RawEvent::NotAnObject("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<RawEvent<'de>, E> {
        Ok(RawEvent::NotAnObject("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<RawEvent<'de>, E> {
        Ok(RawEvent::NotAnObject("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<RawEvent<'de>, E> {
        Ok(RawEvent::NotAnObject("a number"))
    }

    fn visit_str<E>(self, _: &str) -> Result<RawEvent<'de>, E> {
        Ok(RawEvent::NotAnObject("a string"))
    }

    fn visit_unit<E>(self) -> Result<RawEvent<'de>, E> {
        Ok(RawEvent::NotAnObject("null"))
    }
}

/// A member's name, borrowed where it has no escapes (serde's `Cow` always copies).
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

impl<'a> RawFields<'a> {
    fn put(&mut self, name: Cow<'a, str>, value: &'a RawValue) {
        let Some(field) = Field::from_name(&name) else {
            self.unknown.get_or_insert(name);
            return;
        };
        let slot = match field {
            Field::EventId => &mut self.event_id,
            Field::UserId => &mut self.user_id,
            Field::EventType => &mut self.event_type,
            Field::OccurredAt => &mut self.occurred_at,
            Field::Properties => &mut self.properties,
        };
        if slot.replace(value).is_some() {
            self.repeated.get_or_insert(field.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(body: &str) -> Decoded<'_> {
        decode(body.as_bytes(), 3).expect("a body")
    }

    fn refused(body: &[u8]) -> String {
        decode(body, 3).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_body_is_a_batch_a_list_or_one_event() {
        for (body, single, events) in [
            (r#"{"events":[{"event":"a"},{"event":"b"}]}"#, false, 2),
            (r#" [{"event_type":"a"}] "#, false, 1),
            (r#"{"event_type":"a","user_id":"u"}"#, true, 1),
        ] {
            let decoded = decoded(body);
            assert_eq!((decoded.single, decoded.events.len()), (single, events), "{body}");
        }
    }

    #[test]
    fn fields_go_by_several_names_and_stay_as_sent() {
        let decoded = decoded(r#"{"event_name":"a","client_ts":"t","metadata":{ "k" : 1e2 },"colour":1}"#);
        let RawEvent::Fields(fields) = &decoded.events[0] else { panic!("an object") };
        assert_eq!(fields.event_type.map(RawValue::get), Some(r#""a""#));
        assert_eq!(fields.occurred_at.map(RawValue::get), Some(r#""t""#));
        assert_eq!(fields.properties.map(RawValue::get), Some(r#"{ "k" : 1e2 }"#));
        assert_eq!(fields.unknown.as_deref(), Some("colour"));
        assert_eq!(fields.repeated, None);
    }

    #[test]
    fn a_field_under_two_names_is_repeated() {
        let decoded = decoded(r#"{"event":"a","event_type":"b"}"#);
        let RawEvent::Fields(fields) = &decoded.events[0] else { panic!("an object") };
        assert_eq!(fields.repeated, Some("event_type"));
    }

    #[test]
    fn what_is_no_event_stands_in_its_place() {
        let decoded = decoded(r#"[{"event":"a"}, [1, {}], null]"#);
        assert!(matches!(decoded.events[1], RawEvent::NotAnObject("a list")));
        assert!(matches!(decoded.events[2], RawEvent::NotAnObject("null")));
    }

    #[test]
    fn a_body_that_cannot_be_read_says_where_and_why() {
        assert!(refused(b"").contains("not valid JSON: EOF"));
        assert!(refused(br#"{"events":[{"a":}]}"#).contains("line 1 column 17"));
        assert!(refused(br#"{"events":[]}"#).contains("no events"));
        assert!(refused(br"[]").contains("no events"));
        assert!(refused(br#"{"events":{}}"#).contains("expected a list of events"));
        assert!(refused(br#"{"events":[1],"more":1}"#).contains("only member"));
        assert!(refused(br"[1] 2").contains("trailing characters"));
        assert!(refused(br"17").contains("got a number"));
        assert!(refused(b"[\"\xff\"]").contains("not UTF-8"));
        assert!(refused(br"[1,2,3,4,5]").contains("5 events were sent; at most 3"));
    }
}
