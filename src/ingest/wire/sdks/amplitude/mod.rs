//! Amplitude: <https://amplitude.com/docs/apis/analytics/http-v2>.
//!
//! `event_type` is the type, `insert_id` the id within its device, `time` is in milliseconds. `event_properties` are the
//! properties; what else an event says of its device becomes a property of the same name, such as `platform`, `language`,
//! `session_id` and `groups`. Addresses, places and ids for advertisements are not kept.
//!
//! `user_id` is a known user, `device_id` the id that they had before the login. `user_properties` are traits: `$set` and
//! members without an operation, `$setOnce` keeps its first value, `$unset` takes it away. What counts up or changes lists
//! (`$add`, `$append`, …) is not kept. `$identify` and `$groupidentify` are no events of their own: Amplitude does not
//! count them as activity, and profiles of groups are not kept.
//!
//! If one event is not valid, nothing of its request is taken: SDKs throw away those that the answer lists, and send all
//! others again at once.

mod answer;

use std::borrow::Cow;

use ::http::Method;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use super::{
    super::{Body, BodyError, Context, Format, ReadEvent, Reads, json, members},
    Does, Protocol, SdkCall, SdkRequest, Taking, UnpackRequest, Unpacked,
    clock::corrected,
    object::{self, Object},
};
use crate::{
    ingest::validate::{Names, RawEvent, RawTime, Reason, Rejection, bounded, kind},
    model::rfc3339,
};

const fn takes(path: &'static str, summary: &'static str, unpack: Option<UnpackRequest>) -> SdkCall {
    let format = Format { reads: Reads::Requests(|_| true), unpack: None, parse };
    SdkCall {
        path,
        methods: &[Method::POST],
        summary,
        does: Does::Take(Taking { key, unpack, format, answer: answer::answer }),
    }
}

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "amplitude",
    vendor: "Amplitude",
    calls: &[
        takes("/2/httpapi", "Events", None),
        takes("/batch", "Many events", None),
        takes("/identify", "What is known of users", Some(unpack)),
    ],
    at_root: &["/2/httpapi"],
};

const NAMES: Names = Names {
    event_id: "insert_id",
    user_id: "user_id",
    event_type: "event_type",
    occurred_at: "time",
    properties: "event_properties",
    anonymous_id: "device_id",
    traits: "user_properties",
    initial_traits: "user_properties",
};

/// Members that are fields of the event, an SDK's own business, or nobody's.
const NO_PROPERTIES: [&str; 19] = [
    "event_type",
    "user_id",
    "device_id",
    "time",
    "insert_id",
    "event_properties",
    "user_properties",
    "group_properties",
    "api_key",
    "event_id",
    "$skip_user_properties_sync",
    "ip",
    "location_lat",
    "location_lng",
    "idfa",
    "idfv",
    "adid",
    "android_id",
    "partner_id",
];

/// Characters of an id, unless the request says another number.
const MIN_ID_LENGTH: usize = 5;

/// The body's `api_key`, or a form's.
fn key<'a>(request: &SdkRequest<'a>) -> Option<Cow<'a, str>> {
    if let Some(key) = request.parameter("api_key") {
        return Some(key.into());
    }
    let body = std::str::from_utf8(request.body?).ok()?;
    Object::of_body(body, "a request").ok()?.id("api_key")
}

/// A form with JSON as `identification`. Other parameters than the key mean nothing.
fn unpack(request: &SdkRequest<'_>) -> Result<Option<Unpacked>, BodyError> {
    let sent = request.body.unwrap_or_default().trim_ascii_start();
    if sent.starts_with(b"{") {
        return Ok(None);
    }
    let of_form = |wanted| form_urlencoded::parse(sent).find(|(name, _)| name == wanted);
    let expected = "JSON, or JSON as `identification` in a form";
    let (_, identification) =
        of_form("identification").ok_or(BodyError::WrongShape { expected, got: "something else" })?;
    let key = of_form("api_key").map(|(name, key)| (name.into_owned(), key.into_owned()));
    let body = identification.into_owned().into_bytes();
    Ok(Some(Unpacked { body, parameters: key.into_iter().collect() }))
}

fn parse<'a>(body: &'a [u8], context: &Context<'_>) -> Result<Body<'a>, BodyError> {
    json::text(body, |text| {
        let text = text.trim();
        json::check_kind(text, "{\"events\": […]}", &["an object", "a list"])?;
        if text.starts_with('[') {
            return read(text, &Upload::default(), context);
        }
        let body = Object::of_body(text, "{\"events\": […]}")?;
        let options = Object::of_member(body.get("options"));
        let min_id_length = options.get("min_id_length").and_then(|length| length.get().parse().ok());
        let uploaded_at = body.text("client_upload_time").and_then(|time| rfc3339::parse(&time).ok());
        let upload = Upload { min_id_length: min_id_length.unwrap_or(MIN_ID_LENGTH), uploaded_at };
        match body.get("events").or_else(|| body.get("identification")) {
            Some(events) => read(events.get(), &upload, context),
            // A form has what is known of one user, without a list around it.
            None if context.call.path == "/identify" => read(text, &upload, context),
            None => Err(BodyError::Empty),
        }
    })
}

fn read<'a>(text: &'a str, upload: &Upload, context: &Context<'_>) -> Result<Body<'a>, BodyError> {
    let is_list = text.starts_with('[');
    let (events, sent) = if is_list {
        object::list_of_text(text, context.max_events)?
    } else {
        (vec![serde_json::from_str(text)?], 1)
    };
    let events = events.into_iter().map(|raw| upload.read(raw, context)).collect();
    Body { sent, all_or_nothing: true, ..Body::list(events) }.not_empty()
}

/// What holds for all events of a request.
#[derive(Clone, Copy)]
struct Upload {
    min_id_length: usize,
    /// By the sender's clock.
    uploaded_at: Option<DateTime<Utc>>,
}

impl Default for Upload {
    fn default() -> Self {
        Self { min_id_length: MIN_ID_LENGTH, uploaded_at: None }
    }
}

impl Upload {
    fn read<'a>(&self, raw: &'a RawValue, context: &Context<'_>) -> ReadEvent<'a> {
        let object = Object::of_event(raw)?;
        let id = object.id("insert_id");
        let shown = || bounded(NAMES.event_id, id.clone()).ok().flatten();
        self.event(&object, id.clone(), context).map_err(|rejection| rejection.with_id(shown()))
    }

    fn event<'a>(
        &self,
        object: &Object<'a>,
        event_id: Option<Cow<'a, str>>,
        context: &Context<'_>,
    ) -> ReadEvent<'a> {
        let user_id = self.user(object, NAMES.user_id)?;
        let anonymous_id = self.user(object, NAMES.anonymous_id)?;
        if user_id.is_none() && anonymous_id.is_none() {
            return Err(Rejection::missing(NAMES.user_id, "`user_id` or `device_id`"));
        }
        let event_type = object.text("event_type");
        let is_identify = context.call.path == "/identify" || event_type.as_deref() == Some("$identify");
        let is_group = event_type.as_deref() == Some("$groupidentify");
        let is_only_about_user = is_identify || is_group;
        let (traits, initial_traits) = match object.get("user_properties").filter(|_| !is_group) {
            Some(raw) => traits(raw)?,
            None => (None, None),
        };
        Ok(RawEvent {
            names: &NAMES,
            event_id,
            source: anonymous_id.clone().or_else(|| user_id.clone()),
            user_id,
            anonymous_id,
            event_type: event_type.filter(|_| !is_only_about_user),
            occurred_at: self.time(object, context)?.map(RawTime::Known),
            properties: if is_only_about_user { None } else { properties(object) },
            traits,
            initial_traits,
            is_only_about_user,
        })
    }

    fn user<'a>(&self, object: &Object<'a>, field: &'static str) -> Result<Option<Cow<'a, str>>, Rejection> {
        let id = object.id(field);
        match &id {
            Some(id) if id.chars().take(self.min_id_length).count() < self.min_id_length => {
                let message = format!("expected at least {} characters, got '{id}'", self.min_id_length);
                Err(Rejection::new(field, TOO_SHORT, message))
            }
            _ => Ok(id),
        }
    }

    fn time(&self, object: &Object<'_>, context: &Context<'_>) -> Result<Option<DateTime<Utc>>, Rejection> {
        let Some(raw) = object.get(NAMES.occurred_at) else { return Ok(None) };
        let milliseconds = raw.get().parse().ok();
        let Some(time) = milliseconds.and_then(DateTime::from_timestamp_millis) else {
            let message = "expected milliseconds since 1970, as a whole number".to_owned();
            return Err(Rejection::new(NAMES.occurred_at, Reason::InvalidTime, message));
        };
        Ok(Some(corrected(time, self.uploaded_at, context.received_at)))
    }
}

/// With the field of an id, this says that it is too short.
const TOO_SHORT: Reason = Reason::InvalidValue;

/// The event's own, with what it says of its device.
fn properties<'a>(object: &Object<'a>) -> Option<Cow<'a, str>> {
    let others = object.iter().filter(|(name, value)| !NO_PROPERTIES.contains(name) && value.get() != "null");
    object.with_others(NAMES.properties, others.map(|(name, value)| (name, value.get())))
}

type Traits<'a> = (Option<Cow<'a, str>>, Option<Cow<'a, str>>);

/// Traits, and those that keep their first value.
fn traits(raw: &RawValue) -> Result<Traits<'_>, Rejection> {
    if !raw.get().starts_with('{') {
        let message = format!("expected an object, got {}", kind(raw.get()));
        return Err(Rejection::new(NAMES.traits, Reason::WrongType, message));
    }
    let all = Object::of_member(Some(raw));
    let (set, unset) = (Object::of_member(all.get("$set")), Object::of_member(all.get("$unset")));
    let plain = all.iter().filter(|(name, _)| !name.starts_with('$'));
    let set = plain.chain(set.iter()).map(|(name, value)| (name, value.get()));
    let mut traits = unset.iter().map(|(name, _)| (name, "null")).chain(set).peekable();
    let traits = traits.peek().is_some().then(|| members::object(traits).into());
    Ok((traits, all.get("$setOnce").map(|raw| raw.get().into())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{answer::not_valid, *};
    use crate::ingest::receipt::Rejected;

    fn read(body: &str) -> Body<'_> {
        let Does::Take(taking) = &PROTOCOL.calls[0].does else { panic!("it takes events") };
        let body = taking.format.read(body.as_bytes(), &Context::new(9)).expect("a body");
        assert!(body.all_or_nothing);
        body
    }

    fn one(event: &str) -> RawEvent<'static> {
        let body: &'static str = format!(r#"{{"api_key":"k","events":[{event}]}}"#).leak();
        read(body).events.remove(0).expect("an event")
    }

    #[test]
    fn an_event_says_who_when_and_on_which_device() {
        let event = one(
            r#"{"user_id":"user-42","device_id":"device-1","session_id":1795648287357,"time":1795648287519,
            "platform":"Web","ip":"$remote","insert_id":"i","event_type":"Order Completed","event_id":6,"price":null,
            "groups":{"company":"c"},"event_properties":{"price":19.9}}"#,
        );
        assert_eq!(
            (event.event_type.as_deref(), event.event_id.as_deref(), event.source.as_deref()),
            (Some("Order Completed"), Some("i"), Some("device-1"))
        );
        assert_eq!(
            (event.user_id.as_deref(), event.anonymous_id.as_deref()),
            (Some("user-42"), Some("device-1"))
        );
        let expected = DateTime::from_timestamp_millis(1_795_648_287_519).expect("a time");
        assert!(matches!(event.occurred_at, Some(RawTime::Known(time)) if time == expected));
        let properties =
            r#"{"session_id":1795648287357,"platform":"Web","groups":{"company":"c"},"price":19.9}"#;
        assert_eq!(event.properties.as_deref(), Some(properties));
        assert!(!event.is_only_about_user);
    }

    #[test]
    fn identify_says_traits_and_is_no_event() {
        let event = one(r#"{"device_id":"device-1","event_type":"$identify","user_properties":{"plan":"pro",
            "$setOnce":{"initial_utm":"EMPTY"},"$unset":{"utm":"-"},"$set":{"utm":"n"},"$add":{"n":1}}}"#);
        assert!(event.is_only_about_user && event.event_type.is_none() && event.properties.is_none());
        assert_eq!(event.traits.as_deref(), Some(r#"{"utm":null,"plan":"pro","utm":"n"}"#));
        assert_eq!(event.initial_traits.as_deref(), Some(r#"{"initial_utm":"EMPTY"}"#));
        let group = one(r#"{"user_id":"user-42","event_type":"$groupidentify","user_properties":{"a":1},
            "group_properties":{"$set":{"b":1}}}"#);
        assert!(group.is_only_about_user && group.traits.is_none(), "{group:?}");
    }

    #[test]
    fn each_fault_is_listed_by_its_field() {
        let body = read(
            r#"{"api_key":"k","options":{"min_id_length":6},"events":[{"event_type":"a","user_id":"12345"},
            {"event_type":"a"},{"event_type":"a","user_id":"123456","time":"2026-01-01T00:00:00Z"},
            {"event_type":"a","device_id":"1234567","time":1.5},7,{"user_id":"123456","user_properties":[]}]}"#,
        );
        let rejected = body.events.into_iter().enumerate();
        let rejected: Vec<_> = rejected
            .map(|(index, event)| Rejected { index, rejection: event.expect_err("a fault") })
            .collect();
        let mut lists = not_valid(&rejected);
        assert!(
            lists["error"]
                .take()
                .as_str()
                .is_some_and(|error| error.contains("6 events are not valid; the first: user_id: "))
        );
        let expected = json!({
            "code": 400, "error": null,
            "events_with_invalid_id_lengths": {"user_id": [0]},
            "events_with_missing_fields": {"user_id": [1]},
            "events_with_invalid_fields": {"time": [2, 3], "event": [4], "user_properties": [5]},
        });
        assert_eq!(lists, expected);
    }

    #[test]
    fn a_clock_that_is_wrong_is_corrected_by_the_time_of_upload() {
        let body = r#"{"client_upload_time":"2020-01-01T00:00:10Z","events":[{"event_type":"a",
            "device_id":"device-1","time":1577836800000}]}"#;
        let event = read(body).events.remove(0).expect("an event");
        let Some(RawTime::Known(time)) = event.occurred_at else { panic!("a time") };
        let ago = (Utc::now() - time).num_seconds();
        assert!((10..60).contains(&ago), "{ago}");
    }

    #[test]
    fn a_form_has_its_key_beside_what_it_says_of_a_user() {
        let headers = ::http::HeaderMap::new();
        let form = b"api_key=k&identification=%7B%22user_id%22%3A%22user-42%22%7D";
        let request = SdkRequest { path: "/identify", headers: &headers, parameters: &[], body: Some(form) };
        let unpacked = unpack(&request).expect("a form").expect("a package");
        assert_eq!(unpacked.body, br#"{"user_id":"user-42"}"#);
        let unpacked = SdkRequest { parameters: &unpacked.parameters, ..request };
        assert_eq!(key(&unpacked).as_deref(), Some("k"));
    }
}
