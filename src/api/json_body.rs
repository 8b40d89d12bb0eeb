//! What comes in a body as JSON, of a bounded size; events have a decoder of their own.

use std::time::Duration;

use poem::{Request, RequestBody, error::ReadBodyError};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    error::{ContentTypeError, ParseRequestPayloadError},
    payload::{Json, Payload},
    registry::{MetaMediaType, MetaRequest, Registry},
    types::{ParseFromJSON, Type},
};
use serde_json::{Map, Value};

use super::problem::{Code, FieldError, Problem};

const MAX_BYTES: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// poem-openapi's `Json` would read a body of any size, for any time.
pub(super) struct JsonBody<T>(pub T);

impl<'a, T: ParseFromJSON> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let json = MetaMediaType { content_type: "application/json", schema: <T as Type>::schema_ref() };
        Some(MetaRequest { description: None, content: vec![json], required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let content_type = request.content_type().ok_or(ContentTypeError::ExpectContentType)?;
        if !Json::<T>::check_content_type(content_type) {
            let content_type = content_type.to_owned();
            return Err(ContentTypeError::NotSupported { content_type }.into());
        }
        let reading = tokio::time::timeout(PATIENCE, body.take()?.into_bytes_limit(MAX_BYTES));
        let bytes = match reading.await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(ReadBodyError::PayloadTooLarge)) => {
                let detail = format!("the body may have at most {MAX_BYTES} bytes");
                return Err(Problem::new(Code::BodyTooLarge, detail).into());
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {
                let detail = format!("the body did not arrive within {} s", PATIENCE.as_secs());
                return Err(Problem::new(Code::BodyTimeout, detail).into());
            }
        };
        let invalid = |reason: String| ParseRequestPayloadError { reason };
        let value = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        T::parse_from_json(Some(value)).map(Self).map_err(|error| {
            let errors = missing::<T>(&bytes);
            if errors.is_empty() {
                return invalid(error.into_message()).into();
            }
            Problem::invalid(Code::ValidationFailed, "the body lacks what it must have", errors).into()
        })
    }
}

/// The fields that a body must have and has not. What poem-openapi says of them does not name them.
fn missing<T: ParseFromJSON>(body: &[u8]) -> Vec<FieldError> {
    let mut registry = Registry::new();
    T::register(&mut registry);
    let sent: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let required = registry.schemas.get(&*T::name()).map_or(&[][..], |schema| &schema.required);
    let missing = required.iter().filter(|field| !sent.contains_key(**field));
    missing.map(|field| FieldError::new(*field, "missing", "this field is required")).collect()
}
