//! Letters as text.

use std::{collections::BTreeMap, fmt::Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use weir::{
    model::{event::Batch, project::ProjectId},
    stream::dead_letters::Letter,
};

/// Characters of an error in a list.
const ERROR_SHOWN: usize = 70;
/// Bytes of a message that cannot be read, as they are shown.
const BYTES_SHOWN: usize = 4_096;

pub(super) fn table_head() -> String {
    let (number, when, reason) = ("number", "when", "reason");
    format!("{number:<8} {when:<20} {reason:<12} {:<16} {:<7} {:<10} error", "project", "events", "source")
}

/// A letter in a line; `names` are those of projects by their numbers.
pub(super) fn table_line(letter: &Letter, names: &BTreeMap<i32, String>) -> String {
    let name =
        |project_id: ProjectId| names.get(&project_id.get()).cloned().unwrap_or(project_id.to_string());
    let projects: Vec<String> = letter.project_ids().into_iter().map(name).collect();
    let project = if projects.is_empty() { "-".into() } else { projects.join(",") };
    let events = letter.events().map_or("-".into(), |events| events.to_string());
    let error: String = letter.error.chars().take(ERROR_SHOWN).collect();
    let Letter { number, at, reason, source, .. } = letter;
    let when = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("{number:<8} {when:<20} {reason:<12} {project:<16} {events:<7} {:<10} {error}", source.sequence)
}

/// What is known of a letter, without its events.
pub(super) fn described(letter: &Letter) -> Value {
    json!({
        "number": letter.number,
        "at": to_the_millisecond(letter.at),
        "reason": letter.reason,
        "error": letter.error,
        "source_sequence": letter.source.sequence,
        "source_time": to_the_millisecond(letter.source.time),
        "source_subject": letter.source.subject,
        "project_ids": letter.project_ids().into_iter().map(ProjectId::get).collect::<Vec<_>>(),
        "events": letter.events(),
        "size": letter.payload.len(),
    })
}

/// All of a letter.
pub(super) fn in_full(letter: &Letter) -> Value {
    let mut shown = described(letter);
    match letter.batches() {
        Some(batches) => shown["requests"] = batches.iter().map(request).collect(),
        None => shown["bytes"] = hexadecimal(&letter.payload).into(),
    }
    shown
}

fn request(batch: &Batch<'_>) -> Value {
    let events = batch.events.iter().map(|event| {
        // What is set aside may be what is no JSON.
        let properties = serde_json::from_str(&event.properties)
            .unwrap_or_else(|_| Value::from(event.properties.as_ref()));
        json!({
            "event_id": event.event_id,
            "user_id": event.user_id,
            "event_type": event.event_type,
            "occurred_at": event.occurred_at.map(instant),
            "properties": properties,
        })
    });
    json!({
        "project_id": batch.project_id.get(),
        "request_id": batch.request_id,
        "received_at": instant(batch.received_at),
        "events": events.collect::<Value>(),
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in &bytes[..bytes.len().min(BYTES_SHOWN)] {
        write!(text, "{byte:02x}").expect("a text takes all");
    }
    if bytes.len() > BYTES_SHOWN {
        text.push('…');
    }
    text
}

/// The numbers of letters by reason, as the end of a sentence.
pub(super) fn of_which(by_reason: &BTreeMap<String, usize>) -> String {
    let parts: Vec<_> = by_reason.iter().map(|(reason, letters)| format!("{letters} {reason}")).collect();
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) }
}

/// NATS has nine digits of a second, which help nobody.
fn to_the_millisecond(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn instant(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
