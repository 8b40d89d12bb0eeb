//! Mixpanel's events, and what it says of users.

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::super::{
    super::{Context, ReadEvent, members},
    object::Object,
};
use crate::ingest::validate::{Names, RawEvent, RawTime, Reason, Rejection, bounded, kind};

const OF_EVENT: Names = Names {
    event_id: "$insert_id",
    user_id: "distinct_id",
    event_type: "event",
    occurred_at: "time",
    properties: "properties",
    anonymous_id: "$device_id",
    traits: "$set",
    initial_traits: "$set_once",
};

const OF_PROFILE: Names = Names { user_id: "$distinct_id", occurred_at: "$time", ..OF_EVENT };

/// Properties that are fields of the event, or nobody's business: the key, and the user's address.
const NO_PROPERTIES: [&str; 8] =
    ["token", "distinct_id", "$device_id", "$user_id", "$insert_id", "time", "ip", "$ip"];

/// Ids that Mixpanel takes for nobody's, in small letters.
const BANNED: [&str; 18] = [
    "00000000-0000-0000-0000-000000000000",
    "anon",
    "anonymous",
    "nil",
    "none",
    "null",
    "n/a",
    "na",
    "undefined",
    "unknown",
    "<nil>",
    "0",
    "-1",
    "true",
    "false",
    "[]",
    "{}",
    "$device:",
];

const DEVICE: &str = "$device:";

/// A device whose clock is further ahead is believed nothing: its events are of the time of receipt, as in Mixpanel.
const BELIEVED: TimeDelta = TimeDelta::hours(1);

/// From here on a time is in milliseconds: as seconds, it would be in the year 5138.
const MILLISECONDS: f64 = 1e11;

pub(super) fn event<'a>(raw: &'a RawValue, context: &Context<'_>) -> ReadEvent<'a> {
    let object = Object::of_event(raw)?;
    let properties = match object.get("properties") {
        Some(raw) if !raw.get().starts_with('{') => {
            let message = format!("expected an object, got {}", kind(raw.get()));
            return Err(Rejection::new(OF_EVENT.properties, Reason::WrongType, message));
        }
        raw => Object::of_member(raw),
    };
    let event_id = properties.id("$insert_id");
    let shown = || bounded(OF_EVENT.event_id, event_id.clone()).ok().flatten();
    read(&object, &properties, event_id.clone(), context).map_err(|rejection| rejection.with_id(shown()))
}

fn read<'a>(
    object: &Object<'a>,
    properties: &Object<'a>,
    event_id: Option<Cow<'a, str>>,
    context: &Context<'_>,
) -> ReadEvent<'a> {
    let event_type = object.text("event");
    let occurred_at = time(properties, OF_EVENT.occurred_at)?;
    let is_device = context.call.path == "/track";
    let occurred_at = occurred_at.filter(|time| !is_device || *time - context.received_at <= BELIEVED);
    let event = RawEvent {
        names: &OF_EVENT,
        event_id,
        occurred_at: occurred_at.map(RawTime::Known),
        ..RawEvent::default()
    };
    let id = |name| id(properties, name);
    let (known, other) = match event_type.as_deref() {
        Some("$identify") => (
            id("$identified_id").or_else(|| id("$user_id")).or_else(|| id("distinct_id")),
            id("$anon_distinct_id").or_else(|| id("$anon_id")).or_else(|| device(properties)),
        ),
        Some("$create_alias") => match identity(properties, OF_EVENT.user_id) {
            // Before the login the further name is the user's, as the `$identify` that follows says.
            (None, visitor) => (id("alias"), visitor),
            _ => (id("distinct_id"), id("alias")),
        },
        Some("$merge") => {
            let message = "two known users cannot be merged here: use POST /merges".to_owned();
            return Err(Rejection::new(OF_EVENT.event_type, Reason::InvalidValue, message));
        }
        _ => {
            let (user_id, anonymous_id) = identity(properties, OF_EVENT.user_id);
            let kept = properties.iter().filter(|(name, _)| !NO_PROPERTIES.contains(name));
            let properties = members::object(kept.map(|(name, value)| (name, value.get())));
            return Ok(RawEvent {
                user_id,
                anonymous_id,
                event_type,
                properties: Some(properties.into()),
                ..event
            });
        }
    };
    let known = known.ok_or_else(|| Rejection::missing(OF_EVENT.user_id, "the user"))?;
    let other = other.filter(|other| *other != known);
    Ok(RawEvent { user_id: Some(known), anonymous_id: other, is_only_about_user: true, ..event })
}

/// What is known of a user; nothing, if nothing of it is kept.
pub(super) fn profile(raw: &RawValue) -> Option<ReadEvent<'_>> {
    let object = match Object::of_event(raw) {
        Ok(object) => object,
        Err(rejection) => return Some(Err(rejection)),
    };
    let is_kept = ["$set", "$set_once", "$unset"].iter().any(|name| object.get(name).is_some());
    is_kept.then(|| read_profile(&object))
}

fn read_profile<'a>(object: &Object<'a>) -> ReadEvent<'a> {
    let (user_id, anonymous_id) = identity(object, OF_PROFILE.user_id);
    if user_id.is_none() && anonymous_id.is_none() {
        return Err(Rejection::missing(OF_PROFILE.user_id, "the user whose profile it is"));
    }
    let unset: Vec<Cow<'_, str>> = match object.get("$unset") {
        Some(raw) => serde_json::from_str(raw.get()).map_err(|_| {
            let message = "expected a list of names".to_owned();
            Rejection::new("$unset", Reason::WrongType, message)
        })?,
        None => Vec::new(),
    };
    let set = object.get("$set").map(|raw| Cow::Borrowed(raw.get()));
    Ok(RawEvent {
        names: &OF_PROFILE,
        user_id,
        anonymous_id,
        occurred_at: time(object, OF_PROFILE.occurred_at)?.map(RawTime::Known),
        traits: members::put_before(unset.iter().map(|name| (&**name, "null")), set),
        initial_traits: object.get("$set_once").map(first_values),
        is_only_about_user: true,
        ..RawEvent::default()
    })
}

/// Without what has no value yet: browsers send nulls for all parameters of campaigns that the page does not have.
fn first_values(raw: &RawValue) -> Cow<'_, str> {
    if !raw.get().starts_with('{') {
        return raw.get().into();
    }
    let values = Object::of_member(Some(raw));
    let values = values.iter().map(|(name, value)| (name, value.get()));
    members::object(values.filter(|(_, value)| *value != "null")).into()
}

type UserName<'a> = Option<Cow<'a, str>>;

/// The id of a known user, and one from before a login.
fn identity<'a>(object: &Object<'a>, distinct_id: &str) -> (UserName<'a>, UserName<'a>) {
    let device = device(object);
    if let Some(user_id) = id(object, "$user_id") {
        return (Some(user_id), device);
    }
    match id(object, distinct_id) {
        Some(id) if id.starts_with(DEVICE) || Uuid::try_parse(&id).is_ok() => (None, Some(id)),
        Some(id) if device.as_deref().and_then(|device| device.strip_prefix(DEVICE)) == Some(&id) => {
            (None, device)
        }
        Some(id) => (Some(id), device),
        None => (None, device),
    }
}

/// The id that the user of a device has before a login.
fn device<'a>(object: &Object<'a>) -> UserName<'a> {
    id(object, "$device_id").map(|id| format!("{DEVICE}{id}").into())
}

/// An id that is somebody's.
fn id<'a>(object: &Object<'a>, name: &str) -> UserName<'a> {
    object.id(name).filter(|id| !BANNED.iter().any(|banned| banned.eq_ignore_ascii_case(id.trim())))
}

/// In seconds or milliseconds, to the microsecond.
#[expect(clippy::cast_possible_truncation, reason = "what is no time is found afterwards")]
fn time(object: &Object<'_>, name: &'static str) -> Result<Option<DateTime<Utc>>, Rejection> {
    let Some(raw) = object.get(name) else { return Ok(None) };
    let number: Option<f64> = raw.get().trim_matches('"').parse().ok();
    let microseconds = number.filter(|number| number.is_finite()).map(|number| {
        let factor = if number.abs() < MILLISECONDS { 1e6 } else { 1e3 };
        (number * factor).round() as i64
    });
    let invalid = || {
        let message = "expected seconds or milliseconds since 1970, as a number".to_owned();
        Rejection::new(name, Reason::InvalidTime, message)
    };
    microseconds.and_then(DateTime::from_timestamp_micros).map(Some).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).expect("JSON")
    }

    /// The known user, and the id from before.
    fn of(properties: &str) -> (Option<String>, Option<String>) {
        let text = format!(r#"{{"event":"a","properties":{properties}}}"#);
        let event = event(raw(&text), &Context::new(1)).expect("an event");
        (event.user_id.map(Cow::into_owned), event.anonymous_id.map(Cow::into_owned))
    }

    #[test]
    fn an_event_keeps_what_is_no_field_of_it() {
        let text = r#"{"event":"Order Completed","properties":{"token":"k","distinct_id":"user-42","time":1795648072.230595,
            "$insert_id":"i","mp_lib":"python","ip":"192.0.2.1","tags":["a"]}}"#;
        let event = event(raw(text), &Context::new(1)).expect("an event");
        assert_eq!(event.event_type.as_deref(), Some("Order Completed"));
        assert_eq!(event.event_id.as_deref(), Some("i"));
        assert_eq!(event.properties.as_deref(), Some(r#"{"mp_lib":"python","tags":["a"]}"#));
        let expected = DateTime::from_timestamp_micros(1_795_648_072_230_595).expect("a time");
        assert!(matches!(event.occurred_at, Some(RawTime::Known(time)) if time == expected));
        assert!(!event.is_only_about_user);
    }

    #[test]
    fn ids_are_of_known_users_of_visitors_or_of_nobody() {
        let uuid = "a7c9e1f2-0d34-4c58-9b6a-5e2f81d7c3b0";
        for (properties, known, before) in [
            (r#"{"distinct_id":"$device:d","$device_id":"d"}"#.to_owned(), None, Some("$device:d")),
            (r#"{"distinct_id":"d","$device_id":"d"}"#.into(), None, Some("$device:d")),
            (r#"{"$device_id":"d"}"#.into(), None, Some("$device:d")),
            (r#"{"distinct_id":"u","$user_id":"u","$device_id":"d"}"#.into(), Some("u"), Some("$device:d")),
            (r#"{"distinct_id":"a","$user_id":"b","$device_id":"d"}"#.into(), Some("b"), Some("$device:d")),
            (format!(r#"{{"distinct_id":"{uuid}"}}"#), None, Some(uuid)),
            (format!(r#"{{"distinct_id":"{uuid}","$user_id":"{uuid}"}}"#), Some(uuid), None),
            (r#"{"distinct_id":"user-42"}"#.into(), Some("user-42"), None),
            (r#"{"distinct_id":42}"#.into(), Some("42"), None),
            (r#"{"distinct_id":"Undefined"}"#.into(), None, None),
            (r#"{"distinct_id":"00000000-0000-0000-0000-000000000000"}"#.into(), None, None),
            (r#"{"distinct_id":0,"$user_id":false}"#.into(), None, None),
            (r#"{"distinct_id":""}"#.into(), None, None),
            ("{}".into(), None, None),
        ] {
            let expected = (known.map(str::to_owned), before.map(str::to_owned));
            assert_eq!(of(&properties), expected, "{properties}");
        }
    }

    #[test]
    fn two_ids_of_a_user_are_told_without_an_event() {
        let read = |text: &'static str| event(raw(text), &Context::new(1));
        for (text, user, other) in [
            (
                r#"{"event":"$identify","properties":{"distinct_id":"u","$user_id":"u","$device_id":"d",
                "$anon_distinct_id":"$device:d"}}"#,
                "u",
                Some("$device:d"),
            ),
            (
                r#"{"event":"$identify","properties":{"distinct_id":"u","$identified_id":"u","$anon_id":"x"}}"#,
                "u",
                Some("x"),
            ),
            (r#"{"event":"$create_alias","properties":{"distinct_id":"a","alias":"b"}}"#, "a", Some("b")),
            (r#"{"event":"$create_alias","properties":{"distinct_id":"a","alias":"a"}}"#, "a", None),
            (
                r#"{"event":"$create_alias","properties":{"distinct_id":"$device:1","alias":"u"}}"#,
                "u",
                Some("$device:1"),
            ),
        ] {
            let event = read(text).expect("an event");
            assert!(event.is_only_about_user && event.event_type.is_none(), "{text}");
            assert_eq!(
                (event.user_id.as_deref(), event.anonymous_id.as_deref()),
                (Some(user), other),
                "{text}"
            );
        }
        let nobody = read(r#"{"event":"$identify","properties":{"distinct_id":"null"}}"#);
        assert_eq!(nobody.expect_err("nobody").reason, Reason::Missing);
        assert_eq!(
            read(r#"{"event":"$merge","properties":{}}"#).expect_err("two").reason,
            Reason::InvalidValue
        );
    }

    #[test]
    fn profiles_are_traits() {
        let text = r#"{"$token":"k","$distinct_id":"user-42","$time":1700000000,"$set":{"plan":"pro"},"$unset":["age"],
            "$set_once":{"utm":"n","none":null}}"#;
        let profile = profile(raw(text)).expect("it is kept").expect("a profile");
        assert_eq!(profile.user_id.as_deref(), Some("user-42"));
        assert_eq!(profile.traits.as_deref(), Some(r#"{"age":null,"plan":"pro"}"#));
        assert_eq!(profile.initial_traits.as_deref(), Some(r#"{"utm":"n"}"#));
        assert!(profile.is_only_about_user && profile.occurred_at.is_some());
        for (text, reason) in [
            (r#"{"$set":{"plan":"pro"}}"#, Reason::Missing),
            (r#"{"$distinct_id":"u","$unset":"age"}"#, Reason::WrongType),
            ("7", Reason::NotAnObject),
        ] {
            let rejection = super::profile(raw(text)).expect("it is kept").expect_err("a fault");
            assert_eq!(rejection.reason, reason, "{text}");
        }
    }

    #[test]
    fn times_are_in_seconds_or_milliseconds() {
        for (text, microseconds) in [
            ("1795648072.230595", Some(1_795_648_072_230_595)),
            ("1795475362342", Some(1_795_475_362_342_000)),
            ("1795475362", Some(1_795_475_362_000_000)),
            ("\"1795475362\"", Some(1_795_475_362_000_000)),
            ("1e999", None),
            ("\"NaN\"", None),
            ("\"2026-01-01T00:00:00Z\"", None),
            ("{}", None),
        ] {
            let body = format!("[{{\"time\":{text}}}]");
            let event: Vec<&RawValue> = serde_json::from_str(&body).expect("JSON");
            let object = Object::of_event(event[0]).expect("an object");
            let read = time(&object, "time").ok().flatten().map(|time| time.timestamp_micros());
            assert_eq!(read, microseconds, "{text}");
        }
    }

    #[test]
    fn a_devices_clock_that_is_far_ahead_is_not_believed() {
        let context = Context::new(1);
        let ahead = context.received_at.timestamp() + 7200;
        let text = format!(r#"{{"event":"a","properties":{{"time":{ahead}}}}}"#);
        let call = crate::ingest::wire::Asked { path: "/track", ..Default::default() };
        let from_device = event(raw(&text), &Context { call, ..context }).expect("an event");
        assert!(from_device.occurred_at.is_none());
        let from_server = event(raw(&text), &Context::new(1)).expect("an event");
        assert!(from_server.occurred_at.is_some());
    }
}
