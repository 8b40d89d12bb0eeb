//! Mixpanel: <https://developer.mixpanel.com/reference/ingestion-api>.
//!
//! `/track` and `/import` take events: `event` is the type, `$insert_id` the id, `time` is in seconds or milliseconds, and
//! the other properties stay what they are. `/engage` takes what is known of users: `$set` and `$unset` are traits,
//! `$set_once` are traits that keep their first value. What counts up or changes lists (`$add`, `$append`, `$union`,
//! `$remove`, `$delete`), and all of `/groups`, is not kept, and is answered like success: a refusal would be an error in
//! the program that sends it. The metric `events_rejected_total` counts it as `not_kept`.
//!
//! Who an event is of:
//! - `$user_id` is a known user; `$device:` with `$device_id` behind it is the id that they had before the login.
//! - Without `$user_id`, `distinct_id` is an id from before a login if it begins with `$device:`, is the `$device_id`, or
//!   is a UUID, because servers make UUIDs for visitors, and `$identify` takes no other. Any other is a known user's. A
//!   user whose id is a UUID loses nothing by that: they are counted, and have traits, as everybody.
//! - `$identify` and `$create_alias` say that two ids are one user. As in Mixpanel they are no events of their own.
//! - What programs send by mistake, such as `null` or `undefined`, is nobody's id.
//!
//! JSONP (`callback`) is answered as if it had not been asked for: the events are taken.

mod answer;
mod event;

use std::borrow::Cow;

use ::http::Method;
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use serde_json::value::RawValue;

use super::{
    super::{Body, BodyError, Context, Format, ReadEvent, Reads, json},
    Does, Outcome, Protocol, SdkAnswer, SdkCall, SdkRequest, Taking, Unpacked,
    object::{self, MOST_COMPARED, Object},
};
use crate::ingest::validate::{Reason, Rejection};

const METHODS: &[Method] = &[Method::POST, Method::GET];

const EXPECTED: &str = "an object, a list of objects, or an object in each line";

/// Parameters of a form that are kept: SDKs send two.
const MOST_PARAMETERS: usize = 16;

type Parse = for<'a> fn(&'a [u8], &Context<'_>) -> Result<Body<'a>, BodyError>;

const fn takes(
    path: &'static str,
    methods: &'static [Method],
    summary: &'static str,
    parse: Parse,
    answer: fn(&SdkRequest<'_>, Outcome<'_>) -> SdkAnswer,
) -> SdkCall {
    let format = Format { reads: Reads::Requests(|_| true), unpack: None, parse };
    let does = Does::Take(Taking { key, unpack: Some(unpack), format, answer });
    SdkCall { path, methods, summary, does }
}

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "mixpanel",
    vendor: "Mixpanel",
    calls: &[
        takes("/track", METHODS, "Events", events, answer::plain),
        takes("/import", METHODS, "Events, from servers", events, answer::import),
        takes("/engage", METHODS, "What is known of users", profiles, answer::plain),
        takes(
            "/groups",
            METHODS,
            "What is known of groups, which is not kept",
            group_profiles,
            answer::plain,
        ),
    ],
    at_root: &[],
};

/// The user name of basic authentication; with `project_id`, which goes with a service account, the password, which is
/// that account's secret. Else the token of the events or profiles, which must be the same in all.
fn key<'a>(request: &SdkRequest<'a>) -> Option<Cow<'a, str>> {
    if let Some(user) = request.basic_user() {
        let secret = request.parameter("project_id").and_then(|_| request.basic_password());
        return secret.or(Some(user));
    }
    let text = std::str::from_utf8(request.body?).ok()?.trim_start();
    let objects = if let Ok((objects, _)) = object::list_of_text(text, MOST_COMPARED) {
        objects
    } else {
        // One in each line, or a list that is cut off: what is wrong with it is said when it is read.
        let text = text.strip_prefix('[').unwrap_or(text);
        serde_json::Deserializer::from_str(text).into_iter().map_while(Result::ok).collect()
    };
    object::same_key(objects.into_iter().filter_map(|raw| {
        let object = Object::of_member(Some(raw));
        object.id("$token").or_else(|| Object::of_member(object.get("properties")).id("token"))
    }))
}

/// What is not JSON is a form with JSON or base64 as `data`, whatever its content type says; so is the query of a GET.
fn unpack(request: &SdkRequest<'_>) -> Result<Option<Unpacked>, BodyError> {
    let sent = request.body.unwrap_or_default().trim_ascii_start();
    if matches!(sent.first(), Some(b'{' | b'[')) {
        return Ok(None);
    }
    let (mut data, mut parameters) = (None, Vec::new());
    for (name, value) in form_urlencoded::parse(sent) {
        if name == "data" {
            data.get_or_insert(value);
        } else if parameters.len() < MOST_PARAMETERS {
            parameters.push((name.into_owned(), value.into_owned()));
        }
    }
    let data = data.or_else(|| request.parameter("data").map(Cow::Borrowed));
    let wrong =
        BodyError::WrongShape { expected: "JSON, or JSON or base64 as `data`", got: "something else" };
    let body = data.and_then(decoded).ok_or(wrong)?;
    Ok(Some(Unpacked { body, parameters }))
}

/// JSON, or what base64 has in it. Mixpanel's SDK for Node.js escapes no plus, so that it arrives as a blank.
fn decoded(data: Cow<'_, str>) -> Option<Vec<u8>> {
    let text = data.trim();
    if text.starts_with(['{', '[']) {
        return Some(data.into_owned().into_bytes());
    }
    BASE64_STANDARD_NO_PAD.decode(text.trim_end_matches('=').replace(' ', "+")).ok()
}

fn events<'a>(body: &'a [u8], context: &Context<'_>) -> Result<Body<'a>, BodyError> {
    read(body, context, |object| Some(event::event(object, context)))
}

fn profiles<'a>(body: &'a [u8], context: &Context<'_>) -> Result<Body<'a>, BodyError> {
    read(body, context, event::profile)
}

fn group_profiles<'a>(body: &'a [u8], context: &Context<'_>) -> Result<Body<'a>, BodyError> {
    read(body, context, |_| None)
}

/// Reads the objects of a body, each by `read`, which gives nothing for what is not kept.
fn read<'a>(
    body: &'a [u8],
    context: &Context<'_>,
    read: impl Fn(&'a RawValue) -> Option<ReadEvent<'a>>,
) -> Result<Body<'a>, BodyError> {
    json::text(body, |text| {
        let text = text.trim();
        json::check_kind(text, EXPECTED, &["an object", "a list"])?;
        let (objects, sent) = if text.starts_with('[') {
            let (objects, sent) = object::list_of_text(text, context.max_events)?;
            (objects.into_iter().map(Ok).collect(), sent)
        } else {
            one_or_lines(text, context.max_events)?
        };
        let taken = objects.len();
        let events = objects.into_iter().filter_map(|object| match object {
            Ok(object) => read(object),
            Err(rejection) => Some(Err(rejection)),
        });
        let body = Body::list(events.collect());
        Body { sent, not_kept: taken - body.events.len(), ..body }.not_empty()
    })
}

type ReadObject<'a> = Result<&'a RawValue, Rejection>;

/// An object, or one in each line, at most `limit` of them, and how many there are. A line that cannot be read costs only
/// itself.
fn one_or_lines(text: &str, limit: usize) -> Result<(Vec<ReadObject<'_>>, usize), BodyError> {
    let error = match serde_json::from_str(text) {
        Ok(object) => return Ok((vec![Ok(object)], 1)),
        Err(error) => error,
    };
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let read = |line| {
        let not_json = |error| Rejection::of_event(Reason::InvalidJson, format!("not valid JSON: {error}"));
        serde_json::from_str(line).map_err(not_json)
    };
    let objects: Vec<ReadObject<'_>> = lines.by_ref().take(limit).map(read).collect();
    if objects.iter().all(Result::is_err) {
        return Err(error.into());
    }
    let sent = objects.len() + lines.count();
    Ok((objects, sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(parameters: &[(String, String)], body: &[u8]) -> Option<String> {
        let headers = ::http::HeaderMap::new();
        let request = SdkRequest { path: "", headers: &headers, parameters, body: Some(body) };
        let unpacked = unpack(&request).ok()?;
        let body = unpacked.map_or_else(|| body.to_vec(), |unpacked| unpacked.body);
        Some(String::from_utf8(body).expect("a text"))
    }

    #[test]
    fn json_comes_as_it_is_in_a_form_in_base64_and_in_the_query() {
        let json = r#"{"event":"é > ?","n":"~~~"}"#;
        let base64 = base64::prelude::BASE64_STANDARD.encode(json);
        assert!(base64.contains('+'), "{base64}");
        let escaped: String = form_urlencoded::byte_serialize(json.as_bytes()).collect();
        for body in [
            json.to_owned(),
            format!("data={escaped}&verbose=1&ip=0"),
            format!("verbose=1&data={}", base64.replace('+', "%2B")),
            format!("data={base64}"),
        ] {
            assert_eq!(unpacked(&[], body.as_bytes()).as_deref(), Some(json), "{body}");
        }
        assert_eq!(unpacked(&[("data".into(), base64.replace('+', " "))], b"").as_deref(), Some(json));
        for wrong in ["", "data=*", "verbose=1"] {
            assert_eq!(unpacked(&[], wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn the_key_is_the_token_of_all_or_of_basic_authentication() {
        let service_account = [("project_id".to_owned(), "1".to_owned())];
        let key = |authorization: &str, parameters: &[(String, String)], body: &str| {
            let mut headers = ::http::HeaderMap::new();
            headers.insert("authorization", authorization.parse().expect("a header"));
            let request = SdkRequest { path: "", headers: &headers, parameters, body: Some(body.as_bytes()) };
            super::key(&request).map(Cow::into_owned)
        };
        let event = r#"{"event":"a","properties":{"token":"k"}}"#;
        for (authorization, parameters, body, expected) in [
            ("", &[][..], event, Some("k")),
            ("", &[], &format!(" [{event},"), Some("k")),
            ("", &[], &format!("{event}\n{{"), Some("k")),
            ("", &[], r#"{"$token":"k","$set":{}}"#, Some("k")),
            ("Basic azo=", &[], "", Some("k")),                  // k:
            ("Basic dTpr", &service_account[..], "", Some("k")), // u:k
            ("Basic azo=", &service_account[..], "", Some("k")),
            ("", &[], "[]", None),
            ("", &[], &format!("[{event},{event}]"), Some("k")),
            ("", &[], &format!(r#"[{event},{{"event":"a","properties":{{"token":"other"}}}}]"#), None),
            ("", &[], &format!("{event}\n{{\"$token\":\"other\"}}"), None),
        ] {
            assert_eq!(key(authorization, parameters, body).as_deref(), expected, "{authorization} {body}");
        }
    }

    #[test]
    fn a_body_is_an_object_a_list_or_lines() {
        let read = |body: &'static str| events(body.as_bytes(), &Context::new(2));
        let number =
            |body| read(body).map(|body| (body.sent, body.events.iter().filter(|one| one.is_ok()).count()));
        for (body, expected) in [
            (r#"{"event":"a"}"#, (1, 1)),
            ("{\n\"event\":\"a\"\n}", (1, 1)),
            (r#"[{"event":"a"},7]"#, (2, 1)),
            ("{\"event\":\"a\"}\r\n\n{\"event\":", (2, 1)),
            (r#"[{"event":"a"},{"event":"b"},{"event":"c"}]"#, (3, 2)),
        ] {
            assert_eq!(number(body).expect("a body"), expected, "{body}");
        }
        assert!(matches!(read("[]"), Err(BodyError::Empty)));
        assert!(matches!(read("{\"event\":\n"), Err(BodyError::NotJson { .. })));
        assert!(matches!(read("17"), Err(BodyError::WrongShape { .. })));
    }

    #[test]
    fn what_is_not_kept_is_counted() {
        let body = br#"[{"$distinct_id":"u","$add":{"n":1}},{"$distinct_id":"u","$set":{"n":1}}]"#;
        let read = profiles(body, &Context::new(9)).expect("a body");
        assert_eq!((read.sent, read.events.len(), read.not_kept), (2, 1, 1));
        let read = group_profiles(body, &Context::new(9)).expect("a body");
        assert_eq!((read.sent, read.events.len(), read.not_kept), (2, 0, 2));
    }
}
