//! Every error answer of weir: a problem document (RFC 9457).
//!
//! Causes become a [`Problem`] here and nowhere else. A `code` is part of the contract with clients; the detail of a 5xx
//! says nothing about the inside, which goes to the log.

use std::{borrow::Cow, error::Error, marker::PhantomData};

use poem::{
    Response,
    error::{ReadBodyError, ResponseError},
    http::{StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Object,
    error::{ContentTypeError, ParseParamError},
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry},
    types::{ToJSON, Type},
};

use crate::{
    ingest::{
        NotTaken, Rejected,
        decode::BodyError,
        rate::{Allowance, OverRate},
    },
    store::StoreError,
};

/// How long a client waits when nobody knows how long the trouble lasts, in seconds.
const RETRY_AFTER: u64 = 2;

/// What went wrong, as a client may tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    InvalidJson,
    EmptyBatch,
    ValidationFailed,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    BodyTooLarge,
    TooManyEvents,
    BatchExceedsBurst,
    UnsupportedMediaType,
    RateLimited,
    BadRequest,
    Internal,
    StreamUnavailable,
    StoreUnavailable,
}

struct Facts {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
}

impl Code {
    #[rustfmt::skip] // a table
    fn facts(self) -> Facts {
        let (status, code, title) = match self {
            Self::InvalidJson => (StatusCode::BAD_REQUEST, "invalid_json", "The body cannot be read"),
            Self::EmptyBatch => (StatusCode::BAD_REQUEST, "empty_batch", "The batch is empty"),
            Self::ValidationFailed => (StatusCode::BAD_REQUEST, "validation_failed", "Validation failed"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A valid key is needed"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The key does not allow this"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is no such path"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "The path has no such method"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large"),
            Self::TooManyEvents => (StatusCode::PAYLOAD_TOO_LARGE, "too_many_events", "The batch has too many events"),
            Self::BatchExceedsBurst => (StatusCode::PAYLOAD_TOO_LARGE, "batch_exceeds_burst", "The batch can never pass"),
            Self::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many events"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body's type is not supported"),
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad_request", "The request cannot be read"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong in weir"),
            Self::StreamUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "stream_unavailable", "Events cannot be taken now"),
            Self::StoreUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "Questions cannot be answered now"),
        };
        Facts { status, code, title }
    }
}

/// An error on its way to the client.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    pub code: Code,
    pub detail: Cow<'static, str>,
    pub errors: Vec<FieldError>,
    /// What the project may still send, if that was looked at.
    pub allowance: Option<Allowance>,
    /// In seconds.
    retry_after: Option<u64>,
    #[source]
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, Object)]
pub struct FieldError {
    /// The place of the event in the request, from 0.
    #[oai(skip_serializing_if_is_none)]
    pub index: Option<u32>,
    /// The event's id, as sent.
    #[oai(skip_serializing_if_is_none)]
    pub event_id: Option<String>,
    /// The field or parameter.
    #[oai(skip_serializing_if_is_none)]
    pub field: Option<String>,
    /// A stable name of the reason.
    pub code: String,
    /// What was expected and what came.
    pub message: String,
}

/// A problem document of RFC 9457.
#[derive(Debug, Object)]
#[oai(rename = "Problem")]
struct Document {
    /// A URI that names the kind of problem.
    #[oai(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    /// A stable name of the kind of problem.
    code: String,
    /// What happened, for a person.
    detail: String,
    /// What is wrong in particular.
    #[oai(skip_serializing_if_is_empty)]
    errors: Vec<FieldError>,
    /// The request's id, as in the logs.
    request_id: String,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after = (code.facts().status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER);
        Self { code, detail: detail.into(), errors: Vec::new(), allowance: None, retry_after, cause: None }
    }

    /// Parameters or events that are not valid.
    pub fn invalid(code: Code, detail: impl Into<Cow<'static, str>>, errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(code, detail) }
    }

    fn caused(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Box::new(cause));
        self
    }

    pub fn internal(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::new(Code::Internal, "The failure is in the logs under this request's id.").caused(cause)
    }

    /// What poem and poem-openapi answer themselves, as a problem.
    pub fn from_poem(error: poem::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(problem) => return problem,
            Err(error) => error,
        };
        if let Some(error) = error.downcast_ref::<ParseParamError>() {
            let field_error = FieldError {
                index: None,
                event_id: None,
                field: Some(error.name.into()),
                code: "invalid".into(),
                message: error.reason.clone(),
            };
            return Self::invalid(Code::ValidationFailed, error.to_string(), vec![field_error]);
        }
        let detail = error.to_string();
        match error.status() {
            StatusCode::NOT_FOUND => Self::new(Code::NotFound, "GET /docs shows what there is."),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(Code::MethodNotAllowed, "GET /docs shows what there is.")
            }
            _ if error.is::<ContentTypeError>() => Self::new(Code::UnsupportedMediaType, detail),
            status if status.is_client_error() => Self::new(Code::BadRequest, detail),
            _ => Self::new(Code::Internal, "The failure is in the logs under this request's id.")
                .caused(std::io::Error::other(detail)),
        }
    }

    pub fn status(&self) -> StatusCode {
        self.code.facts().status
    }

    /// The answer, with the request's id.
    pub fn to_response(&self, request_id: &str) -> Response {
        let Facts { status, code, title } = self.code.facts();
        let document = Document {
            kind: format!("https://weir.dev/problems/{}", code.replace('_', "-")),
            title: title.into(),
            status: status.as_u16(),
            code: code.into(),
            detail: self.detail.to_string(),
            errors: self.errors.clone(),
            request_id: request_id.into(),
        };
        let mut response = Response::builder().status(status).content_type(CONTENT_TYPE);
        if status == StatusCode::UNAUTHORIZED {
            response = response.header(header::WWW_AUTHENTICATE, "Bearer realm=\"weir\"");
        }
        if let Some(seconds) = self.retry_after {
            response = response.header(header::RETRY_AFTER, seconds);
        }
        if let Some(allowance) = &self.allowance {
            response = response.header(RATE_LIMIT_POLICY, allowance.policy());
            response = response.header(RATE_LIMIT, allowance.limit());
        }
        response.body(document.to_json_string())
    }
}

pub(super) const RATE_LIMIT_POLICY: &str = "RateLimit-Policy";
pub(super) const RATE_LIMIT: &str = "RateLimit";
const CONTENT_TYPE: &str = "application/problem+json";

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.status()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_transient() {
            Self::new(Code::StoreUnavailable, "The database cannot be reached; events are still taken.")
                .caused(error)
        } else {
            Self::internal(error)
        }
    }
}

impl From<NotTaken> for Problem {
    fn from(error: NotTaken) -> Self {
        let code = match &error {
            NotTaken::Body(BodyError::Empty) => Code::EmptyBatch,
            NotTaken::Body(BodyError::TooManyEvents { .. }) => Code::TooManyEvents,
            NotTaken::Body(_) => Code::InvalidJson,
            NotTaken::OverRate(OverRate::ExceedsBurst { .. }) => Code::BatchExceedsBurst,
            NotTaken::OverRate(OverRate::Limited { retry_after, allowance }) => {
                let detail = "Nothing of the request was taken; send it again after Retry-After.";
                return Self {
                    allowance: Some(*allowance),
                    retry_after: Some(retry_after.as_secs() + 1),
                    ..Self::new(Code::RateLimited, detail)
                };
            }
            NotTaken::NotPublished(_) => {
                let detail = "The events could not be made durable; send them again with the same ids.";
                return Self::new(Code::StreamUnavailable, detail).caused(error);
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<ReadBodyError> for Problem {
    fn from(error: ReadBodyError) -> Self {
        match error {
            ReadBodyError::PayloadTooLarge => {
                Self::new(Code::BodyTooLarge, "the body is larger than is taken")
            }
            error => Self::new(Code::BadRequest, "the body did not arrive whole").caused(error),
        }
    }
}

impl From<&Rejected> for FieldError {
    fn from(rejected: &Rejected) -> Self {
        Self {
            index: u32::try_from(rejected.index).ok(),
            event_id: rejected.event_id.clone(),
            field: rejected.rejection.field.as_deref().map(str::to_owned),
            code: rejected.rejection.reason.code().into(),
            message: rejected.rejection.message.clone(),
        }
    }
}

/// The error type of an operation: a [`Problem`] whose possible statuses stand in the OpenAPI document.
pub struct Refusal<O>(Problem, PhantomData<fn() -> O>);

/// What an operation can answer besides success.
pub trait Statuses {
    const STATUSES: &'static [(u16, &'static str)];
}

/// `POST /events`.
pub struct Sending;

impl Statuses for Sending {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "The body cannot be read, or no event of it is valid"),
        (401, "The key is missing or unknown"),
        (403, "The key may not send events"),
        (413, "The body or the batch is too large"),
        (415, "The body's type or encoding is not supported"),
        (429, "The project has sent more than its rate allows; nothing of the request was taken"),
        (500, "A failure of weir"),
        (503, "The events cannot be made durable now: send them again after `Retry-After`"),
    ];
}

/// What asks a question.
pub struct Asking;

impl Statuses for Asking {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "A parameter is not valid"),
        (401, "The key is missing or unknown"),
        (403, "The key may not ask questions"),
        (500, "A failure of weir"),
        (503, "The database cannot be reached now"),
    ];
}

impl<O, E: Into<Problem>> From<E> for Refusal<O> {
    fn from(error: E) -> Self {
        Self(error.into(), PhantomData)
    }
}

impl<O> From<Refusal<O>> for poem::Error {
    fn from(refusal: Refusal<O>) -> Self {
        refusal.0.into()
    }
}

impl<O: Statuses> ApiResponse for Refusal<O> {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: O::STATUSES.iter().map(|&(status, text)| response(status, text)).collect(),
        }
    }

    fn register(registry: &mut Registry) {
        Document::register(registry);
    }
}

fn response(status: u16, description: &'static str) -> MetaResponse {
    let schema: MetaSchemaRef = Document::schema_ref();
    MetaResponse {
        description,
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType { content_type: CONTENT_TYPE, schema }],
        headers: headers(status),
    }
}

fn headers(status: u16) -> Vec<MetaHeader> {
    let documented: &[(&str, &str)] = match status {
        401 => &[("WWW-Authenticate", "How to present a key.")],
        429 => &[
            ("Retry-After", "Seconds after which the same request passes."),
            (RATE_LIMIT_POLICY, "Events that a full bucket holds, and the seconds in which it fills."),
            (RATE_LIMIT, "Events that remain, and the seconds until the bucket is full."),
        ],
        503 => &[("Retry-After", "Seconds after which to try again.")],
        _ => &[],
    };
    let header = |&(name, description): &(&str, &str)| MetaHeader {
        name: name.into(),
        description: Some(description.into()),
        required: true,
        deprecated: false,
        schema: String::schema_ref(),
    };
    documented.iter().map(header).collect()
}
