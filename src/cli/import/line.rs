//! A row of a file as an event's fields.

use std::{borrow::Cow, collections::HashMap};

use csv::StringRecord;
use serde_json::{Map, Value, value::RawValue};
use uuid::Uuid;
use weir::{
    ingest::{
        validate::{RawEvent, RawTime, Reason, Rejection},
        wire::field_names::Field,
    },
    model::{project::ProjectId, zone::Zone},
};

use super::{
    columns::Columns,
    table::Row,
    times::{self, Dates},
};

/// A line with its fields as texts.
pub(super) struct Line {
    pub(super) number: u64,
    event_id: String,
    user_id: Option<String>,
    anonymous_id: Option<String>,
    event_type: Option<String>,
    occurred_at: String,
    /// Valid JSON.
    properties: Option<String>,
}

/// Makes lines of rows. A line without an id gets one from what it says and how often the file has said it before, and not from its
/// place: so it is the same in a file that has grown, or whose columns stand in another order.
pub(super) struct Lines<'a> {
    columns: &'a Columns,
    project_id: ProjectId,
    writing: Writing<'a>,
    said: HashMap<Uuid, usize>,
}

/// How a file writes times and numbers.
#[derive(Clone, Copy)]
pub(super) struct Writing<'a> {
    pub(super) zone: Option<&'a Zone>,
    pub(super) dates: Option<Dates>,
    pub(super) decimal_comma: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(columns: &'a Columns, project_id: ProjectId, writing: Writing<'a>) -> Self {
        Self { columns, project_id, writing, said: HashMap::new() }
    }

    pub(super) fn line(&mut self, Row { line, fields }: &Row) -> Result<Line, Rejection> {
        let field = |field| self.columns.field(fields, field).map(str::to_owned);
        let Writing { zone, dates, decimal_comma } = self.writing;
        let properties = properties(self.columns, fields, decimal_comma)?;
        // History must say when it happened.
        let occurred_at =
            self.columns.field(fields, Field::OccurredAt).filter(|text| !text.trim().is_empty());
        let occurred_at = occurred_at.ok_or_else(|| {
            Rejection::new(
                "occurred_at",
                Reason::Missing,
                "the field is empty; every line needs a time".into(),
            )
        })?;
        let occurred_at = times::rfc3339(occurred_at, zone, dates)
            .map_err(|wrong| Rejection::new("occurred_at", Reason::InvalidTime, wrong))?
            .into_owned();
        let (user_id, event_type) = (field(Field::UserId), field(Field::EventType));
        let anonymous_id = field(Field::AnonymousId);
        let event_id = field(Field::EventId).unwrap_or_else(|| {
            let [user_id, event_type, properties] =
                [&user_id, &event_type, &properties].map(|text| text.as_deref().unwrap_or_default());
            let content = format!("{event_type}\0{user_id}\0{occurred_at}\0{properties}");
            let said = self.said.entry(Uuid::new_v5(&Uuid::nil(), content.as_bytes())).or_default();
            *said += 1;
            self.project_id.replayable_event_id(&content, *said - 1).to_string()
        });
        Ok(Line { number: *line, event_id, user_id, anonymous_id, event_type, occurred_at, properties })
    }
}

impl Line {
    pub(super) fn event(&self) -> RawEvent<'_> {
        fn text(text: Option<&String>) -> Option<Cow<'_, str>> {
            text.map(|text| text.as_str().into())
        }
        RawEvent {
            event_id: Some(self.event_id.as_str().into()),
            user_id: text(self.user_id.as_ref()),
            anonymous_id: text(self.anonymous_id.as_ref()),
            event_type: text(self.event_type.as_ref()),
            occurred_at: Some(RawTime::Text(self.occurred_at.as_str().into())),
            properties: text(self.properties.as_ref()),
            ..RawEvent::default()
        }
    }
}

/// The JSON of a column, and the properties that have columns of their own.
fn properties(
    columns: &Columns,
    row: &StringRecord,
    decimal_comma: bool,
) -> Result<Option<String>, Rejection> {
    let json = columns.field(row, Field::Properties).map(str::trim);
    let not_json = |error| Rejection::invalid_json("properties_json", json.unwrap_or_default(), &error);
    if let Some(json) = json {
        serde_json::from_str::<&RawValue>(json).map_err(not_json)?;
    }
    let own = columns.properties(row);
    if own.is_empty() {
        return Ok(json.map(str::to_owned));
    }
    let mut properties: Map<String, Value> =
        json.map(serde_json::from_str).transpose().map_err(not_json)?.unwrap_or_default();
    properties.extend(own.into_iter().map(|(name, text)| (name.to_owned(), value(text, decimal_comma))));
    Ok(Some(Value::from(properties).to_string()))
}

/// A number or a truth value, if the text reads as JSON has them; else the text.
fn value(text: &str, decimal_comma: bool) -> Value {
    let with_point = if decimal_comma { with_decimal_point(text) } else { None };
    match serde_json::from_str(with_point.as_deref().unwrap_or(text)) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => text.into(),
    }
}

/// `1.234,50` as `1234.50`: dots part groups of three digits.
fn with_decimal_point(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once(',').unwrap_or((text, ""));
    let groups: Vec<&str> = whole.trim_start_matches('-').split('.').collect();
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let are_groups =
        groups.len() == 1 || groups[0].len() <= 3 && groups[1..].iter().all(|group| group.len() == 3);
    if !are_groups
        || groups[0].is_empty()
        || !groups.iter().all(|group| is_number(group))
        || !is_number(fraction)
    {
        return None;
    }
    let point = if text.contains(',') { "." } else { "" };
    Some(format!("{}{point}{fraction}", whole.replace('.', "")))
}

/// Whether a row of several lines can be one: only JSON has lines.
pub(super) fn can_have_lines(columns: &Columns, row: &StringRecord) -> bool {
    let plain = [Field::EventId, Field::UserId, Field::AnonymousId, Field::EventType, Field::OccurredAt];
    let has_lines = |field| columns.field(row, field).is_some_and(|text| text.contains('\n'));
    !plain.into_iter().any(has_lines) && properties(columns, row, false).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_with_a_decimal_comma_are_numbers_if_that_is_told() {
        for (text, number) in [
            ("49,90", json!(49.9)),
            ("-1.234,5", json!(-1234.5)),
            ("1.234", json!(1234)),
            ("12.5", json!(12.5)),
            ("17", json!(17)),
            ("1,2,3", json!("1,2,3")),
            (",5", json!(",5")),
            ("1.2.2026", json!("1.2.2026")),
            ("007", json!("007")),
        ] {
            assert_eq!(value(text, true), number, "{text}");
        }
        assert_eq!(value("49,90", false), json!("49,90"));
    }
}
