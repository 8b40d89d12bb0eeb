//! Answers with JSON from the database, handed on as it is stored: taken apart and put together again, numbers beyond 64
//! bits would change.

use std::borrow::Cow;

use poem::{IntoResponse, Response};
use poem_openapi::{
    ApiResponse,
    payload::{Json, Payload},
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
    types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::problem::Problem;

/// JSON, written by serde; poem-openapi's `Json` builds a tree of values first.
pub(crate) struct JsonAnswer<T>(pub T);

impl<T: Type> Payload for JsonAnswer<T> {
    const CONTENT_TYPE: &'static str = <Json<T> as Payload>::CONTENT_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Serialize + Send> IntoResponse for JsonAnswer<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(json) => Response::builder().content_type("application/json; charset=utf-8").body(json),
            Err(error) => poem::Error::from(Problem::internal(error)).into_response(),
        }
    }
}

impl<T: Type + Serialize> ApiResponse for JsonAnswer<T> {
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType { content_type: Self::CONTENT_TYPE, schema: Self::schema_ref() }];
        let response =
            MetaResponse { description: "", status: Some(200), status_range: None, content, headers: vec![] };
        MetaResponses { responses: vec![response] }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// An event's properties, as they are stored.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Properties(Box<RawValue>);

impl Properties {
    pub(crate) fn new(stored: String) -> Result<Self, Problem> {
        RawValue::from_string(stored).map(Self).map_err(Problem::internal)
    }
}

impl Type for Properties {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "object".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new("object")))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

/// Asked for by poem-openapi's `Object`, like the next; [`JsonAnswer`] needs neither.
impl ToJSON for Properties {
    fn to_json(&self) -> Option<serde_json::Value> {
        serde_json::from_str(self.0.get()).ok()
    }
}

impl ParseFromJSON for Properties {
    fn parse_from_json(value: Option<serde_json::Value>) -> ParseResult<Self> {
        let text = value.unwrap_or_default().to_string();
        RawValue::from_string(text).map(Self).map_err(ParseError::custom)
    }
}
