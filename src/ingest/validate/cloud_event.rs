//! What a CloudEvent's attributes are to weir.
//!
//! `type` is the event's type, `subject` its user, `time` its time, `data` its properties. An `id` is unique within its
//! `source`, so both make the event's id. What has no field of its own (the source, the schema, extensions) is kept in
//! the property `$cloudevent`.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{Names, Reason, Rejection, Texts, bounded, members, repeated, shortened, text::string};
use crate::ingest::wire::{MAX_EXTENSIONS, RawCloudEvent, kind};

const NAMES: Names =
    Names { event_id: "id", user_id: "subject", event_type: "type", occurred_at: "time", properties: "data" };

/// The property that holds what has no field of its own.
const CONTEXT: &str = "$cloudevent";

/// An event's texts, if it is a CloudEvent of version 1.0 whose data are a JSON object.
pub(super) fn texts<'a>(event: &RawCloudEvent<'a>, index: usize) -> Result<Texts<'a>, Rejection> {
    if let Some(name) = event.repeated {
        return Err(repeated(name));
    }
    let required = |field, raw, what| {
        let text = not_empty(field, string(field, raw)?)?;
        text.ok_or_else(|| Rejection::missing(field, what))
    };
    let version = required("specversion", event.specversion, "the version of CloudEvents")?;
    if version != "1.0" {
        let message = format!("expected '1.0', got '{}'", shortened(&version));
        return Err(Rejection::new("specversion", Reason::InvalidValue, message));
    }
    let id = required("id", event.id, "the event's id")?;
    let source = required("source", event.source, "the source, within which the id is unique,")?;
    check_data_type(event)?;
    Ok(Texts {
        names: &NAMES,
        event_id: Some(id),
        source: Some(source),
        user_id: string("subject", event.subject)?,
        event_type: string("type", event.event_type)?,
        occurred_at: string("time", event.time)?,
        properties: Some(properties(event)?),
        index,
    })
}

/// A text that is not empty. The id has bounds of its own, and what is kept as a property has those of properties.
fn not_empty<'a>(field: &'static str, text: Option<Cow<'a, str>>) -> Result<Option<Cow<'a, str>>, Rejection> {
    if text.as_ref().is_some_and(|text| text.is_empty()) { bounded(field, text) } else { Ok(text) }
}

fn check_data_type(event: &RawCloudEvent<'_>) -> Result<(), Rejection> {
    if event.data_base64.is_some_and(|raw| raw.get() != "null") {
        let message = "expected a JSON object in 'data'; binary data cannot be asked about";
        return Err(Rejection::new("data_base64", Reason::WrongType, message.into()));
    }
    let Some(media_type) = string("datacontenttype", event.datacontenttype)? else { return Ok(()) };
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence == "text/json" || essence.ends_with("+json") {
        return Ok(());
    }
    let message = format!("expected JSON, such as application/json, got '{}'", shortened(&media_type));
    Err(Rejection::new("datacontenttype", Reason::InvalidValue, message))
}

/// The data, with what else there is to keep.
fn properties<'a>(event: &RawCloudEvent<'a>) -> Result<Cow<'a, str>, Rejection> {
    let data = event.data.map(RawValue::get).filter(|data| *data != "null");
    if let Some(other) = data.filter(|data| !data.starts_with('{')) {
        let message = format!("expected an object, got {}", kind(other));
        return Err(Rejection::new("data", Reason::WrongType, message));
    }
    if event.extensions.len() > MAX_EXTENSIONS {
        let message = format!("at most {MAX_EXTENSIONS} extension attributes are taken");
        return Err(Rejection::of_event(Reason::TooLarge, message));
    }
    let mut context: Vec<(Cow<'a, str>, &'a RawValue)> = Vec::with_capacity(event.extensions.len() + 1);
    context.extend(event.source.map(|source| ("source".into(), source)));
    for (name, value) in &event.extensions {
        check_extension(name, value)?;
        if value.get() != "null" {
            context.push((name.clone(), value));
        }
    }
    let context: Box<RawValue> = RawValue::from_string(members::object(&context))
        .map_err(|error| Rejection::of_event(Reason::InvalidText, error.to_string()))?;
    members::put_before(&[(CONTEXT.into(), &*context)], data.map(Cow::Borrowed))
        .map(|text| text.into_owned().into())
}

fn check_extension(name: &str, value: &RawValue) -> Result<(), Rejection> {
    let refused = |reason, message| Err(Rejection { field: Some(shortened(name).into()), reason, message });
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        let message = "the name of an attribute may have only lower-case letters and digits; put your own fields inside 'data'";
        return refused(Reason::UnknownField, message.into());
    }
    match kind(value.get()) {
        got @ ("an object" | "a list") => {
            refused(Reason::WrongType, format!("expected a string, a number or a boolean, got {got}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::wire::{Format, RawEvent, decode};

    fn judged(event: &str) -> Result<(Option<String>, String, String), (String, &'static str)> {
        let decoded = decode(event.as_bytes(), Format::CloudEvent, 1).expect("an object");
        let RawEvent::CloudEvent(event) = &decoded.events[0] else { panic!("a CloudEvent") };
        let texts = texts(event, 0).map_err(|rejection| {
            (rejection.field.unwrap_or_default().into_owned(), rejection.reason.code())
        })?;
        Ok((
            texts.user_id.map(Cow::into_owned),
            texts.event_type.unwrap_or_default().into_owned(),
            texts.properties.unwrap_or_default().into_owned(),
        ))
    }

    #[test]
    fn attributes_are_fields_and_what_has_none_is_kept() {
        let event = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"buy","subject":"anna","traceparent":"00-1",
            "datacontenttype":"application/vnd.shop+json; charset=utf-8","data":{"n":1},"comexampleother":null}"#;
        let (user, event_type, properties) = judged(event).expect("valid");
        assert_eq!((user.as_deref(), event_type.as_str()), (Some("anna"), "buy"));
        assert_eq!(properties, r#"{"$cloudevent":{"source":"/shop","traceparent":"00-1"},"n":1}"#);
        let (.., properties) =
            judged(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#).expect("valid");
        assert_eq!(properties, r#"{"$cloudevent":{"source":"/s"}}"#);
    }

    #[test]
    fn what_is_no_cloud_event_is_told_which_attribute_and_why() {
        let with = |more: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{more}}}"#);
        for (event, field, code) in [
            (r#"{"id":"1","source":"/s","type":"t"}"#.to_owned(), "specversion", "missing"),
            (
                r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#.into(),
                "specversion",
                "invalid_value",
            ),
            (r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#.into(), "id", "empty"),
            (r#"{"specversion":"1.0","id":"1","type":"t"}"#.into(), "source", "missing"),
            (with(r#","id":"2""#), "id", "repeated_field"),
            (with(r#","data":"text""#), "data", "wrong_type"),
            (with(r#","data_base64":"eA==""#), "data_base64", "wrong_type"),
            (with(r#","datacontenttype":"text/xml""#), "datacontenttype", "invalid_value"),
            (with(r#","My-Own":"x""#), "My-Own", "unknown_field"),
            (with(r#","own":{}"#), "own", "wrong_type"),
        ] {
            assert_eq!(judged(&event), Err((field.to_owned(), code)), "{event}");
        }
    }
}
