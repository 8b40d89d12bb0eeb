//! CloudEvents 1.0: <https://github.com/cloudevents/spec>.
//!
//! `type` is the event's type, `subject` its user, `time` its time, `data` its properties. An `id` is unique within its
//! `source`, so both make the event's id. What has no field of its own (the source, the schema, extensions) is kept in
//! the property `$cloudevent`.

use std::borrow::Cow;

use ::http::HeaderMap;
use serde_json::value::RawValue;

use super::{
    Body, BodyError, Context, Format, ReadEvent, Reads, content_type,
    json::{self, EventList, Members, Reached, not_null, put, string},
    media_type, members,
};
use crate::ingest::validate::{Names, RawEvent, RawTime, Reason, Rejection, bounded, kind, shortened};

/// An event as JSON.
pub(super) const STRUCTURED: Format =
    Format { reads: Reads::ContentTypes(&["application/cloudevents+json"]), unpack: None, parse: structured };

/// A list of events as JSON.
pub(super) const BATCHED: Format = Format {
    reads: Reads::ContentTypes(&["application/cloudevents-batch+json"]),
    unpack: None,
    parse: batched,
};

/// An event's attributes as headers, and its data as the body.
pub(super) const BINARY: Format =
    Format { reads: Reads::Requests(is_binary), unpack: Some(from_binary), parse: structured };

/// What the content types of the two other modes begin with.
const CONTENT_TYPE: &str = "application/cloudevents";

/// Extension attributes that are kept.
const MAX_EXTENSIONS: usize = 32;

/// The property that holds what has no field of its own.
const CONTEXT: &str = "$cloudevent";

const NAMES: Names = Names {
    event_id: "id",
    user_id: "subject",
    event_type: "type",
    occurred_at: "time",
    properties: "data",
    ..Names::OWN
};

fn structured<'a>(body: &'a [u8], context: &Context<'_>) -> Result<Body<'a>, BodyError> {
    json::text(body, |text| {
        json::check_kind(text, "a CloudEvent", &["an object"])?;
        let mut events = Vec::with_capacity(1);
        json::event::<Attributes<'_>>(text, context, &mut events)?;
        Ok(Body { single: true, ..Body::list(events) })
    })
}

/// A batch of no events is a batch, says the specification.
fn batched<'a>(body: &'a [u8], context: &Context<'_>) -> Result<Body<'a>, BodyError> {
    json::text(body, |text| {
        json::check_kind(text, "a list of CloudEvents", &["a list"])?;
        let reached = Reached::default();
        reached.read(text, EventList::<Attributes<'_>>::new(context, &reached))
    })
}

fn is_binary(headers: &HeaderMap) -> bool {
    let beginning = media_type(headers).get(..CONTENT_TYPE.len());
    let is_structured = beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(CONTENT_TYPE));
    !is_structured && headers.contains_key("ce-specversion")
}

/// An event in binary mode as the same event in structured mode.
fn from_binary(headers: &HeaderMap, data: &[u8]) -> Result<Vec<u8>, BodyError> {
    let mut event = serde_json::Map::new();
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix("ce-") else { continue };
        let value = attribute(value.as_bytes()).ok_or_else(|| BodyError::InvalidHeader {
            name: header.to_string(),
            expected: "UTF-8, percent-encoded where it is not ASCII",
        })?;
        event.insert(name.to_owned(), value.into());
    }
    let content_type = content_type(headers);
    if !content_type.is_empty() {
        event.insert("datacontenttype".to_owned(), content_type.into());
    }
    let mut text = serde_json::to_vec(&event)?;
    if !data.trim_ascii().is_empty() {
        let data: &RawValue = serde_json::from_slice(data)?;
        text.pop(); // the closing brace
        text.extend(b",\"data\":");
        text.extend(data.get().as_bytes());
        text.push(b'}');
    }
    Ok(text)
}

/// A header's value: quotes around it go, then it is percent-decoded, once.
fn attribute(value: &[u8]) -> Option<String> {
    let value = std::str::from_utf8(value).ok()?.trim();
    let unquoted = match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) => unescaped(inside),
        None => value.to_owned(),
    };
    percent_encoding::percent_decode_str(&unquoted).decode_utf8().ok().map(Cow::into_owned)
}

/// The inside of a quoted string, without the backslashes that protect a character.
fn unescaped(inside: &str) -> String {
    let mut characters = inside.chars();
    let next = || match characters.next() {
        Some('\\') => characters.next(),
        other => other,
    };
    std::iter::from_fn(next).collect()
}

/// The attributes of an event, each as it was sent.
#[derive(Debug, Default)]
struct Attributes<'a> {
    specversion: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    source: Option<&'a RawValue>,
    /// The attribute `type`.
    event_type: Option<&'a RawValue>,
    subject: Option<&'a RawValue>,
    time: Option<&'a RawValue>,
    datacontenttype: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    data_base64: Option<&'a RawValue>,
    /// `dataschema` and extensions: one more than [`MAX_EXTENSIONS`] if there were too many.
    extensions: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// The first attribute that stood there twice.
    repeated: Option<&'static str>,
}

impl<'a> Members<'a> for Attributes<'a> {
    fn put(&mut self, name: Cow<'a, str>, value: &'a RawValue) {
        let (name, slot) = match &*name {
            "specversion" => ("specversion", &mut self.specversion),
            "id" => ("id", &mut self.id),
            "source" => ("source", &mut self.source),
            "type" => ("type", &mut self.event_type),
            "subject" => ("subject", &mut self.subject),
            "time" => ("time", &mut self.time),
            "datacontenttype" => ("datacontenttype", &mut self.datacontenttype),
            "data" => ("data", &mut self.data),
            "data_base64" => ("data_base64", &mut self.data_base64),
            _ => {
                if self.extensions.len() <= MAX_EXTENSIONS {
                    self.extensions.push((name, value));
                }
                return;
            }
        };
        if !put(slot, value) {
            self.repeated.get_or_insert(name);
        }
    }

    fn into_event(self, _: &Context<'_>) -> ReadEvent<'a> {
        self.event().map_err(|rejection| rejection.with_id(json::shown_id(self.id)))
    }
}

/// A text that must be there. The id has bounds of its own, and what is kept as a property has those of properties.
fn required<'a>(
    field: &'static str,
    raw: Option<&'a RawValue>,
    what: &str,
) -> Result<Cow<'a, str>, Rejection> {
    let text = string(field, raw)?;
    let text = if text.as_ref().is_some_and(|text| text.is_empty()) { bounded(field, text)? } else { text };
    text.ok_or_else(|| Rejection::missing(field, what))
}

impl<'a> Attributes<'a> {
    /// The event, if it is a CloudEvent of version 1.0 whose data are JSON.
    fn event(&self) -> ReadEvent<'a> {
        if let Some(name) = self.repeated {
            return Err(Rejection::repeated(name));
        }
        let version = required("specversion", self.specversion, "the version of CloudEvents")?;
        if version != "1.0" {
            let message = format!("expected '1.0', got '{}'", shortened(&version));
            return Err(Rejection::new("specversion", Reason::InvalidValue, message));
        }
        let event_id = required("id", self.id, "the event's id")?;
        let source = required("source", self.source, "the source, within which the id is unique,")?;
        self.check_data_type()?;
        Ok(RawEvent {
            names: &NAMES,
            event_id: Some(event_id),
            source: Some(source),
            user_id: string("subject", self.subject)?,
            event_type: string("type", self.event_type)?,
            occurred_at: string("time", self.time)?.map(RawTime::Text),
            properties: self.properties()?,
            ..RawEvent::default()
        })
    }

    fn check_data_type(&self) -> Result<(), Rejection> {
        if self.data_base64.and_then(not_null).is_some() {
            let message = "expected a JSON object in 'data'; binary data cannot be asked about";
            return Err(Rejection::new("data_base64", Reason::WrongType, message.into()));
        }
        let Some(content_type) = string("datacontenttype", self.datacontenttype)? else { return Ok(()) };
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if media_type == "application/json" || media_type == "text/json" || media_type.ends_with("+json") {
            return Ok(());
        }
        let message = format!("expected JSON, such as application/json, got '{}'", shortened(&content_type));
        Err(Rejection::new("datacontenttype", Reason::InvalidValue, message))
    }

    /// The data, with what else there is to keep.
    fn properties(&self) -> Result<Option<Cow<'a, str>>, Rejection> {
        if self.extensions.len() > MAX_EXTENSIONS {
            let message = format!("at most {MAX_EXTENSIONS} extension attributes are taken");
            return Err(Rejection::of_event(Reason::TooLarge, message));
        }
        for (name, value) in &self.extensions {
            check_extension(name, value)?;
        }
        let source = self.source.map(|source| ("source", source.get()));
        let extensions = self.extensions.iter().filter_map(|(name, raw)| Some((&**name, not_null(raw)?)));
        let context = members::object(source.into_iter().chain(extensions));
        let data = self.data.and_then(not_null).map(Cow::Borrowed);
        Ok(members::put_before([(CONTEXT, context.as_str())], data))
    }
}

fn check_extension(name: &str, value: &RawValue) -> Result<(), Rejection> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        let message = "the name of an attribute may have only lower-case letters and digits; put your own fields inside 'data'";
        return Err(Rejection::of_name(name, Reason::UnknownField, message.into()));
    }
    match kind(value.get()) {
        got @ ("an object" | "a list") => {
            let message = format!("expected a string, a number or a boolean, got {got}");
            Err(Rejection::of_name(name, Reason::WrongType, message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;
    use crate::{
        ingest::validate::{Rules, tests::limits},
        model::project::ProjectId,
    };

    fn read(format: Format, body: &str) -> Result<Body<'_>, BodyError> {
        format.read(body.as_bytes(), &Context::new(2))
    }

    fn event(text: &str) -> ReadEvent<'_> {
        read(STRUCTURED, text).expect("an object").events.remove(0)
    }

    #[test]
    fn events_come_alone_and_in_batches() {
        let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
        let one = read(STRUCTURED, event).expect("an event");
        assert!(one.single && one.events[0].is_ok());
        let body = format!("[{event}, 1]");
        let batch = read(BATCHED, &body).expect("a batch");
        assert!(!batch.single && batch.events[0].is_ok() && batch.events[1].is_err());
        assert!(read(BATCHED, "[]").expect("an empty batch").events.is_empty());
        assert!(matches!(read(STRUCTURED, "[]"), Err(BodyError::WrongShape { got: "a list", .. })));
    }

    #[test]
    fn attributes_are_fields_and_what_has_none_is_kept() {
        let text = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"buy","subject":"anna","traceparent":"00-1",
            "datacontenttype":"application/vnd.shop+json; charset=utf-8","data":{"n":1},"comexampleother":null}"#;
        let buy = event(text).expect("an event");
        assert_eq!((buy.user_id.as_deref(), buy.event_type.as_deref()), (Some("anna"), Some("buy")));
        let properties = r#"{"$cloudevent":{"source":"/shop","traceparent":"00-1"},"n":1}"#;
        assert_eq!(buy.properties.as_deref(), Some(properties));
        let bare = event(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#).expect("an event");
        assert_eq!(bare.properties.as_deref(), Some(r#"{"$cloudevent":{"source":"/s"}}"#));
    }

    #[test]
    fn what_is_no_cloud_event_is_told_which_attribute_and_why() {
        let with = |more: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{more}}}"#);
        for (text, field, code) in [
            (r#"{"id":"1","source":"/s","type":"t"}"#.to_owned(), "specversion", "missing"),
            (
                r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#.into(),
                "specversion",
                "invalid_value",
            ),
            (r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#.into(), "id", "empty"),
            (r#"{"specversion":"1.0","id":"1","type":"t"}"#.into(), "source", "missing"),
            (with(r#","id":"2""#), "id", "repeated_field"),
            (with(r#","data_base64":"eA==""#), "data_base64", "wrong_type"),
            (with(r#","datacontenttype":"text/xml""#), "datacontenttype", "invalid_value"),
            (with(r#","My-Own":"x""#), "My-Own", "unknown_field"),
            (with(r#","own":{}"#), "own", "wrong_type"),
        ] {
            let Rejection { field: named, reason, .. } = event(&text).expect_err("must be refused");
            assert_eq!((named.as_deref(), reason.code()), (Some(field), code), "{text}");
        }
    }

    #[test]
    fn the_rules_of_fields_know_them_as_attributes() {
        let limits = limits();
        let now = "2024-06-01T12:00:00Z".parse().expect("a time");
        let rules =
            Rules { limits: &limits, project_id: ProjectId::from_stored(1), now, idempotency_key: None };
        for (member, field, code) in [
            (r#""data":"text""#, "data", "wrong_type"),
            (r#""time":"yesterday""#, "time", "invalid_time"),
            (r#""subject":"""#, "subject", "empty"),
        ] {
            let text = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t",{member}}}"#);
            let rejection =
                rules.validate(event(&text).expect("attributes"), 0).expect_err("must be refused");
            assert_eq!((rejection.field.as_deref(), rejection.reason.code()), (Some(field), code), "{text}");
            assert_eq!(rejection.event_id.as_deref(), Some("1"));
        }
    }

    #[test]
    fn binary_mode_is_the_same_event_in_structured_mode() {
        let structured = |attributes: &[(&'static str, &[u8])], data: &'static [u8]| {
            let header = |&(name, value): &(&'static str, &[u8])| {
                (::http::HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"))
            };
            let headers: HeaderMap = attributes.iter().map(header).collect();
            assert!(BINARY.recognises(&headers));
            from_binary(&headers, data).map(|text| String::from_utf8(text).expect("JSON"))
        };
        let version: (&str, &[u8]) = ("ce-specversion", b"1.0");
        let id: (&str, &[u8]) = ("ce-id", b"\"a\\\"b\"");
        let event_type: (&str, &[u8]) = ("ce-type", b"caf%C3%A9%20%25");
        let content_type: (&str, &[u8]) = ("content-type", b"application/json");
        assert_eq!(
            structured(&[version, id, event_type, content_type], b" {\"n\": 1} ").expect("an event"),
            r#"{"specversion":"1.0","id":"a\"b","type":"café %","datacontenttype":"application/json","data":{"n": 1}}"#
        );
        assert_eq!(
            structured(&[version, event_type], b"").expect("no data"),
            r#"{"specversion":"1.0","type":"café %"}"#
        );
        assert!(matches!(structured(&[version], b"{"), Err(BodyError::NotJson { .. })));
        let latin1 = structured(&[version, ("ce-subject", b"%E9")], b"");
        assert!(matches!(latin1, Err(BodyError::InvalidHeader { name, .. }) if name == "ce-subject"));
    }
}
