//! PostHog: <https://posthog.com/docs/api/capture>, and its newer call for several events, which says of each what became
//! of it.
//!
//! `event` is the type, also of `$identify`, `$set`, `$create_alias` and `$groupidentify`, which are events in PostHog, too.
//! `uuid` is the event's id, and any text is good for one. What else stands beside the properties is not kept; and of the
//! properties, not what is another field of the event (the key, the user, `$set`), nor the address of the user.
//!
//! **Who is who.** `$identify` names a known user, and with `$anon_distinct_id` who that was before; `$create_alias` another
//! name of a known user. Any other event is of somebody known only if `$is_identified` says so, as in posthog-js. From
//! elsewhere, an id that no `$identify` has named is as good as one from before a login, also if a server sends it: as in
//! PostHog, it is a user of its own until an `$identify` or an alias makes it another name of somebody else. A server that
//! says `user-42` and nobody else does, has its user 42; and a server that forwards the id of a browser does not keep that
//! visitor from becoming known.
//!
//! **What is not taken.** Bodies packed with lz-string, which SDKs before 2021 may send: its unpacker has no bound on what a
//! few bytes become, and an SDK sends it only if the server's settings ask for it, which weir's do not. Replays of sessions
//! are thrown away.

mod answers;
mod event;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use ::http::Method;
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use chrono::{DateTime, Datelike, Utc};
use serde_json::value::RawValue;

use self::event::read;
use super::{
    super::{Body, BodyError, Context, Format, Reads, content_type, json},
    Does, Protocol, SdkCall, SdkRequest, Taking, Unpacked,
    object::{MOST_COMPARED, Object, list, same_key},
};
use crate::{ingest::validate::kind, model::rfc3339};

const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];
const BOTH: &[Method] = &[Method::GET, Method::POST];

const ENGAGE: &str = "/engage";

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "posthog",
    vendor: "PostHog",
    calls: &[
        takes("/batch", "Several events"),
        takes("/e", "Events, from a browser"),
        takes("/i/v0/e", "Events, as newer SDKs send them"),
        takes("/capture", "An event"),
        takes("/track", "An event, as older SDKs send it"),
        takes(ENGAGE, "What a user is like"),
        SdkCall {
            path: "/i/v1/analytics/events",
            methods: POST,
            summary: "Several events, with an answer for each",
            does: Does::Take(Taking {
                key: |request| request.bearer(),
                unpack: None,
                format: Format { parse: parse_named, ..FORMAT },
                answer: answers::of_each,
            }),
        },
        says("/s", BOTH, "Replays of sessions, which are thrown away", answers::thrown_away),
        says("/flags", BOTH, "Feature flags: there are none", answers::flags),
        says("/decide", BOTH, "Feature flags and settings, for older SDKs", answers::decide),
        says("/array/{key}/config", GET, "Settings of posthog-js", answers::settings),
        says("/array/{key}/config.js", GET, "Settings of posthog-js, as a script", answers::no_script),
    ],
    // Others are of several vendors.
    at_root: &["/e", "/i", "/capture", "/flags", "/decide", "/array"],
};

const fn takes(path: &'static str, summary: &'static str) -> SdkCall {
    let taking = Taking { key, unpack: Some(unpack), format: FORMAT, answer: answers::of_all };
    SdkCall { path, methods: BOTH, summary, does: Does::Take(taking) }
}

const fn says(
    path: &'static str,
    methods: &'static [Method],
    summary: &'static str,
    answer: fn(&SdkRequest<'_>) -> super::SdkAnswer,
) -> SdkCall {
    SdkCall { path, methods, summary, does: Does::Say(answer) }
}

const FORMAT: Format = Format { reads: Reads::Requests(|_| true), unpack: None, parse };

/// With or without the signs that fill it up.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// As it is called at the top of a body, and in an event.
const KEYS: [&str; 3] = ["api_key", "token", "$token"];

/// The body's, or else that of its events, which must be the same in all.
fn key<'a>(request: &SdkRequest<'a>) -> Option<Cow<'a, str>> {
    let text = std::str::from_utf8(request.body?).ok()?;
    let events = if is_list(text) {
        serde_json::from_str(text).ok()?
    } else {
        let body = Object::of_body(text, "events").ok()?;
        let key = key_of_event(&body);
        if key.is_some() {
            return key;
        }
        body.get("batch")?
    };
    let (events, _) = list(events, MOST_COMPARED).ok()?;
    same_key(events.into_iter().filter_map(|event| key_of_event(&Object::of_member(Some(event)))))
}

fn key_of_event<'a>(event: &Object<'a>) -> Option<Cow<'a, str>> {
    let at_top = KEYS.into_iter().find_map(|name| event.id(name));
    at_top.or_else(|| Object::of_member(event.get("properties")).id("token"))
}

fn is_list(text: &str) -> bool {
    text.trim_start().starts_with('[')
}

/// JSON comes as it is, or as `data` in a form or in the query, or as base64 in all of these places.
fn unpack(request: &SdkRequest<'_>) -> Result<Option<Unpacked>, BodyError> {
    let body = request.body.unwrap_or_default();
    if is_json(body) {
        return Ok(None);
    }
    if matches!(request.parameter("compression"), Some("lz64" | "lz-string")) {
        return Err(BodyError::WrongShape { expected: "JSON, gzip or base64", got: "lz-string" });
    }
    let is_form = content_type(request.headers).starts_with("application/x-www-form-urlencoded");
    let parameters: Vec<(String, String)> = match body {
        _ if is_form || body.starts_with(b"data=") => form_urlencoded::parse(body).into_owned().collect(),
        _ => Vec::new(),
    };
    let sent = parameters.iter().find(|(name, _)| name == "data").map(|(_, data)| data.as_bytes());
    let in_query = || request.parameter("data").filter(|_| body.is_empty()).map(str::as_bytes);
    let data = sent.or_else(in_query).unwrap_or(body);
    let body = if is_json(data) { data.to_vec() } else { decoded(data)? };
    Ok(Some(Unpacked { body, parameters }))
}

fn is_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Of base64, in which a plus sign has become a blank if nobody has encoded it for the form.
fn decoded(data: &[u8]) -> Result<Vec<u8>, BodyError> {
    let data: Vec<u8> =
        data.trim_ascii().iter().map(|&sign| if sign == b' ' { b'+' } else { sign }).collect();
    match BASE64.decode(data) {
        Ok(decoded) if !decoded.is_empty() => Ok(decoded),
        Ok(_) => Err(BodyError::Empty),
        Err(_) => Err(BodyError::WrongShape { expected: "JSON, gzip or base64", got: "something else" }),
    }
}

fn parse<'a>(body: &'a [u8], context: &Context<'_>) -> Result<Body<'a>, BodyError> {
    json::text(body, |text| {
        if is_list(text) {
            return events(serde_json::from_str(text)?, sent_at_of_query(context), context);
        }
        let body = Object::of_body(text, "an event, a list of events or {\"batch\": […]}")?;
        let sent_at = body.text("sent_at").and_then(|time| rfc3339::parse(&time).ok());
        let sent_at = sent_at.or_else(|| sent_at_of_query(context));
        match body.get("batch") {
            Some(batch) => events(batch, sent_at, context),
            None => Ok(Body::single(read(&body, sent_at, context))),
        }
    })
}

/// Of the call whose answer names each event. When it was sent, a header says.
fn parse_named<'a>(body: &'a [u8], context: &Context<'_>) -> Result<Body<'a>, BodyError> {
    json::text(body, |text| {
        let body = Object::of_body(text, "{\"batch\": […]}")?;
        let sent_at = context.call.headers.and_then(|headers| headers.get("posthog-request-timestamp"));
        let sent_at = sent_at.and_then(|time| rfc3339::parse(time.to_str().ok()?).ok());
        let batch = body.get("batch").ok_or(BodyError::Empty)?;
        Ok(Body { names_events: true, ..events(batch, sent_at, context)? })
    })
}

fn events<'a>(
    raw: &'a RawValue,
    sent_at: Option<DateTime<Utc>>,
    context: &Context<'_>,
) -> Result<Body<'a>, BodyError> {
    let (events, sent) = list(raw, context.max_events)
        .map_err(|_| BodyError::WrongShape { expected: "a list of events", got: kind(raw.get()) })?;
    let events = events.into_iter().map(|raw| read(&Object::of_event(raw)?, sent_at, context));
    Body { sent, ..Body::list(events.collect()) }.not_empty()
}

/// In milliseconds. What would be long ago are seconds.
fn sent_at_of_query(context: &Context<'_>) -> Option<DateTime<Utc>> {
    let (_, milliseconds) = context.call.parameters.iter().find(|(name, _)| name == "_")?;
    DateTime::from_timestamp_millis(milliseconds.parse().ok()?).filter(|time| time.year() > 2020)
}
