//! Members for an object that came as a text.

use std::borrow::Cow;

/// The text of an object with `members`, each a name and a JSON text, before its own. If one of its own has the same
/// name, `jsonb` keeps that. What is no object stays as it is: validation refuses it.
pub(in crate::ingest) fn put_before<'m, 'a>(
    members: impl IntoIterator<Item = (&'m str, &'m str)>,
    object: Option<Cow<'a, str>>,
) -> Option<Cow<'a, str>> {
    let mut members = members.into_iter().peekable();
    let own = object.as_deref().unwrap_or("{}").strip_prefix('{');
    let Some(own) = own.filter(|_| members.peek().is_some()) else { return object };
    let mut text = String::from("{");
    push(&mut text, members);
    if !own.trim_start().starts_with('}') {
        text.push(',');
    }
    text.push_str(own);
    Some(text.into())
}

/// The text of an object.
pub(super) fn object<'m>(members: impl IntoIterator<Item = (&'m str, &'m str)>) -> String {
    let mut text = String::from("{");
    push(&mut text, members);
    text.push('}');
    text
}

fn push<'m>(text: &mut String, members: impl IntoIterator<Item = (&'m str, &'m str)>) {
    for (at, (name, value)) in members.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&serde_json::Value::from(name).to_string());
        text.push(':');
        text.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_before_an_objects_own() {
        let members = [("a\"b", r#"[1, "x"]"#)];
        for (given, expected) in [
            (None, r#"{"a\"b":[1, "x"]}"#),
            (Some("{ }"), r#"{"a\"b":[1, "x"] }"#),
            (Some(r#"{"k": {}}"#), r#"{"a\"b":[1, "x"],"k": {}}"#),
            (Some("[1]"), "[1]"),
        ] {
            assert_eq!(put_before(members, given.map(Into::into)).as_deref(), Some(expected));
        }
        assert_eq!(put_before([], Some("{ }".into())).as_deref(), Some("{ }"));
        assert_eq!(put_before([], None), None);
        assert_eq!(object([("a\"b", "1"), ("c", "{}")]), r#"{"a\"b":1,"c":{}}"#);
    }
}
