//! The calls of earlier systems. Each takes one event, with the names that its system gave the fields and with weir's own.

use super::{
    Body, BodyError, Context, Format, ReadEvent, Reads,
    field_names::{Accepted, Field},
    json::{Members, string},
    members,
    native::{CONTENT_TYPES, Member, OneOrMany, one_or_many},
};
use crate::model::request_id;

/// `POST /api/v1/events`: the event may name its request.
pub(super) const INTAKE: Format =
    Format { reads: Reads::ContentTypes(CONTENT_TYPES), unpack: None, parse: intake };

const INTAKE_FIELDS: Accepted = Accepted {
    names: &[
        ("event", Field::EventType),
        ("event_type", Field::EventType),
        ("event_id", Field::EventId),
        ("user_id", Field::UserId),
        ("client_ts", Field::OccurredAt),
        ("occurred_at", Field::OccurredAt),
        ("metadata", Field::Properties),
        ("properties", Field::Properties),
    ],
    more: &["request_id"],
};

/// `POST /event`: `site_id` and `path` become properties.
pub(super) const WEBSITE: Format =
    Format { reads: Reads::ContentTypes(CONTENT_TYPES), unpack: None, parse: website };

const WEBSITE_FIELDS: Accepted = Accepted {
    names: &[
        ("event_type", Field::EventType),
        ("event_id", Field::EventId),
        ("user_id", Field::UserId),
        ("timestamp", Field::OccurredAt),
        ("occurred_at", Field::OccurredAt),
        ("properties", Field::Properties),
    ],
    more: &["site_id", "path"],
};

fn intake<'a>(body: &'a [u8], context: &Context<'_>) -> Result<Body<'a>, BodyError> {
    let (event, more) = one(body, context, INTAKE_FIELDS)?;
    let mut ids = more.iter().filter(|(name, _)| name == "request_id");
    let id = ids.next().and_then(|(name, id)| string(name, Some(id)).ok()?);
    let request_id = id.filter(|id| request_id::is_valid(id));
    Ok(Body { request_id, ..Body::single(event) })
}

fn website<'a>(body: &'a [u8], context: &Context<'_>) -> Result<Body<'a>, BodyError> {
    let (event, more) = one(body, context, WEBSITE_FIELDS)?;
    let event = event.map(|mut event| {
        let more = more.iter().map(|(name, value)| (&**name, value.get()));
        event.properties = members::put_before(more, event.properties);
        event
    });
    Ok(Body::single(event))
}

/// One event, and its fields that weir does not have.
fn one<'a>(
    body: &'a [u8],
    context: &Context<'_>,
    accepted: Accepted,
) -> Result<(ReadEvent<'a>, Vec<Member<'a>>), BodyError> {
    match one_or_many(body, context, accepted)? {
        OneOrMany::One(fields) => {
            let more = fields.others.clone();
            Ok((fields.into_event(context), more))
        }
        OneOrMany::Many(_) => Err(BodyError::WrongShape { expected: "one event", got: "a list of events" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::validate::Reason;

    fn read(format: Format, body: &'static str) -> Result<Body<'static>, BodyError> {
        format.read(body.as_bytes(), &Context::new(3))
    }

    #[test]
    fn an_event_of_the_intake_may_name_its_request() {
        let body = read(INTAKE, r#"{"event":"a","request_id":"req_1"}"#).expect("an event");
        assert!(body.single && body.events[0].is_ok());
        assert_eq!(body.request_id.as_deref(), Some("req_1"));
        let body = read(INTAKE, r#"{"event":"a","request_id":"not for logs"}"#).expect("an event");
        assert!(body.events[0].is_ok() && body.request_id.is_none());
        let mut body = read(INTAKE, r#"{"event":"a","request_id":7}"#).expect("an event");
        let rejection = body.events.remove(0).expect_err("must be refused");
        assert_eq!((rejection.field.as_deref(), rejection.reason), (Some("request_id"), Reason::WrongType));
    }

    #[test]
    fn site_and_path_become_properties() {
        let body = r#"{"event_type":"a","path":"/","site_id":"s","properties":{"path":"/own"}}"#;
        let mut body = read(WEBSITE, body).expect("an event");
        let event = body.events.remove(0).expect("an event");
        assert!(body.single);
        assert_eq!(event.properties.as_deref(), Some(r#"{"path":"/","site_id":"s","path":"/own"}"#));
    }

    #[test]
    fn the_names_of_one_system_are_not_those_of_another() {
        for (format, body, name, meant) in [
            (INTAKE, r#"{"event_name":"a"}"#, "event_name", "event_type"),
            (INTAKE, r#"{"event":"a","timestamp":"t"}"#, "timestamp", "occurred_at"),
            (INTAKE, r#"{"event":"a","site_id":"s"}"#, "site_id", "properties"),
            (WEBSITE, r#"{"event":"a"}"#, "event", "event_type"),
            (WEBSITE, r#"{"event_name":"a"}"#, "event_name", "event_type"),
            (WEBSITE, r#"{"event_type":"a","client_ts":"t"}"#, "client_ts", "occurred_at"),
            (WEBSITE, r#"{"event_type":"a","metadata":{}}"#, "metadata", "properties"),
        ] {
            let rejection = read(format, body).expect("an event").events.remove(0).expect_err("unknown");
            assert_eq!((rejection.field.as_deref(), rejection.reason), (Some(name), Reason::UnknownField));
            assert!(rejection.message.contains(&format!("'{meant}'")), "{rejection:?}");
        }
    }

    #[test]
    fn a_call_for_one_event_takes_no_list() {
        for format in [INTAKE, WEBSITE] {
            for body in [r#"[{"event":"a"}]"#, r#"{"events":[{"event":"a"}]}"#] {
                assert!(matches!(read(format, body), Err(BodyError::WrongShape { .. })), "{body}");
            }
        }
    }
}
