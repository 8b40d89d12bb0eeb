//! Origins of web pages (RFC 6454): `https://shop.example`, with a port if it is not the scheme's.

use std::{fmt, str::FromStr};

/// Which origins are allowed: any, or those of a list, which may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// `*`
    Any,
    /// As a browser sends it.
    Exact(String),
    /// `https://*.shop.example`: all below a name. What stands before and behind the `*`.
    Below(String, String),
}

/// A text is no origin.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no origin: expected *, https://shop.example, https://*.shop.example or http://localhost:3000"
)]
pub struct NoOrigin(String);

impl Origins {
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, NoOrigin> {
        texts.into_iter().map(str::parse).collect::<Result<_, _>>().map(Self)
    }

    pub fn allow(&self, origin: &str) -> bool {
        self.0.iter().any(|pattern| match pattern {
            Pattern::Any => true,
            Pattern::Exact(allowed) => allowed == origin,
            Pattern::Below(before, behind) => {
                let below =
                    origin.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(behind.as_str()));
                below.is_some_and(|name| !name.is_empty() && name.bytes().all(is_name))
            }
        })
    }

    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

/// Separated by commas; an empty text allows none.
impl FromStr for Origins {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        Self::parse(text.split(',').map(str::trim).filter(|text| !text.is_empty()))
    }
}

impl FromStr for Pattern {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let lower = text.to_ascii_lowercase();
        let (scheme, host) = lower.split_once("://").ok_or_else(|| NoOrigin(text.into()))?;
        let (wildcard, name) = host.strip_prefix('*').map_or((false, host), |rest| (true, rest));
        let valid = ["http", "https"].contains(&scheme)
            && !name.is_empty()
            && name.starts_with('.') == wildcard
            && name.bytes().all(|byte| is_name(byte) || b":[]".contains(&byte));
        match (valid, wildcard) {
            (false, _) => Err(NoOrigin(text.into())),
            (true, false) => Ok(Self::Exact(lower)),
            (true, true) => Ok(Self::Below(format!("{scheme}://"), name.to_owned())),
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_".contains(&byte)
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("*"),
            Self::Exact(origin) => formatter.write_str(origin),
            Self::Below(before, behind) => write!(formatter, "{before}*{behind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_allowed_whole_or_by_what_is_below_a_name() {
        let origins: Origins =
            "https://Shop.example, https://*.shop.example, http://localhost:3000".parse().unwrap();
        for (origin, allowed) in [
            ("https://shop.example", true),
            ("https://www.shop.example", true),
            ("https://a.b.shop.example", true),
            ("http://localhost:3000", true),
            ("http://shop.example", false),
            ("https://shop.example:8443", false),
            ("https://evilshop.example", false),
            ("https://.shop.example", false),
            ("https://evil.example/.shop.example", false),
            ("null", false),
        ] {
            assert_eq!(origins.allow(origin), allowed, "{origin}");
        }
        assert!("*".parse::<Origins>().unwrap().allow("null"));
        assert!(!"".parse::<Origins>().unwrap().allow("https://shop.example"));
        assert_eq!(
            origins.texts(),
            ["https://shop.example", "https://*.shop.example", "http://localhost:3000"]
        );
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "shop.example",
            "https://",
            "https://shop.example/",
            "ftp://x",
            "https://*",
            "https://*shop",
            "https://a*b",
        ] {
            assert_eq!(text.parse::<Origins>(), Err(NoOrigin(text.into())), "{text}");
        }
    }
}
