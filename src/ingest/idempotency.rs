//! `Idempotency-Key`: a request that comes again under its key is the same request, as
//! draft-ietf-httpapi-idempotency-key-header has it. What else comes under the key is refused while the first body is
//! remembered, and later has ids of its own, so it is never taken for the first.

use std::borrow::Cow;

use uuid::Uuid;

/// The key of a request, and which body came under it.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'k> {
    pub key: &'k str,
    pub body: Uuid,
}

impl<'k> Claim<'k> {
    pub fn new(key: &'k str, body: &[u8]) -> Self {
        Self { key, body: Uuid::new_v5(&Uuid::nil(), body) }
    }
}

/// The key that a header holds. The draft writes it as a string of RFC 9651, in quotes, which are not part of it; many
/// clients send it bare.
pub fn key(header: &str) -> Cow<'_, str> {
    let Some(quoted) = header.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return header.into();
    };
    if !quoted.contains('\\') {
        return quoted.into();
    }
    let mut characters = quoted.chars();
    let mut key = String::with_capacity(quoted.len());
    while let Some(character) = characters.next() {
        key.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    key.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_belong_to_the_syntax_and_not_to_the_key() {
        for (header, expected) in [
            ("order-17", "order-17"),
            (r#""order-17""#, "order-17"),
            (r#""a \"b\" \\ c""#, r#"a "b" \ c"#),
            (r#"""#, r#"""#),
            (r#"5" tape"#, r#"5" tape"#),
        ] {
            assert_eq!(key(header), expected);
        }
    }
}
