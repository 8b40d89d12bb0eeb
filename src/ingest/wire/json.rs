//! JSON texts of events, by visitors: nothing is built but what is borrowed.

use std::{borrow::Cow, cell::Cell, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{BodyError, List, Members, RawCloudEvent, RawEvent, RawFields, kind};

pub(crate) enum Body<'a> {
    Single(RawEvent<'a>),
    List(List<'a>),
}

/// `{"events":[E,…]}`, `[E,…]` or `E`.
pub(crate) fn body(text: &str, max_events: usize) -> Result<Body<'_>, BodyError> {
    check_kind(text, "an event, a list of events or {\"events\": […]}", &["an object", "a list"])?;
    let reached = Cell::new(None);
    whole(text, BodyVisitor { max_events, reached: &reached })
        .map_err(|error| BodyError::NotJson { index: reached.get(), error })
}

/// One CloudEvent.
pub(crate) fn cloud_event(text: &str) -> Result<RawEvent<'_>, BodyError> {
    check_kind(text, "a CloudEvent", &["an object"])?;
    Ok(element::<RawCloudEvent<'_>>(text)?)
}

/// A list of CloudEvents.
pub(crate) fn cloud_events(text: &str, max_events: usize) -> Result<List<'_>, BodyError> {
    check_kind(text, "a list of CloudEvents", &["a list"])?;
    let reached = Cell::new(None);
    whole(text, ListVisitor { max_events, reached: &reached, members: PhantomData::<RawCloudEvent<'_>> })
        .map_err(|error| BodyError::NotJson { index: reached.get(), error })
}

/// A text that is one event, or none.
pub(crate) fn element<'a, M: Members<'a>>(text: &'a str) -> Result<RawEvent<'a>, serde_json::Error> {
    whole(text, EventVisitor(PhantomData::<M>))
}

/// All of a text, by a visitor.
fn whole<'a, V: Visitor<'a>>(text: &'a str, visitor: V) -> Result<V::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = deserializer.deserialize_any(visitor)?;
    deserializer.end()?;
    Ok(value)
}

/// A valid text of another kind than expected is told by its kind: serde would tell by Rust's types.
fn check_kind(text: &str, expected: &'static str, kinds: &[&str]) -> Result<(), BodyError> {
    let got = kind(text.trim_start());
    if kinds.contains(&got) {
        return Ok(());
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    IgnoredAny::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Err(BodyError::WrongShape { expected, got })
}

struct BodyVisitor<'r> {
    max_events: usize,
    reached: &'r Cell<Option<usize>>,
}

impl<'r> BodyVisitor<'r> {
    fn list<'a>(&self) -> ListVisitor<'r, RawFields<'a>> {
        ListVisitor { max_events: self.max_events, reached: self.reached, members: PhantomData }
    }
}

impl<'de> Visitor<'de> for BodyVisitor<'_> {
    type Value = Body<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Body<'de>, A::Error> {
        self.list().visit_seq(list).map(Body::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Body<'de>, A::Error> {
        let mut fields = RawFields::default();
        let mut first = true;
        while let Some(name) = object.next_key_seed(Name)? {
            if first && name == "events" {
                let list = object.next_value_seed(self.list())?;
                if object.next_key::<IgnoredAny>()?.is_some() {
                    return Err(serde::de::Error::custom("`events` must be the only member of a batch"));
                }
                return Ok(Body::List(list));
            }
            first = false;
            fields.put(name, object.next_value()?);
        }
        Ok(Body::Single(fields.into_event()))
    }
}

struct ListVisitor<'r, M> {
    max_events: usize,
    /// The place of the event that is being read.
    reached: &'r Cell<Option<usize>>,
    members: PhantomData<M>,
}

impl<'de, M: Members<'de>> DeserializeSeed<'de> for ListVisitor<'_, M> {
    type Value = List<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<List<'de>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, M: Members<'de>> Visitor<'de> for ListVisitor<'_, M> {
    type Value = List<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List<'de>, A::Error> {
        let mut events = Vec::new();
        while events.len() < self.max_events {
            self.reached.set(Some(events.len()));
            let Some(event) = list.next_element_seed(EventVisitor(PhantomData::<M>))? else {
                self.reached.set(None);
                return Ok(List { sent: events.len(), events });
            };
            events.push(event);
        }
        let mut sent = events.len();
        while list.next_element::<IgnoredAny>()?.is_some() {
            sent += 1;
        }
        self.reached.set(None);
        Ok(List { events, sent })
    }
}

struct EventVisitor<M>(PhantomData<M>);

impl<'de, M: Members<'de>> DeserializeSeed<'de> for EventVisitor<M> {
    type Value = RawEvent<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawEvent<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, M: Members<'de>> Visitor<'de> for EventVisitor<M> {
    type Value = RawEvent<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<RawEvent<'de>, A::Error> {
        let mut members = M::default();
        while let Some(name) = object.next_key_seed(Name)? {
            members.put(name, object.next_value()?);
        }
        Ok(members.into_event())
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
