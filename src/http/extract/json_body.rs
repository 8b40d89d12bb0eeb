//! What comes in a body as JSON, of a bounded size; events have a decoder of their own.

use std::time::Duration;

use poem::{Request, RequestBody, error::ReadBodyError};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    error::ParseRequestPayloadError,
    payload::{Json, Payload},
    registry::{MetaMediaType, MetaRequest, Registry},
    types::{ParseFromJSON, Type},
};
use serde_json::Value;

use super::{body_schema, repeated};
use crate::{
    http::respond::problem::{Code, Problem},
    ingest::wire::BYTE_ORDER_MARK,
};

const MAX_BYTES: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// poem-openapi's `Json` would read a body of any size, for any time.
pub(crate) struct JsonBody<T>(pub T);

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
        let content_type = request.content_type().unwrap_or_default();
        if !Json::<T>::check_content_type(content_type) {
            let detail = format!("expected a Content-Type of application/json; got '{content_type}'");
            return Err(Problem::new(Code::UnsupportedMediaType, detail).into());
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
        let json = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
        let read = || serde_json::from_slice::<Value>(json);
        let value = read().map_err(|error| {
            Problem::new(Code::InvalidJson, format!("the body is not valid JSON: {error}"))
        })?;
        let mut errors = repeated::faults(json);
        let reason = match T::parse_from_json(Some(value)) {
            Ok(body) if errors.is_empty() => return Ok(Self(body)),
            Ok(_) => String::new(),
            Err(error) => {
                errors.extend(read().iter().flat_map(body_schema::faults::<T>));
                error.into_message()
            }
        };
        if errors.is_empty() {
            return Err(ParseRequestPayloadError { reason }.into());
        }
        Err(Problem::invalid(Code::ValidationFailed, "the body is not what it must be", errors).into())
    }
}
