//! Texts as they come in JSON, and their bounds.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{Reason, Rejection, kind};
use crate::model::rfc3339;

/// Characters of an id or a type.
const MAX_TEXT: usize = 200;

/// A text of 1 to 200 characters that PostgreSQL can store.
pub(super) fn bounded<'a>(
    field: &'static str,
    text: Option<Cow<'a, str>>,
) -> Result<Option<Cow<'a, str>>, Rejection> {
    let Some(text) = text else { return Ok(None) };
    let refused = |reason, message| Err(Rejection::new(field, reason, message));
    let characters = text.chars().count();
    if text.chars().all(char::is_whitespace) {
        let got = if characters == 0 { "none" } else { "only blanks" };
        return refused(Reason::Empty, format!("expected 1 to {MAX_TEXT} characters, got {got}"));
    }
    if characters > MAX_TEXT {
        return refused(Reason::TooLong, format!("expected 1 to {MAX_TEXT} characters, got {characters}"));
    }
    if text.contains('\0') {
        return refused(Reason::InvalidText, "the character \\u0000 cannot be stored".into());
    }
    Ok(Some(text))
}

/// Without the blanks around it, which nobody means.
pub(super) fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => text.trim().into(),
        Cow::Owned(text) if text.trim().len() < text.len() => text.trim().to_owned().into(),
        text @ Cow::Owned(_) => text,
    }
}

/// A JSON string's text. Null is as good as absent.
pub(super) fn string<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, Rejection> {
    let Some(raw) = raw.map(RawValue::get).filter(|raw| *raw != "null") else { return Ok(None) };
    let refused = |reason, message| Err(Rejection { field: Some(shortened(field).into()), reason, message });
    let Some(inside) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        let hint = match (kind(raw), field) {
            ("a number", "occurred_at") => format!(": expected {}", rfc3339::EXPECTED),
            ("a number", _) => ": put it in quotes".to_owned(),
            _ => String::new(),
        };
        return refused(Reason::WrongType, format!("expected a string, got {}{hint}", kind(raw)));
    };
    if !inside.contains('\\') {
        return Ok(Some(Cow::Borrowed(inside)));
    }
    match serde_json::from_str(raw) {
        Ok(text) => Ok(Some(Cow::Owned(text))),
        Err(error) => refused(Reason::InvalidText, format!("not a valid string: {error}")),
    }
}

/// The beginning of what came, for a message.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN: usize = 64;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
