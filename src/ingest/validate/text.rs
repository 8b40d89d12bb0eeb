//! Texts and their bounds.

use std::borrow::Cow;

use super::{Reason, Rejection};

/// Characters of an id or a type.
const MAX_TEXT: usize = 200;

/// A text of 1 to 200 characters that PostgreSQL can store.
pub(in crate::ingest) fn bounded<'a>(
    field: &'static str,
    text: Option<Cow<'a, str>>,
) -> Result<Option<Cow<'a, str>>, Rejection> {
    let Some(text) = text else { return Ok(None) };
    let refused = |reason, message| Err(Rejection::new(field, reason, message));
    if text.chars().all(char::is_whitespace) {
        let got = if text.is_empty() { "none" } else { "only blanks" };
        return refused(Reason::Empty, format!("expected 1 to {MAX_TEXT} characters, got {got}"));
    }
    // A text of so many bytes has no more characters, which take longer to count.
    let characters = if text.len() > MAX_TEXT { text.chars().count() } else { 0 };
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

/// What a JSON text is, by its first character.
pub(in crate::ingest) fn kind(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The beginning of what came, for a message.
pub(in crate::ingest) fn shortened(text: &str) -> String {
    const SHOWN: usize = 64;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
