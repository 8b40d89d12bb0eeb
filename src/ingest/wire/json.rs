//! JSON texts, by visitors: nothing is built but what is borrowed. What formats of JSON have in common.

use std::{borrow::Cow, cell::Cell, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Body, BodyError, Context, ReadEvent};
use crate::{
    ingest::validate::{Reason, Rejection, bounded, kind},
    model::rfc3339,
};

/// What collects the members of an event's object.
pub(super) trait Members<'a>: Default {
    fn put(&mut self, name: Cow<'a, str>, value: &'a RawValue);
    fn into_event(self, context: &Context<'_>) -> ReadEvent<'a>;
}

/// Puts a member's value into its slot; false if it was taken.
pub(super) fn put<'a>(slot: &mut Option<&'a RawValue>, value: &'a RawValue) -> bool {
    slot.replace(value).is_none()
}

/// A JSON string's text. Null is as good as absent.
pub(super) fn string<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, Rejection> {
    let Some(raw) = raw.and_then(not_null) else { return Ok(None) };
    let Some(inside) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        let hint = match (kind(raw), field) {
            ("a number", "occurred_at") => format!(": expected {}", rfc3339::EXPECTED),
            ("a number", _) => ": put it in quotes".to_owned(),
            _ => String::new(),
        };
        let message = format!("expected a string, got {}{hint}", kind(raw));
        return Err(Rejection::of_name(field, Reason::WrongType, message));
    };
    if !inside.contains('\\') {
        return Ok(Some(Cow::Borrowed(inside)));
    }
    match serde_json::from_str(raw) {
        Ok(text) => Ok(Some(Cow::Owned(text))),
        Err(error) => {
            Err(Rejection::of_name(field, Reason::InvalidText, format!("not a valid string: {error}")))
        }
    }
}

/// An event's id for its rejection, if it can be shown.
pub(super) fn shown_id(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    string("event_id", raw).and_then(|id| bounded("event_id", id)).ok().flatten()
}

/// The JSON of a value, if it is not null.
pub(super) fn not_null(raw: &RawValue) -> Option<&str> {
    Some(raw.get()).filter(|text| *text != "null")
}

/// Reads a body of one JSON text. What is not UTF-8 is reported with the event in which it is.
pub(super) fn text<'a, T>(
    body: &'a [u8],
    read: impl Fn(&'a str) -> Result<T, BodyError>,
) -> Result<T, BodyError> {
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

/// Reads a text that is one event, or none, and adds it to others.
pub(super) fn event<'a, M: Members<'a>>(
    text: &'a str,
    context: &Context<'_>,
    events: &mut Vec<ReadEvent<'a>>,
) -> Result<(), serde_json::Error> {
    let before = events.len();
    whole(text, EventVisitor { events, context, members: PhantomData::<M> })
        .inspect_err(|_| events.truncate(before))
}

/// Reads a text of which parts are lists of events. If it is not JSON, the error names the event that was reached.
#[derive(Debug, Default)]
pub(super) struct Reached(Cell<Option<usize>>);

impl Reached {
    pub(super) fn read<'a, V: Visitor<'a>>(&self, text: &'a str, visitor: V) -> Result<V::Value, BodyError> {
        whole(text, visitor).map_err(|error| BodyError::NotJson { index: self.0.get(), error })
    }
}

/// All of a text, by a visitor.
fn whole<'a, V: Visitor<'a>>(text: &'a str, visitor: V) -> Result<V::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = deserializer.deserialize_any(visitor)?;
    deserializer.end()?;
    Ok(value)
}

/// A valid text of another kind than expected is reported by its kind: serde would do it by Rust's types.
pub(super) fn check_kind(text: &str, expected: &'static str, kinds: &[&str]) -> Result<(), BodyError> {
    let got = kind(text.trim_start());
    if kinds.contains(&got) {
        return Ok(());
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    IgnoredAny::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Err(BodyError::WrongShape { expected, got })
}

/// Reads a list of events: at most so many, the rest is counted.
pub(super) struct EventList<'r, M> {
    context: &'r Context<'r>,
    reached: &'r Reached,
    members: PhantomData<M>,
}

impl<'r, M> EventList<'r, M> {
    pub(super) fn new(context: &'r Context<'r>, reached: &'r Reached) -> Self {
        Self { context, reached, members: PhantomData }
    }
}

impl<'de, M: Members<'de>> DeserializeSeed<'de> for EventList<'_, M> {
    type Value = Body<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Body<'de>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, M: Members<'de>> Visitor<'de> for EventList<'_, M> {
    type Value = Body<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Body<'de>, A::Error> {
        let Reached(reached) = self.reached;
        let mut events = Vec::new();
        while events.len() < self.context.max_events {
            reached.set(Some(events.len()));
            let event =
                EventVisitor { events: &mut events, context: self.context, members: PhantomData::<M> };
            if list.next_element_seed(event)?.is_none() {
                reached.set(None);
                return Ok(Body::list(events));
            }
        }
        let mut body = Body::list(events);
        while list.next_element::<IgnoredAny>()?.is_some() {
            body.sent += 1;
        }
        reached.set(None);
        Ok(body)
    }
}

/// Adds an event to others: it is large, and would be copied on each way back.
struct EventVisitor<'v, 'de, M> {
    events: &'v mut Vec<ReadEvent<'de>>,
    context: &'v Context<'v>,
    members: PhantomData<M>,
}

impl<M> EventVisitor<'_, '_, M> {
    fn not_an_object(self, kind: &str) {
        let message = format!("expected an object, got {kind}");
        self.events.push(Err(Rejection::of_event(Reason::NotAnObject, message)));
    }
}

impl<'de, M: Members<'de>> DeserializeSeed<'de> for EventVisitor<'_, 'de, M> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, M: Members<'de>> Visitor<'de> for EventVisitor<'_, 'de, M> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut members = M::default();
        while let Some(name) = object.next_key_seed(Name)? {
            members.put(name, object.next_value()?);
        }
        self.events.push(members.into_event(self.context));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        self.not_an_object("a list");
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.not_an_object("a boolean");
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.not_an_object("a number");
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.not_an_object("a number");
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.not_an_object("a number");
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.not_an_object("a string");
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.not_an_object("null");
        Ok(())
    }
}

/// A member's name, borrowed where it has no escapes (serde's `Cow` always copies).
pub(super) struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        // As bytes: a name with half of a surrogate pair would fail as text, and the whole body with it.
        deserializer.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_borrowed_bytes<E>(self, name: &'de [u8]) -> Result<Cow<'de, str>, E> {
        Ok(String::from_utf8_lossy(name))
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(String::from_utf8_lossy(name).into_owned()))
    }
}
