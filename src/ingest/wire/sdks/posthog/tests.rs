//! Bodies as python 7.91, node 5.70 and posthog-js 1.449 send them, shortened, and as older SDKs do.

use ::http::{HeaderMap, header};
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::ingest::{
    validate::{RawEvent, RawTime, Rejection},
    wire::{Asked, ReadEvent},
};

const NOW: &str = "2026-11-25T23:12:00Z";

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

/// The events of a body that was sent to `path` with these parameters.
fn read_at<'a>(body: &'a str, path: &'static str, parameters: &[(&str, &str)]) -> Vec<ReadEvent<'a>> {
    let parameters: Vec<_> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let call = Asked { path, headers: None, parameters: &parameters };
    let context = Context { received_at: moment(NOW), call, ..Context::new(100) };
    FORMAT.read(body.as_bytes(), &context).expect("a body").events
}

fn events(body: &str) -> Vec<ReadEvent<'_>> {
    read_at(body, "/e", &[])
}

/// The only event of a body.
fn event(body: &str) -> RawEvent<'_> {
    let mut events = events(body);
    assert_eq!(events.len(), 1);
    events.remove(0).expect("an event")
}

fn occurred_at(event: &RawEvent<'_>) -> Option<DateTime<Utc>> {
    match event.occurred_at {
        Some(RawTime::Known(time)) => Some(time),
        Some(RawTime::Text(_)) => panic!("the time is read"),
        None => None,
    }
}

fn value(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| serde_json::from_str(text).expect("JSON"))
}

fn request<'a>(headers: &'a HeaderMap, parameters: &'a [(String, String)], body: &'a [u8]) -> SdkRequest<'a> {
    SdkRequest { path: "/e", headers, parameters, body: Some(body) }
}

#[test]
fn what_python_and_node_send_is_of_somebody_who_may_still_become_another() {
    let body = r#"{"batch": [
        {"properties": {"price": 19.9, "$lib": "posthog-python", "$is_server": true}, "timestamp": "2026-11-25T23:11:58.728780+00:00",
         "distinct_id": "a7c9", "event": "Product Viewed", "uuid": "9f996ddd-3bf4-4d1b-a521-6490c3723d3c"},
        {"properties": {"$anon_distinct_id": "a7c9", "$set": {"plan": "pro"}, "$set_once": {}}, "timestamp": "2026-11-25T23:11:58Z",
         "distinct_id": "user-42", "event": "$identify", "uuid": "07c45609-e031-4943-a1fc-f36b0dc95ac7"},
        {"timestamp": "2026-11-25T23:11:58.731751+00:00", "distinct_id": "user-42", "$set": {"plan": "free"}, "event": "$set",
         "properties": {"$geoip_disable": true}, "uuid": "dc7f42a0-2d7f-4aa2-b480-2a43ffa0b351"},
        {"properties": {"distinct_id": "user-42", "alias": "b1d5"}, "timestamp": "2026-11-25T23:11:58Z", "event": "$create_alias",
         "distinct_id": "user-42", "uuid": "c6ef8471-8d0f-4a90-84a8-49d3cab9c67e"}
        ], "historical_migration": false, "sent_at": "2026-11-25T23:12:08Z", "api_key": "weir_wk_x"}"#;
    let events: Vec<RawEvent<'_>> = events(body).into_iter().map(|event| event.expect("an event")).collect();
    let who = |event: &RawEvent<'_>| {
        let text = |id: &Option<Cow<'_, str>>| id.as_deref().unwrap_or("-").to_owned();
        (text(&event.event_type), text(&event.user_id), text(&event.anonymous_id))
    };
    assert_eq!(
        events.iter().map(who).collect::<Vec<_>>(),
        [
            ("Product Viewed", "-", "a7c9"),
            ("$identify", "user-42", "a7c9"),
            ("$set", "-", "user-42"),
            ("$create_alias", "user-42", "b1d5"),
        ]
        .map(|(event, user, anonymous)| (event.to_owned(), user.to_owned(), anonymous.to_owned()))
    );
    let [viewed, identify, set, alias] = &events[..] else { panic!("four events") };
    assert_eq!(viewed.event_id.as_deref(), Some("9f996ddd-3bf4-4d1b-a521-6490c3723d3c"));
    assert_eq!(occurred_at(viewed), Some(moment("2026-11-25T23:11:58.728780Z")));
    assert_eq!(
        viewed.properties.as_deref(),
        Some(r#"{"price": 19.9, "$lib": "posthog-python", "$is_server": true}"#),
        "as they were sent"
    );
    assert_eq!(identify.traits.as_deref(), Some(r#"{"plan": "pro"}"#));
    assert_eq!(identify.initial_traits, None, "nothing is said");
    assert_eq!(identify.properties.as_deref(), Some(r#"{"$anon_distinct_id":"a7c9"}"#));
    assert_eq!(set.traits.as_deref(), Some(r#"{"plan": "free"}"#));
    assert_eq!(alias.properties.as_deref(), Some(r#"{"alias":"b1d5"}"#));
}

#[test]
fn posthog_js_has_id_and_key_in_the_properties_and_says_who_is_known() {
    let body = |is_identified: bool| {
        format!(
            r#"{{"api_key":"k","batch":[{{"uuid":"01a2","event":"$pageview","properties":{{"distinct_id":"d","token":"k","$ip":"192.0.2.1",
               "$is_identified":{is_identified},"$insert_id":"x","$set":{{"a":1,"b":1}}}},"$set":{{"b":2}},"$set_once":{{"c":null}},
               "timestamp":"2026-11-25T23:11:59Z"}}],"sent_at":"2026-11-25T23:12:00Z"}}"#
        )
    };
    let (anonymous, identified) = (body(false), body(true));
    let (anonymous, identified) = (event(&anonymous), event(&identified));
    assert_eq!((anonymous.user_id.as_deref(), anonymous.anonymous_id.as_deref()), (None, Some("d")));
    assert_eq!((identified.user_id.as_deref(), identified.anonymous_id.as_deref()), (Some("d"), None));
    assert_eq!(
        value(identified.properties.as_deref()),
        json!({"$is_identified": true, "$insert_id": "x"}),
        "no key, no address, no id"
    );
    assert_eq!(value(identified.traits.as_deref()), json!({"a": 1, "b": 2}), "the top's stand");
    assert_eq!(value(identified.initial_traits.as_deref()), json!({"c": null}));
}

#[test]
fn an_id_is_a_text_or_a_number_as_far_as_it_can_be_stored() {
    let id = |json: &str| {
        let body = format!(r#"{{"event":"e","distinct_id":{json}}}"#);
        let id = events(&body).remove(0).map(|event| event.anonymous_id.map(Cow::into_owned));
        id.map_err(|rejection: Rejection| rejection.field)
    };
    let long = "é".repeat(201);
    for (json, expected) in [
        (r#""d""#, "d"),
        ("17", "17"),
        (r#""\ud800""#, r"\ud800"),
        (r#""a\u0000b""#, "a\u{fffd}b"),
        (&format!("\"{long}\""), &long[..400]),
    ] {
        assert_eq!(id(json), Ok(Some(expected.to_owned())), "{json}");
    }
    for json in ["null", r#""""#, r#"" ""#, r#"{"a":1}"#, "[]", "true"] {
        assert_eq!(id(json), Err(Some("distinct_id".into())), "{json}");
    }
    let of_engage =
        read_at(r#"{"$distinct_id":"d","$set":{"a":1}}"#, ENGAGE, &[]).remove(0).expect("an event");
    assert_eq!(
        (of_engage.event_type.as_deref(), of_engage.user_id.as_deref()),
        (Some("$identify"), Some("d"))
    );
}

#[test]
fn nobody_is_merged_by_mistake_and_what_is_no_user_is_none() {
    for (event_type, id, other, expected) in [
        ("$identify", "u", "Undefined", (Some("u"), None)),
        ("$identify", "null", "a", (None, Some("null"))),
        ("$create_alias", "u", "0", (Some("u"), None)),
        ("e", "guest", "a", (None, Some("guest"))),
        ("$pageview", "$posthog_cookieless", "a", (None, None)),
        ("$groupidentify", "$company_7", "a", (None, None)),
        ("$groupidentify", "u", "a", (None, Some("u"))),
    ] {
        let body = json!({"event": event_type, "distinct_id": id, "$set": {"a": 1},
                          "properties": {"$anon_distinct_id": other, "alias": other, "$group_type": "company", "$group_key": 7}});
        let body = body.to_string();
        let event = event(&body);
        assert_eq!((event.user_id.as_deref(), event.anonymous_id.as_deref()), expected, "{body}");
        assert_eq!(event.traits.is_some(), expected != (None, None), "{body}");
    }
}

#[test]
fn times_are_corrected_and_what_cannot_be_is_now() {
    for (event, sent_at, expected) in [
        (json!({"timestamp": "2026-11-25T23:11:00Z"}), json!(null), Some("2026-11-25T23:11:00Z")),
        (
            json!({"timestamp": "2026-11-25T21:11:00Z"}),
            json!("2026-11-25T21:12:00Z"),
            Some("2026-11-25T23:11:00Z"),
        ),
        (
            json!({"timestamp": "2026-11-25T21:11:00Z", "properties": {"$ignore_sent_at": true}}),
            json!("2026-11-25T21:12:00Z"),
            Some("2026-11-25T21:11:00Z"),
        ),
        (
            json!({"timestamp": "2026-11-25T21:11:00Z", "options": {"disable_skew_correction": true}}),
            json!("2026-11-25T21:12:00Z"),
            Some("2026-11-25T21:11:00Z"),
        ),
        (json!({"timestamp": "2026-11-25T23:11:00"}), json!(null), Some("2026-11-25T23:11:00Z")),
        (
            json!({"offset": 2500, "timestamp": "1970-01-01T00:00:00Z"}),
            json!(null),
            Some("2026-11-25T23:11:57.500Z"),
        ),
        (json!({"timestamp": "2026-11-26T22:12:00Z"}), json!(null), Some("2026-11-26T22:12:00Z")),
        (json!({"timestamp": "2026-11-26T22:12:01Z"}), json!(null), None),
        (json!({"offset": -90_000_000}), json!(null), None),
        (json!({"timestamp": "yesterday"}), json!("2026-11-25T21:12:00Z"), None),
        (json!({"timestamp": 1_764_112_320}), json!(null), None),
        (json!({}), json!("2026-11-25T21:12:00Z"), None),
    ] {
        let mut body = json!({"event": "e", "distinct_id": "d", "sent_at": sent_at});
        body.as_object_mut().expect("an object").extend(event.as_object().expect("an object").clone());
        let text = body.to_string();
        assert_eq!(occurred_at(&self::event(&text)), expected.map(moment), "{body}");
    }
    let body = r#"[{"event":"e","distinct_id":"d","timestamp":"2026-11-25T21:11:00Z"}]"#;
    for (milliseconds, expected) in [
        ("1795640520000", "2026-11-25T23:21:00Z"), // sent at 21:02
        ("1795640520", "2026-11-25T21:11:00Z"),
        ("soon", "2026-11-25T21:11:00Z"),
    ] {
        let event = read_at(body, "/e", &[("_", milliseconds)]).remove(0).expect("an event");
        assert_eq!(occurred_at(&event), Some(moment(expected)), "{milliseconds}");
    }
}

#[test]
fn one_bad_event_does_not_spoil_the_others() {
    let body = r#"[{"event":"e","distinct_id":"d"}, 1, {"event":17,"distinct_id":"d","uuid":"x"}, {"event":"e"},
                   {"event":"e","distinct_id":"d","properties":[]}]"#;
    let reasons = events(body).into_iter().map(|event| match event {
        Ok(_) => "taken".to_owned(),
        Err(Rejection { field, event_id, reason, .. }) => {
            format!(
                "{} {} {}",
                field.as_deref().unwrap_or("-"),
                reason.code(),
                event_id.as_deref().unwrap_or("-")
            )
        }
    });
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [
            "taken",
            "- not_an_object -",
            "event wrong_type x",
            "distinct_id missing -",
            "properties not_an_object -"
        ]
    );
    let context = Context::new(100);
    for body in ["", "17", "[", "{}]", "[]", r#"{"batch":[]}"#, r#"{"batch":{}}"#, "\"e\"", "[]x", "[\u{0}]"]
    {
        assert!(FORMAT.read(body.as_bytes(), &context).is_err(), "{body}");
    }
}

#[test]
fn a_key_stands_in_the_body_or_in_its_events() {
    let headers = HeaderMap::new();
    for (body, expected) in [
        (r#"{"api_key":"k","batch":[{"token":"other"}]}"#, Some("k")),
        (r#"{"token":"k","event":"e"}"#, Some("k")),
        (r#"{"batch":[{"event":"e"},{"properties":{"token":"k"}}]}"#, Some("k")),
        (r#"[{"$token":"k"},{"api_key":"k"},{}]"#, Some("k")),
        (r#"{"event":"e","properties":{"token":"k"}}"#, Some("k")),
        (r#"[{"token":"k"},{"token":"l"}]"#, None),
        (r#"[{"token":""}]"#, None),
        (r#"{"api_key":" ","batch":[]}"#, None),
        ("[", None),
        ("17", None),
    ] {
        assert_eq!(key(&request(&headers, &[], body.as_bytes())).as_deref(), expected, "{body}");
    }
    assert_eq!(key(&SdkRequest { body: None, ..request(&headers, &[], b"") }), None);
}

#[test]
fn json_comes_in_forms_and_queries_and_as_base64() {
    // Its base64 has a plus sign.
    let json = r#"{"api_key":"k","event":"e>>","distinct_id":"d~~>"}"#;
    let base64 = BASE64_STANDARD.encode(json);
    assert!(base64.contains('+'), "{base64}");
    let encoded = base64.replace('+', "%2B").replace('=', "%3D");
    let mut form = HeaderMap::new();
    form.insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse().expect("a value"));
    let none = HeaderMap::new();
    let parameters = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let unpacked = |headers: &HeaderMap, query: &[(&str, &str)], body: &str| {
        let query = parameters(query);
        let unpacked = unpack(&request(headers, &query, body.as_bytes()));
        unpacked.map(|unpacked| unpacked.map(|unpacked| String::from_utf8(unpacked.body).expect("a text")))
    };
    for (headers, query, body) in [
        (&form, &[("compression", "base64")][..], format!("data={encoded}")),
        (&form, &[], format!("compression=base64&data={base64}")),
        (&none, &[], format!("data={}", base64.trim_end_matches('='))),
        (&none, &[("compression", "base64")], base64.clone()),
        (&none, &[("data", &base64), ("_", "1")], String::new()),
        (&none, &[("data", &base64.replace('+', " "))], String::new()),
        (&none, &[("data", json)], String::new()),
    ] {
        let got = unpacked(headers, query, &body).expect("it can be unpacked");
        assert_eq!(got.as_deref(), Some(json), "{query:?} {body}");
    }
    assert!(unpacked(&form, &[], json).expect("JSON").is_none(), "whatever the content type says");
    for (query, body) in [
        (&[][..], "data="),
        (&[], "data=%"),
        (&[], "not base64!"),
        (&[], ""),
        (&[("compression", "lz64")], "N4IgpgbglgzgDgFwgSxAGwgIwPYQ"),
    ] {
        assert!(unpacked(&none, query, body).is_err(), "{body}");
    }
    let query = parameters(&[("compression", "lz64")]);
    let error = unpack(&request(&none, &query, b"N4Ig")).expect_err("lz-string is not taken");
    assert_eq!(error.to_string(), "expected JSON, gzip or base64, got lz-string");
}

#[test]
fn the_call_that_answers_for_each_event_has_its_time_in_a_header() {
    let body = r#"{"created_at":"2026-11-25T21:00:00Z","batch":[{"event":"e","uuid":"x","distinct_id":"d","session_id":"s",
                   "timestamp":"2026-11-25T21:11:00Z","options":{},"properties":{"a":1}}]}"#;
    let mut headers = HeaderMap::new();
    headers.insert("posthog-request-timestamp", "2026-11-25T21:12:00+00:00".parse().expect("a value"));
    let call = Asked { headers: Some(&headers), ..Asked::default() };
    let context = Context { received_at: moment(NOW), call, ..Context::new(100) };
    let body = parse_named(body.as_bytes(), &context).expect("a body");
    assert!(body.names_events);
    let event = body.events.into_iter().next().expect("one").expect("an event");
    assert_eq!(occurred_at(&event), Some(moment("2026-11-25T23:11:00Z")));
    assert_eq!(event.properties.as_deref(), Some(r#"{"$session_id":"s","a":1}"#));
}
