//! An event as PostHog's SDKs write it.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde_json::value::RawValue;

use super::{
    super::{
        super::{Context, ReadEvent, json, members},
        clock::corrected,
        object::Object,
    },
    ENGAGE,
};
use crate::{
    ingest::validate::{Names, RawEvent, RawTime, Rejection, bounded},
    model::rfc3339,
};

const NAMES: Names = Names {
    event_id: "uuid",
    user_id: "distinct_id",
    event_type: "event",
    occurred_at: "timestamp",
    properties: "properties",
    anonymous_id: "distinct_id",
    traits: "$set",
    initial_traits: "$set_once",
};

/// Properties that are a field of the event, or its user's address.
const NOT_KEPT: [&str; 5] = ["$set", "$set_once", "distinct_id", "token", "$ip"];

/// Properties that the newer call has beside the properties.
const BESIDE: [(&str, &str); 2] = [("session_id", "$session_id"), ("window_id", "$window_id")];

/// Characters of an id: PostHog cuts off the rest.
const MOST_OF_ID: usize = 200;

/// A clock that is ahead by more, all corrections made, is not believed.
const MOST_AHEAD: TimeDelta = TimeDelta::hours(23);

/// What posthog-js sends for everybody if it may keep nothing in browsers. PostHog makes ids of addresses then; to weir it
/// is nobody.
const COOKIELESS: &str = "$posthog_cookieless";

/// What programs send by mistake, for more than one user: PostHog makes nobody the same because of it. In small letters.
const OF_MISTAKES: [&str; 16] = [
    "anonymous",
    "guest",
    "distinctid",
    "distinct_id",
    "id",
    "not_authenticated",
    "email",
    "undefined",
    "true",
    "false",
    "[object object]",
    "nan",
    "none",
    "null",
    "0",
    COOKIELESS,
];

/// Reads an event of a request that was sent at this time, by the sender's clock.
pub fn read<'a>(object: &Object<'a>, sent_at: Option<DateTime<Utc>>, context: &Context<'_>) -> ReadEvent<'a> {
    let id = object.id(NAMES.event_id);
    let shown = || bounded(NAMES.event_id, id.clone()).ok().flatten();
    event(object, id.clone(), sent_at, context).map_err(|rejection| rejection.with_id(shown()))
}

fn event<'a>(
    object: &Object<'a>,
    event_id: Option<Cow<'a, str>>,
    sent_at: Option<DateTime<Utc>>,
    context: &Context<'_>,
) -> ReadEvent<'a> {
    let inside = match object.get(NAMES.properties) {
        None => Object::default(),
        Some(raw) => {
            let of_field = |rejection| Rejection { field: Some(NAMES.properties.into()), ..rejection };
            Object::of_event(raw).map_err(of_field)?
        }
    };
    let event_type = match json::string(NAMES.event_type, object.get(NAMES.event_type))? {
        None if context.call.path == ENGAGE => Some("$identify".into()),
        event_type => event_type,
    };
    let distinct_id = ["distinct_id", "$distinct_id"].into_iter().find_map(|name| object.id(name));
    let distinct_id = distinct_id.or_else(|| inside.id("distinct_id")).map(bounded_id);
    let distinct_id = distinct_id.ok_or_else(|| Rejection::missing(NAMES.user_id, "the id of the user"))?;
    let [user_id, anonymous_id] = who(event_type.as_deref().unwrap_or_default(), distinct_id, &inside);
    let is_nobody = user_id.is_none() && anonymous_id.is_none();
    let traits = |name| traits(object.get(name), inside.get(name)).filter(|_| !is_nobody);
    Ok(RawEvent {
        names: &NAMES,
        event_id,
        user_id,
        anonymous_id,
        event_type,
        occurred_at: occurred_at(object, &inside, sent_at, context.received_at).map(RawTime::Known),
        properties: properties(object, &inside),
        traits: traits(NAMES.traits),
        initial_traits: traits(NAMES.initial_traits),
        ..RawEvent::default()
    })
}

/// Whose event it is, if somebody is known; and another name of theirs, or the name of whom nobody knows.
fn who<'a>(
    event_type: &str,
    distinct_id: Cow<'a, str>,
    properties: &Object<'a>,
) -> [Option<Cow<'a, str>>; 2] {
    let other = |name| properties.id(name).map(bounded_id).filter(|id| !is_of_mistake(id));
    match event_type {
        _ if distinct_id == COOKIELESS => [None, None],
        _ if is_of_mistake(&distinct_id) => [None, Some(distinct_id)],
        "$identify" => [Some(distinct_id), other("$anon_distinct_id")],
        // Before the login the further name is the user's, as the `$identify` that follows says.
        "$create_alias" if properties.get("$is_identified").is_some_and(|raw| raw.get() == "false") => {
            [other("alias"), Some(distinct_id)]
        }
        "$create_alias" => [Some(distinct_id), other("alias")],
        "$groupidentify" if is_of_group(&distinct_id, properties) => [None, None],
        _ if is_true(properties, "$is_identified") => [Some(distinct_id), None],
        _ => [None, Some(distinct_id)],
    }
}

/// An id as PostHog keeps it.
fn bounded_id(id: Cow<'_, str>) -> Cow<'_, str> {
    if id.len() <= MOST_OF_ID && !id.contains('\0') {
        return id;
    }
    let storable = |character| if character == '\0' { char::REPLACEMENT_CHARACTER } else { character };
    id.chars().take(MOST_OF_ID).map(storable).collect::<String>().into()
}

fn is_of_mistake(id: &str) -> bool {
    OF_MISTAKES.iter().any(|known| known.eq_ignore_ascii_case(id.trim()))
}

/// posthog-node sends the group's name as an id, if it is not told which user has said it.
fn is_of_group(id: &str, properties: &Object<'_>) -> bool {
    let [kind, key] = ["$group_type", "$group_key"].map(|name| properties.id(name).unwrap_or_default());
    id.strip_prefix('$') == Some(&format!("{kind}_{key}"))
}

fn is_true(object: &Object<'_>, name: &str) -> bool {
    object.get(name).is_some_and(|raw| raw.get() == "true")
}

/// When it happened, by weir's clock. Absent: nobody can tell, so it happens now.
fn occurred_at(
    object: &Object<'_>,
    properties: &Object<'_>,
    sent_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let ago = object.get("offset").and_then(|raw| TimeDelta::try_milliseconds(raw.get().parse().ok()?));
    let time = if let Some(ago) = ago {
        now.checked_sub_signed(ago)?
    } else {
        let time = time(&object.text(NAMES.occurred_at)?)?;
        let options = Object::of_member(object.get("options"));
        let is_right = is_true(properties, "$ignore_sent_at") || is_true(&options, "disable_skew_correction");
        corrected(time, sent_at.filter(|_| !is_right), now)
    };
    (time <= now + MOST_AHEAD).then_some(time)
}

/// One without a zone is of UTC.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let without_zone = || {
        let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
        formats.into_iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
    };
    rfc3339::parse(text).ok().or_else(|| Some(without_zone()?.and_utc()))
}

/// The properties that are kept, as they were sent if that is all of them.
fn properties<'a>(object: &Object<'a>, properties: &Object<'a>) -> Option<Cow<'a, str>> {
    let beside = BESIDE.into_iter().filter_map(|(name, property)| Some((property, object.get(name)?.get())));
    let beside: Vec<(&str, &str)> = beside.collect();
    if beside.is_empty() && !properties.iter().any(|(name, _)| NOT_KEPT.contains(&name)) {
        return object.get(NAMES.properties).map(|raw| raw.get().into());
    }
    let kept = properties.iter().filter(|(name, _)| !NOT_KEPT.contains(name));
    Some(members::object(beside.into_iter().chain(kept.map(|(name, raw)| (name, raw.get())))).into())
}

/// Those at the top, and those in the properties, of which they stand.
fn traits<'a>(at_top: Option<&'a RawValue>, inside: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    let [at_top, inside] = [at_top, inside].map(|raw| raw.filter(|raw| has_members(raw.get())));
    match (at_top, inside) {
        (Some(at_top), Some(inside)) => {
            let inside = Object::of_member(Some(inside));
            let inside = inside.iter().map(|(name, raw)| (name, raw.get()));
            members::put_before(inside, Some(at_top.get().into()))
        }
        (one, other) => one.or(other).map(|raw| raw.get().into()),
    }
}

fn has_members(object: &str) -> bool {
    object.strip_prefix('{').is_some_and(|rest| !rest.trim_start().starts_with('}'))
}
