//! Segments as parameters: conditions on events.

use std::borrow::Cow;

use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseFromParameter, ParseResult, ToJSON, Type},
};

use crate::stats::filter;

/// A parameter that may be repeated: conditions on events, all of which must hold.
pub struct Segments(pub(super) Vec<String>);

impl ToJSON for Segments {
    fn to_json(&self) -> Option<serde_json::Value> {
        None
    }
}

impl Type for Segments {
    const IS_REQUIRED: bool = false;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "segments".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        // How long one may be is not documented here: as many of that length as there may be, the head of a request cannot hold.
        let segment = MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        let schema = MetaSchema {
            items: Some(Box::new(segment)),
            max_items: Some(filter::MOST),
            ..MetaSchema::new("array")
        };
        MetaSchemaRef::Inline(Box::new(schema))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        None
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::empty())
    }
}

impl ParseFromParameter for Segments {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        Ok(Self(vec![text.to_owned()]))
    }

    fn parse_from_parameters<I: IntoIterator<Item = A>, A: AsRef<str>>(texts: I) -> ParseResult<Self> {
        Ok(Self(texts.into_iter().map(|text| text.as_ref().to_owned()).collect()))
    }
}
