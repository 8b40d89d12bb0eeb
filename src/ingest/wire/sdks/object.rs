//! JSON as SDKs send it: objects of which a few members matter, and lists of them. Nothing is copied.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::super::{
    BodyError,
    json::{Name, not_null},
};
use crate::ingest::validate::{Reason, Rejection, kind};

/// Members of an object that are looked at. An event has about twenty; what has more is no event.
const MOST_MEMBERS: usize = 1_000;

/// The members of an object, each as it was sent.
#[derive(Debug, Default)]
pub struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Of a whole body.
    pub fn of_body(text: &'a str, expected: &'static str) -> Result<Self, BodyError> {
        super::super::json::check_kind(text, expected, &["an object"])?;
        Ok(Self::parse(text)?)
    }

    /// Of an event.
    pub fn of_event(raw: &'a RawValue) -> Result<Self, Rejection> {
        let text = raw.get();
        if !text.starts_with('{') {
            let message = format!("expected an object, got {}", kind(text));
            return Err(Rejection::of_event(Reason::NotAnObject, message));
        }
        Self::parse(text)
            .map_err(|error| Rejection::of_event(Reason::InvalidJson, format!("not an object: {error}")))
    }

    /// Of a member that should be an object; one without members, if it is something else.
    pub fn of_member(raw: Option<&'a RawValue>) -> Self {
        raw.and_then(|raw| Self::parse(raw.get()).ok()).unwrap_or_default()
    }

    fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let members = deserializer.deserialize_map(MembersVisitor)?;
        deserializer.end()?;
        Ok(Self(members))
    }

    /// A member that is not null; of several of one name, the last.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let member = self.0.iter().rev().find(|(known, _)| known == name);
        member.map(|&(_, value)| value).filter(|value| not_null(value).is_some())
    }

    /// The text of a member that is a text.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let raw = self.get(name)?.get();
        let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
        if !inside.contains('\\') {
            return Some(inside.into());
        }
        // What has half of an emoji stays as it was written: without its id, an event would count each time that it is sent.
        Some(serde_json::from_str(raw).unwrap_or_else(|_| inside.into()))
    }

    /// An id, which some programs send as a number: its text. A text without characters is none, nor is anything else:
    /// everybody whose id is `[]` by mistake would be one user.
    pub fn id(&self, name: &str) -> Option<Cow<'a, str>> {
        let raw = self.get(name)?.get();
        let id = match raw.as_bytes().first()? {
            b'"' => self.text(name)?,
            b'-' | b'0'..=b'9' => raw.into(),
            _ => return None,
        };
        (!id.trim().is_empty()).then_some(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    /// The members of a member that is an object, as JSON, with others before them; a member's own stands.
    pub fn with_others<'m>(
        &self,
        name: &str,
        others: impl IntoIterator<Item = (&'m str, &'m str)>,
    ) -> Option<Cow<'a, str>> {
        let object = self.get(name).map(|raw| Cow::Borrowed(raw.get()));
        super::super::members::put_before(others, object)
    }
}

/// The values of a list, at most `limit` of them, and how many there are.
pub fn list(raw: &RawValue, limit: usize) -> Result<(Vec<&RawValue>, usize), serde_json::Error> {
    list_of_text(raw.get(), limit)
}

/// The same, of a whole body.
pub fn list_of_text(text: &str, limit: usize) -> Result<(Vec<&RawValue>, usize), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let list = deserializer.deserialize_seq(ListVisitor { limit })?;
    deserializer.end()?;
    Ok(list)
}

/// Events whose keys are compared: more are taken by no weir that is set up as it comes.
pub const MOST_COMPARED: usize = 10_000;

/// The key of all events that have one, if that is the same.
pub fn same_key<'a>(mut keys: impl Iterator<Item = Cow<'a, str>>) -> Option<Cow<'a, str>> {
    let first = keys.next()?;
    keys.all(|key| key == first).then_some(first)
}

/// Flattens an object into members named by their path, in small letters with `_` between words: `page.path` in `context`
/// becomes `context_page_path`. Lists stay as they are.
pub fn flatten(prefix: &str, object: &Object<'_>, skip: &[&str], depth: usize) -> Vec<(String, String)> {
    let mut members = Vec::new();
    for (name, value) in object.iter() {
        let name = format!("{prefix}_{}", snake_case(name));
        let text = value.get();
        if skip.contains(&name.as_str()) || text == "null" {
            continue;
        }
        if text.starts_with('{') && depth > 0 {
            members.extend(flatten(&name, &Object::of_member(Some(value)), skip, depth - 1));
        } else {
            members.push((name, text.to_owned()));
        }
    }
    members
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for character in name.chars() {
        if character.is_uppercase() && after_small {
            snake.push('_');
        }
        after_small = character.is_lowercase() || character.is_ascii_digit();
        snake.extend(character.to_lowercase());
    }
    snake
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object of at most {MOST_MEMBERS} members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(16);
        while let Some(name) = object.next_key_seed(Name)? {
            if members.len() == MOST_MEMBERS {
                return Err(serde::de::Error::invalid_length(MOST_MEMBERS + 1, &self));
            }
            members.push((name, object.next_value()?));
        }
        Ok(members)
    }
}

struct ListVisitor {
    limit: usize,
}

impl<'de> Visitor<'de> for ListVisitor {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut values, mut sent) = (Vec::new(), 0);
        while let Some(value) = list.next_element()? {
            if sent < self.limit {
                values.push(value);
            }
            sent += 1;
        }
        Ok((values, sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_members_are_named_by_their_path() {
        let text = r#"{"page":{"path":"/a","x":{"y":{"z":1}}},"userAgent":"u","ip":"1.2.3.4","tags":["a"],"none":null}"#;
        let object = Object::parse(text).expect("an object");
        let flat = flatten("context", &object, &["context_ip"], 2);
        let expected = [
            ("context_page_path", r#""/a""#),
            ("context_page_x_y", r#"{"z":1}"#),
            ("context_user_agent", r#""u""#),
            ("context_tags", r#"["a"]"#),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(flat, expected);
    }

    #[test]
    fn ids_are_texts_or_numbers() {
        let object =
            Object::parse(r#"{"a":"x","b":17,"c":"","d":null,"e":"\u0061","f":[],"g":true,"h":"\ud800"}"#)
                .expect("an object");
        let ids = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|name| object.id(name));
        let some = |id: &'static str| Some(id.into());
        let expected = [some("x"), some("17"), None, None, some("a"), None, None, some("\\ud800"), None];
        assert_eq!(ids, expected);
    }
}
