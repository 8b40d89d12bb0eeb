//! weir's own format: `{"events":[E,…]}`, `[E,…]` or `E`, as JSON.

use std::{borrow::Cow, fmt};

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Body, BodyError, Context, Format, ReadEvent, Reads,
    field_names::{Accepted, Field},
    json::{self, EventList, Members, Name, Reached, not_null, put, string},
};
use crate::ingest::validate::{RawEvent, RawTime, Reason, Rejection};

/// `navigator.sendBeacon` sends text/plain.
pub(super) const CONTENT_TYPES: &[&str] = &["application/json", "text/plain"];

pub(super) const JSON: Format = Format { reads: Reads::ContentTypes(CONTENT_TYPES), unpack: None, parse };

/// Members of unknown name that are kept, to be reported.
const MAX_OTHERS: usize = 6;

fn parse<'a>(body: &'a [u8], context: &Context<'_>) -> Result<Body<'a>, BodyError> {
    match one_or_many(body, context, Accepted::default())? {
        OneOrMany::One(fields) => Ok(Body::single(fields.into_event(context))),
        OneOrMany::Many(body) => Ok(body),
    }
}

/// What a body is.
pub(super) enum OneOrMany<'a> {
    One(Fields<'a>),
    Many(Body<'a>),
}

/// `accepted` are the names in a body of one event.
pub(super) fn one_or_many<'a>(
    body: &'a [u8],
    context: &Context<'_>,
    accepted: Accepted,
) -> Result<OneOrMany<'a>, BodyError> {
    let read = |text| {
        json::check_kind(text, "an event, a list of events or {\"events\": […]}", &["an object", "a list"])?;
        let reached = Reached::default();
        reached.read(text, BodyVisitor { context, accepted, reached: &reached })
    };
    match json::text(body, read)? {
        OneOrMany::Many(body) => body.not_empty().map(OneOrMany::Many),
        one @ OneOrMany::One(_) => Ok(one),
    }
}

struct BodyVisitor<'r> {
    context: &'r Context<'r>,
    accepted: Accepted,
    reached: &'r Reached,
}

impl<'r> BodyVisitor<'r> {
    fn list<'a>(&self) -> EventList<'r, Fields<'a>> {
        EventList::new(self.context, self.reached)
    }
}

impl<'de> Visitor<'de> for BodyVisitor<'_> {
    type Value = OneOrMany<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany<'de>, A::Error> {
        self.list().visit_seq(list).map(OneOrMany::Many)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<OneOrMany<'de>, A::Error> {
        let mut fields = Fields { accepted: self.accepted, ..Fields::default() };
        let mut first = true;
        while let Some(name) = object.next_key_seed(Name)? {
            if first && name == "events" {
                let list = object.next_value_seed(self.list())?;
                if object.next_key::<IgnoredAny>()?.is_some() {
                    return Err(serde::de::Error::custom("`events` must be the only member of a batch"));
                }
                return Ok(OneOrMany::Many(list));
            }
            first = false;
            fields.put(name, object.next_value()?);
        }
        Ok(OneOrMany::One(fields))
    }
}

/// A member of an event, as it was sent.
pub(super) type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// The fields of an event, each as it was sent.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    event_id: Option<&'a RawValue>,
    user_id: Option<&'a RawValue>,
    event_type: Option<&'a RawValue>,
    occurred_at: Option<&'a RawValue>,
    properties: Option<&'a RawValue>,
    anonymous_id: Option<&'a RawValue>,
    traits: Option<&'a RawValue>,
    initial_traits: Option<&'a RawValue>,
    /// The first few fields of other names, in the order in which they came.
    pub others: Vec<Member<'a>>,
    accepted: Accepted,
    /// The first field that stood there twice, under one name or two.
    repeated: Option<Field>,
}

impl<'a> Members<'a> for Fields<'a> {
    fn put(&mut self, name: Cow<'a, str>, value: &'a RawValue) {
        let Some(field) = self.accepted.field(&name) else {
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
            Field::AnonymousId => &mut self.anonymous_id,
            Field::Traits => &mut self.traits,
            Field::InitialTraits => &mut self.initial_traits,
        };
        if !put(slot, value) {
            self.repeated.get_or_insert(field);
        }
    }

    fn into_event(self, context: &Context<'_>) -> ReadEvent<'a> {
        self.event(context).map_err(|rejection| rejection.with_id(json::shown_id(self.event_id)))
    }
}

impl<'a> Fields<'a> {
    fn event(&self, context: &Context<'_>) -> ReadEvent<'a> {
        let unknown = self.others.iter().map(|(name, _)| &**name);
        let mut unknown = unknown.filter(|name| !self.accepted.more.contains(name));
        if let Some(first) = unknown.next() {
            let mut message = self.accepted.unknown_field(first, context);
            // All at once, so that nobody has to send once for each.
            for name in unknown {
                message = format!("{message}; {}", self.accepted.unknown_field(name, context));
            }
            return Err(Rejection::of_name(first, Reason::UnknownField, message));
        }
        if let Some(field) = self.repeated {
            return Err(Rejection::repeated(field.name()));
        }
        for (name, value) in &self.others {
            string(name, Some(value))?;
        }
        let text = |field: Field, raw| string(field.name(), raw);
        let json = |raw: Option<&'a RawValue>| raw.and_then(not_null).map(Cow::Borrowed);
        Ok(RawEvent {
            event_id: text(Field::EventId, self.event_id)?,
            user_id: text(Field::UserId, self.user_id)?,
            event_type: text(Field::EventType, self.event_type)?,
            occurred_at: text(Field::OccurredAt, self.occurred_at)?.map(RawTime::Text),
            properties: json(self.properties),
            anonymous_id: text(Field::AnonymousId, self.anonymous_id)?,
            traits: json(self.traits),
            initial_traits: json(self.initial_traits),
            ..RawEvent::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context<'static> {
        Context::new(3)
    }

    fn read(body: &str) -> Body<'_> {
        JSON.read(body.as_bytes(), &context()).expect("a body")
    }

    fn refused(body: &[u8]) -> String {
        JSON.read(body, &context()).expect_err("must be refused").to_string()
    }

    fn rejected(event: ReadEvent<'_>) -> (Option<String>, Reason) {
        let rejection = event.expect_err("must be refused");
        (rejection.field.map(Cow::into_owned), rejection.reason)
    }

    #[test]
    fn a_body_is_a_batch_a_list_or_one_event() {
        for (body, single, events) in [
            (r#"{"events":[{"event":"a"},{"event":"b"}]}"#, false, 2),
            (r#" [{"event_type":"a"}] "#, false, 1),
            (r#"{"event_type":"a","user_id":"u"}"#, true, 1),
        ] {
            let body_read = read(body);
            assert_eq!((body_read.single, body_read.events.len()), (single, events), "{body}");
        }
    }

    #[test]
    fn fields_go_by_several_names_and_stay_as_sent() {
        let mut body = read(r#"{"event_name":"a","client_ts":"t","metadata":{ "k" : 1e2 }}"#);
        let event = body.events.remove(0).expect("an event");
        assert_eq!(event.event_type.as_deref(), Some("a"));
        assert!(matches!(event.occurred_at, Some(RawTime::Text(text)) if text == "t"));
        assert_eq!(event.properties.as_deref(), Some(r#"{ "k" : 1e2 }"#));
    }

    #[test]
    fn all_unknown_fields_are_in_one_message() {
        let mut body = read(r#"{"event":"a","event_id":"e","colour":1,"userId":2,"user_ids":3}"#);
        let rejection = body.events.remove(0).expect_err("must be refused");
        assert_eq!((rejection.event_id.as_deref(), rejection.field.as_deref()), (Some("e"), Some("colour")));
        for part in ["inside 'properties'", "weir calls it 'user_id'", "did you mean 'user_id'?"] {
            assert!(rejection.message.contains(part), "{rejection:?}");
        }
    }

    #[test]
    fn a_field_under_two_names_is_repeated() {
        let mut body = read(r#"{"event":"a","event_type":"b"}"#);
        assert_eq!(rejected(body.events.remove(0)), (Some("event_type".into()), Reason::RepeatedField));
    }

    #[test]
    fn texts_are_borrowed_where_they_have_no_escapes() {
        let mut body = read(r#"{"event":"a","user_id":"\u0061","properties":{"a":"\u0061"}}"#);
        let event = body.events.remove(0).expect("an event");
        assert!(matches!(event.event_type, Some(Cow::Borrowed("a"))));
        assert!(matches!(event.user_id, Some(Cow::Owned(user)) if user == "a"));
        assert!(matches!(event.properties, Some(Cow::Borrowed(_))));
    }

    #[test]
    fn what_is_no_event_stands_in_its_place() {
        let mut body = read(r#"[{"event":"a"}, [1, {}], null]"#);
        assert_eq!(rejected(body.events.remove(2)), (None, Reason::NotAnObject));
        assert_eq!(rejected(body.events.remove(1)), (None, Reason::NotAnObject));
        assert!(body.events.remove(0).is_ok());
    }

    #[test]
    fn a_body_that_cannot_be_read_says_where_and_why() {
        assert!(refused(b"").contains("not valid JSON: EOF"));
        assert!(refused(br#"{"events":[{"a":}]}"#).contains("line 1 column 17"));
        assert!(
            refused(br#"{"events":[{"a":1},{"a":NaN}]}"#).contains("not valid JSON in the event at index 1")
        );
        assert!(refused(b"[{\"a\":1},{\"a\":\"\xff\"}]").contains("not UTF-8 in the event at index 1"));
        assert!(refused(br#"{"events":[]}"#).contains("no events"));
        assert!(refused(br"[]").contains("no events"));
        assert!(refused(br#"{"events":{}}"#).contains("expected a list of events"));
        assert!(refused(br#"{"events":[1],"more":1}"#).contains("only member"));
        assert!(refused(br"[1] 2").contains("trailing characters"));
        assert!(refused(br"17").contains("got a number"));
        assert!(refused(b"[\"\xff\"]").contains("not UTF-8"));
        assert!(refused(br"[1,2,3,4,5]").contains("5 events were sent; at most 3"));
    }

    #[test]
    fn a_name_that_is_no_text_spoils_only_its_event() {
        let mut body = read(r#"[{"event":"a","\ud800":1},{"event":"b"}]"#);
        assert!(body.events.remove(1).is_ok());
        assert!(body.events.remove(0).is_err());
    }
}
