//! Members for an object that came as a text.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{Reason, Rejection, kind};

/// The text of an object with `members` before its own. If one of its own has the same name, `jsonb` keeps that.
pub(super) fn put_before<'a>(
    members: &[(Cow<'a, str>, &'a RawValue)],
    object: Option<Cow<'a, str>>,
) -> Result<Cow<'a, str>, Rejection> {
    let object = object.unwrap_or("{}".into());
    let Some(own) = object.strip_prefix('{') else {
        let message = format!("expected an object, got {}", kind(&object));
        return Err(Rejection::new("properties", Reason::WrongType, message));
    };
    if members.is_empty() {
        return Ok(object);
    }
    let mut text = String::from("{");
    push(&mut text, members);
    if !own.trim_start().starts_with('}') {
        text.push(',');
    }
    text.push_str(own);
    Ok(text.into())
}

/// The text of an object.
pub(super) fn object(members: &[(Cow<'_, str>, &RawValue)]) -> String {
    let mut text = String::from("{");
    push(&mut text, members);
    text.push('}');
    text
}

fn push(text: &mut String, members: &[(Cow<'_, str>, &RawValue)]) {
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&serde_json::Value::from(&**name).to_string());
        text.push(':');
        text.push_str(value.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_before_an_objects_own() {
        let raw: Box<RawValue> = serde_json::from_str(r#"[1, "x"]"#).unwrap();
        let members = [(Cow::from("a\"b"), &*raw)];
        for (object, expected) in [
            (None, r#"{"a\"b":[1, "x"]}"#),
            (Some("{ }"), r#"{"a\"b":[1, "x"] }"#),
            (Some(r#"{"k": {}}"#), r#"{"a\"b":[1, "x"],"k": {}}"#),
        ] {
            assert_eq!(put_before(&members, object.map(Into::into)).unwrap(), expected);
        }
        assert_eq!(put_before(&[], Some("{ }".into())).unwrap(), "{ }");
        assert!(put_before(&members, Some("[1]".into())).is_err());
        assert_eq!(super::object(&members), r#"{"a\"b":[1, "x"]}"#);
    }
}
