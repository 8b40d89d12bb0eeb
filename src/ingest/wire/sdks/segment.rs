//! Segment: <https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/>.
//!
//! `track` becomes an event of the type `event`; `page`, `screen`, `identify`, `group` and `alias` become events of these
//! types, with name and category, or the group's id, as properties. `messageId` is the event's id. The context becomes
//! properties as in Segment's warehouses: `context_page_path`, `context_campaign_source`.
//!
//! `anonymousId` beside `userId`, and `previousId` of an alias, are other names of the user. Traits are kept with the user.

use std::borrow::Cow;

use ::http::Method;
use serde_json::{json, value::RawValue};

use super::{
    super::{Body, BodyError, Context, Format, ReadEvent, Reads, json},
    Does, Outcome, Protocol, RefusedRequest, SdkAnswer, SdkCall, SdkRequest, Taking,
    clock::corrected,
    object::{self, Object, flatten},
};
use crate::{
    ingest::validate::{Names, RawEvent, RawTime, Reason, Rejection, bounded},
    model::rfc3339,
};

const POST: &[Method] = &[Method::POST];

const fn takes(path: &'static str, summary: &'static str) -> SdkCall {
    SdkCall { path, methods: POST, summary, does: Does::Take(TAKING) }
}

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "segment",
    vendor: "Segment",
    calls: &[
        takes("/v1/batch", "Several messages"),
        takes("/v1/import", "Several messages, as older SDKs send them"),
        takes("/v1/track", "Something that a user did"),
        takes("/v1/page", "A page that a user has seen"),
        takes("/v1/screen", "A screen of an app that a user has seen"),
        takes("/v1/identify", "Who a user is, and their traits"),
        takes("/v1/group", "The group that a user belongs to"),
        takes("/v1/alias", "Another name of a user"),
        takes("/v1/b", "Several messages, from a browser"),
        takes("/v1/t", "As track, from a browser"),
        takes("/v1/p", "As page, from a browser"),
        takes("/v1/s", "As screen, from a browser"),
        takes("/v1/i", "As identify, from a browser"),
        takes("/v1/g", "As group, from a browser"),
        takes("/v1/a", "As alias, from a browser"),
        SdkCall {
            path: "/v1/m",
            methods: POST,
            summary: "What analytics.js measures of itself, which is thrown away",
            does: Does::Say(|_| SdkAnswer::json(200, &json!({"success": true}))),
        },
        SdkCall {
            path: "/v1/projects/{key}/settings",
            methods: &[Method::GET],
            summary: "What analytics.js loads before it sends",
            does: Does::Say(settings),
        },
    ],
    at_root: &["/v1"],
};

const TAKING: Taking = Taking {
    key,
    unpack: None,
    format: Format { reads: Reads::Requests(|_| true), unpack: None, parse },
    answer,
};

const NAMES: Names = Names {
    event_id: "messageId",
    user_id: "userId",
    event_type: "event",
    occurred_at: "timestamp",
    properties: "properties",
    anonymous_id: "anonymousId",
    traits: "traits",
    initial_traits: "traits",
};

/// The context's address of the user is nobody's business; the rest of it has no more levels.
const NOT_KEPT: &[&str] = &["context_ip"];
const CONTEXT_DEPTH: usize = 3;

/// Basic authentication; else the body's `writeKey`; else a bearer token, which may also be of OAuth, beside a `writeKey`.
fn key<'a>(request: &SdkRequest<'a>) -> Option<Cow<'a, str>> {
    if let Some(key) = request.basic_user() {
        return Some(key);
    }
    let body = std::str::from_utf8(request.body?).ok()?;
    let in_body = Object::of_body(body, "a message").ok().and_then(|body| body.id("writeKey"));
    in_body.or_else(|| request.bearer())
}

fn parse<'a>(body: &'a [u8], context: &Context<'_>) -> Result<Body<'a>, BodyError> {
    json::text(body, |text| {
        let body = Object::of_body(text, "a message or {\"batch\": […]}")?;
        let common = Common { sent_at: time(&body, "sentAt"), context: body.get("context") };
        let Some(batch) = body.get("batch") else {
            let kind = body.text("type").or_else(|| kind_of_path(context.call.path).map(Cow::Borrowed));
            return Ok(Body::single(Message { kind, object: body, common }.read(context)));
        };
        let (messages, sent) = object::list(batch, context.max_events)
            .map_err(|_| BodyError::WrongShape { expected: "a list as `batch`", got: "something else" })?;
        let read = |raw| {
            let object = Object::of_event(raw)?;
            Message { kind: object.text("type"), object, common }.read(context)
        };
        Body { sent, ..Body::list(messages.into_iter().map(read).collect()) }.not_empty()
    })
}

/// `/v1/track` and `/v1/t` take what need not say that it is a track.
fn kind_of_path(path: &str) -> Option<&'static str> {
    let call = path.rsplit('/').next()?;
    ["track", "page", "screen", "identify", "group", "alias"]
        .into_iter()
        .find(|kind| *kind == call || call.len() == 1 && kind.starts_with(call))
}

/// What holds for all messages of a request.
#[derive(Clone, Copy)]
struct Common<'a> {
    sent_at: Option<chrono::DateTime<chrono::Utc>>,
    context: Option<&'a RawValue>,
}

struct Message<'a> {
    kind: Option<Cow<'a, str>>,
    object: Object<'a>,
    common: Common<'a>,
}

fn time(object: &Object<'_>, name: &str) -> Option<chrono::DateTime<chrono::Utc>> {
    rfc3339::parse(&object.text(name)?).ok()
}

impl<'a> Message<'a> {
    fn read(self, context: &Context<'_>) -> ReadEvent<'a> {
        let id = self.object.id("messageId");
        let shown = || bounded(NAMES.event_id, id.clone()).ok().flatten();
        self.event(id.clone(), context).map_err(|rejection| rejection.with_id(shown()))
    }

    fn event(&self, event_id: Option<Cow<'a, str>>, context: &Context<'_>) -> ReadEvent<'a> {
        let object = &self.object;
        let (user_id, mut anonymous_id) = (object.id("userId"), object.id("anonymousId"));
        let kind = self.kind.as_deref().unwrap_or_default();
        let event_type = match kind {
            "track" => object.text("event"),
            "page" | "screen" | "identify" | "group" | "alias" => Some(kind.to_owned().into()),
            "" => return Err(Rejection::missing("type", "the kind of the message")),
            _ => {
                let message = "expected track, page, screen, identify, group or alias".to_owned();
                return Err(Rejection::new("type", Reason::InvalidValue, message));
            }
        };
        if kind == "alias" {
            anonymous_id = object.id("previousId").or(anonymous_id);
        }
        if user_id.is_none() && anonymous_id.is_none() {
            return Err(Rejection::missing("userId", "`userId` or `anonymousId`"));
        }
        let traits = object.get("traits").filter(|_| kind == "identify");
        Ok(RawEvent {
            names: &NAMES,
            event_id,
            user_id,
            anonymous_id,
            event_type,
            occurred_at: self.occurred_at(context)?,
            properties: self.properties(kind),
            traits: traits.map(|traits| traits.get().into()),
            ..RawEvent::default()
        })
    }

    fn occurred_at(&self, context: &Context<'_>) -> Result<Option<RawTime<'a>>, Rejection> {
        let original = self.object.text("originalTimestamp").or_else(|| self.object.text("timestamp"));
        let Some(original) = original else { return Ok(None) };
        let original = rfc3339::parse(&original)
            .map_err(|wrong| Rejection::new(NAMES.occurred_at, Reason::InvalidTime, wrong))?;
        let sent_at = self.common.sent_at.or_else(|| time(&self.object, "sentAt"));
        Ok(Some(RawTime::Known(corrected(original, sent_at, context.received_at))))
    }

    /// Its properties, with what else it says.
    fn properties(&self, kind: &str) -> Option<Cow<'a, str>> {
        let mut others: Vec<(String, String)> = Vec::new();
        let own = match kind {
            "page" | "screen" => &[("name", "name"), ("category", "category")][..],
            "group" => &[("groupId", "group_id"), ("traits", "traits")],
            _ => &[],
        };
        for (name, property) in own {
            others.extend(self.object.get(name).map(|raw| ((*property).to_owned(), raw.get().to_owned())));
        }
        for context in [self.common.context, self.object.get("context")] {
            others.extend(flatten("context", &Object::of_member(context), NOT_KEPT, CONTEXT_DEPTH));
        }
        self.object.with_others("properties", others.iter().map(|(name, value)| (&**name, &**value)))
    }
}

/// Success is 200. What is refused has `code` and `message`, without which segment-analytics-python 2.3 sends again and
/// again.
fn answer(_: &SdkRequest<'_>, outcome: Outcome<'_>) -> SdkAnswer {
    match outcome {
        Outcome::Taken(_) => SdkAnswer::json(200, &json!({"success": true})),
        Outcome::Refused(refused) => {
            let RefusedRequest { status, code, .. } = refused;
            SdkAnswer::json(status, &json!({"success": false, "code": code, "message": refused.message()}))
        }
    }
}

/// Without it analytics.js sends nothing at all.
fn settings(request: &SdkRequest<'_>) -> SdkAnswer {
    let key = request.path.split('/').nth(3).unwrap_or_default();
    let host =
        request.headers.get(::http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let forwarded = request.headers.get("x-forwarded-proto").and_then(|scheme| scheme.to_str().ok());
    let scheme = if forwarded == Some("https") { "https" } else { "http" };
    let integration = json!({"apiKey": key, "apiHost": format!("{host}/in/segment/v1"), "protocol": scheme});
    SdkAnswer::json(200, &json!({"integrations": {"Segment.io": integration}}))
}
