use super::*;
use crate::ingest::wire::{Call, Context, Events, Format};

#[derive(clap::Parser)]
struct Defaults {
    #[command(flatten)]
    limits: Limits,
}

/// The limits as they are by default.
pub(in crate::ingest) fn limits() -> Limits {
    <Defaults as clap::Parser>::parse_from(["weir"]).limits
}

fn json() -> &'static Format {
    let is_json = |format: &&Format| format.content_types().contains(&"application/json");
    Events::FORMATS.iter().find(is_json).expect("JSON is taken")
}

/// Id, user, type, time and properties of an event.
type Taken = (String, Option<String>, String, Option<String>, String);

fn validated(event: &str) -> Result<Taken, Rejection> {
    let limits = limits();
    let now = "2024-06-01T12:00:00Z".parse().expect("a time");
    let rules = Rules { limits: &limits, project_id: ProjectId::from_stored(1), now, idempotency_key: None };
    let body = format!("[{event}]");
    let context = Context::new(1);
    let raw = json().read(body.as_bytes(), &context).expect("a body").events.remove(0)?;
    let event = rules.validate(raw, 0)?.event;
    Ok((
        event.event_id.to_string(),
        event.user_id.map(Cow::into_owned),
        event.event_type.into_owned(),
        event.occurred_at.map(|time| time.to_rfc3339()),
        event.properties.into_owned(),
    ))
}

fn refused(event: &str) -> (String, &'static str, String) {
    let rejection = validated(event).expect_err("must be refused");
    (rejection.field.unwrap_or_default().into_owned(), rejection.reason.code(), rejection.message)
}

#[test]
fn a_full_event_is_taken_as_sent() {
    let (id, user, event_type, time, properties) = validated(
        r#"{"event_id":"018e9b6e-7b1c-7000-8000-000000000001","user_id":"\u0061na","event_type":"buy",
            "occurred_at":"2024-06-01T13:30:00.1234567+02:00","properties":{"n": 1}}"#,
    )
    .expect("valid");
    assert_eq!(id, "018e9b6e-7b1c-7000-8000-000000000001");
    assert_eq!(user.as_deref(), Some("ana"));
    assert_eq!(event_type, "buy");
    assert_eq!(time.as_deref(), Some("2024-06-01T11:30:00.123456+00:00"));
    assert_eq!(properties, r#"{"n": 1}"#);
}

#[test]
fn only_the_type_is_required_and_null_is_absent() {
    let (_, user, _, time, properties) =
        validated(r#"{"event":"tick","user_id":null,"occurred_at":null,"properties":null,"event_id":null}"#)
            .expect("valid");
    assert_eq!((user, time, properties.as_str()), (None, None, "{}"));
}

#[test]
fn every_rule_names_field_and_reason() {
    let long = "x".repeat(201);
    let properties = format!(r#"{{"event":"a","properties":{{"k":"{}"}}}}"#, "x".repeat(32 * 1024));
    let deep = format!(r#"{{"event":"a","properties":{}1{}}}"#, r#"{"k":"#.repeat(33), "}".repeat(33));
    for (event, field, code) in [
        ("3", "", "not_an_object"),
        ("{}", "event_type", "missing"),
        (r#"{"event":"a","color":1}"#, "color", "unknown_field"),
        (r#"{"event":"a","event":"a"}"#, "event_type", "repeated_field"),
        (r#"{"event":1}"#, "event_type", "wrong_type"),
        (r#"{"event":""}"#, "event_type", "empty"),
        (&format!(r#"{{"event":"a","user_id":"{long}"}}"#), "user_id", "too_long"),
        (r#"{"event":"a","event_id":"\u0000"}"#, "event_id", "invalid_text"),
        (r#"{"event":"a","user_id":"\ud800"}"#, "user_id", "invalid_text"),
        (r#"{"event":"a","timestamp":"yesterday"}"#, "occurred_at", "invalid_time"),
        (r#"{"event":"a","timestamp":1717243200}"#, "occurred_at", "wrong_type"),
        (r#"{"event":"a","timestamp":"2019-05-31T00:00:00Z"}"#, "occurred_at", "too_old"),
        (r#"{"event":"a","timestamp":"2024-06-02T12:00:01Z"}"#, "occurred_at", "too_far_ahead"),
        (r#"{"event":"a","properties":[]}"#, "properties", "wrong_type"),
        (&properties, "properties", "too_large"),
        (&deep, "properties", "too_deep"),
        (r#"{"event":"a","properties":{"k":"\u0000"}}"#, "properties", "invalid_text"),
        (r#"{"event":"a","properties":{"k":1e999}}"#, "properties", "number_too_large"),
    ] {
        let (named, reason, _) = refused(event);
        assert_eq!((named.as_str(), reason), (field, code), "{event}");
    }
}

#[test]
fn a_message_says_what_was_expected_and_what_came() {
    let message = |event: &str| refused(event).2;
    assert!(message(r#"{"event":"a","occured_at":"x"}"#).contains("did you mean 'occurred_at'?"));
    assert!(message(r#"{"event":"a","country":"UA"}"#).contains("inside 'properties'"));
    assert!(message(r#"{"event":"a","timestamp":"2024-13-01"}"#).contains("got '2024-13-01'"));
    assert!(message(&format!(r#"{{"event":"{}"}}"#, "é".repeat(201))).contains("got 201"));
    assert!(message(r#"{"event":["a"]}"#).contains("expected a string, got a list"));
}
