//! Which JSON texts PostgreSQL's `jsonb` stores, decided without building anything.
//!
//! serde has checked the syntax already. What remains is what JSON allows and `jsonb` refuses: NUL characters, lone
//! surrogates, numbers beyond `numeric`; and weir's own bound on depth.

/// Why properties cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    TooDeep,
    Nul,
    LoneSurrogate,
    NumberTooLarge,
}

/// Digits of a number, and powers of ten. PostgreSQL takes more; but what is no finite 64-bit float cannot be given back
/// as JSON that others read.
const MAX_NUMBER: usize = 400;

/// Looks at the text of a syntactically valid JSON value.
pub fn check(text: &str, max_depth: usize) -> Result<(), Fault> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        at = match byte {
            b'"' => end_of_string(bytes, at + 1)?,
            b'-' | b'0'..=b'9' => end_of_number(bytes, at)?,
            b'{' | b'[' => {
                depth += 1;
                if depth > max_depth {
                    return Err(Fault::TooDeep);
                }
                at + 1
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at + 1
            }
            _ => at + 1,
        };
    }
    Ok(())
}

/// The index behind the closing quote of the string whose inside begins at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> Result<usize, Fault> {
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return Ok(at + 1),
            b'\\' if bytes.get(at + 1) == Some(&b'u') => {
                at = match code_unit(bytes, at) {
                    0 => return Err(Fault::Nul),
                    0xD800..=0xDBFF => match code_unit(bytes, at + 6) {
                        0xDC00..=0xDFFF => at + 12,
                        _ => return Err(Fault::LoneSurrogate),
                    },
                    0xDC00..=0xDFFF => return Err(Fault::LoneSurrogate),
                    _ => at + 6,
                };
            }
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    Ok(at)
}

/// The value of the escape `\uXXXX` at `at`; 0xFFFF, which no pair holds, if there is none.
fn code_unit(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 6)
        .filter(|escape| escape.starts_with(b"\\u"))
        .and_then(|escape| std::str::from_utf8(&escape[2..]).ok())
        .and_then(|digits| u16::from_str_radix(digits, 16).ok())
        .unwrap_or(0xFFFF)
}

fn end_of_number(bytes: &[u8], start: usize) -> Result<usize, Fault> {
    let length = bytes[start..]
        .iter()
        .take_while(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
        .count();
    let number = &bytes[start..start + length];
    let finite =
        std::str::from_utf8(number).ok().and_then(|number| number.parse().ok()).is_some_and(f64::is_finite);
    let exponent = number.iter().position(|byte| matches!(byte, b'e' | b'E')).map(|e| &number[e + 1..]);
    let exponent_fits = exponent.is_none_or(|digits| {
        let digits = digits.strip_prefix(b"+").or(digits.strip_prefix(b"-")).unwrap_or(digits);
        std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .is_some_and(|e: usize| e <= MAX_NUMBER)
    });
    if length <= MAX_NUMBER && exponent_fits && finite {
        Ok(start + length)
    } else {
        Err(Fault::NumberTooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jsonb_stores_passes() {
        for text in [
            "{}",
            r#"{"a": [1, -2.5e-3, 1E+300, "\\u0000", "\ud83d\ude00", "é\"}]"], "b": null, "c": true}"#,
            r#"{"\\": "\\\\"}"#,
        ] {
            assert_eq!(check(text, 3), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_jsonb_refuses_is_found() {
        for (text, fault) in [
            (r#"{"a": "\u0000"}"#, Fault::Nul),
            (r#"{"\u0000": 1}"#, Fault::Nul),
            (r#"{"a": "\\\u0000"}"#, Fault::Nul),
            (r#"{"a": "\ud83d"}"#, Fault::LoneSurrogate),
            (r#"{"a": "\ud83d\u0041"}"#, Fault::LoneSurrogate),
            (r#"{"a": "\ude00\ud83d"}"#, Fault::LoneSurrogate),
            (r#"{"a": 1e309}"#, Fault::NumberTooLarge),
            (r#"{"a": 1e-401}"#, Fault::NumberTooLarge),
            (r#"{"a": 1e-99999999999999999999}"#, Fault::NumberTooLarge),
            (r#"{"a": [[1]]}"#, Fault::TooDeep),
        ] {
            assert_eq!(check(text, 2), Err(fault), "{text}");
        }
        assert_eq!(check(&"9".repeat(401), 1), Err(Fault::NumberTooLarge));
    }
}
