//! A moment, as RFC 3339 in UTC with `Z`.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type},
};

/// poem-openapi would write `+00:00`, which the same moment's text elsewhere does not have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instant(pub DateTime<Utc>);

impl Type for Instant {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string(date-time)".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "date-time")))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl Instant {
    fn text(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true)
    }
}

impl ToJSON for Instant {
    fn to_json(&self) -> Option<serde_json::Value> {
        Some(self.text().into())
    }
}

impl serde::Serialize for Instant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

/// Asked for by poem-openapi's `Object`, also of what is only written.
impl ParseFromJSON for Instant {
    fn parse_from_json(value: Option<serde_json::Value>) -> ParseResult<Self> {
        let value = value.unwrap_or_default();
        let time = value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        time.map(|time| Self(time.to_utc())).ok_or_else(|| ParseError::expected_type(value))
    }
}
