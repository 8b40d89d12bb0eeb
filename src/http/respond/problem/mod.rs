//! Every error answer of weir: a problem document (RFC 9457).
//!
//! Causes become a [`Problem`] here and nowhere else. A `code` is part of the contract with clients; the detail of a 5xx
//! says nothing about the inside, which goes to the log.

pub mod causes;
pub mod code;
pub mod refusal;

use std::{borrow::Cow, error::Error};

use poem::{
    Response,
    error::ResponseError,
    http::{HeaderName, StatusCode, header},
};
use poem_openapi::{Object, types::ToJSON};
use serde::Serialize;
use serde_json::Value;

use self::code::Facts;
pub use self::{
    code::Code,
    refusal::{Asking, AskingInBody, Finding, Managing, Merging, Refusal, Sending},
};
use crate::{ingest::wire::sdks::SdkAnswer, limits::rate::Allowance, work};

/// Errors that take a core for milliseconds to write.
const MANY: usize = 1_000;
/// How long a client waits when nobody knows how long the trouble lasts, in seconds.
const RETRY_AFTER: &str = "2";

pub(crate) const RATE_LIMIT_POLICY: &str = "RateLimit-Policy";
pub(crate) const RATE_LIMIT: &str = "RateLimit";
pub(crate) const CONTENT_TYPE: &str = "application/problem+json";

/// An error on its way to the client.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    pub code: Code,
    pub detail: Cow<'static, str>,
    pub errors: Vec<FieldError>,
    /// What may still be sent, if that was looked at.
    pub allowance: Option<Allowance>,
    /// Others than those of every problem.
    pub headers: Vec<(HeaderName, String)>,
    /// What an SDK is told instead of the document.
    pub answer: Option<Box<SdkAnswer>>,
    #[source]
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, Object, Serialize)]
pub struct FieldError {
    /// The place of the event in the request, from 0.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// The event's id, as sent.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The field or parameter.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// A stable name of the reason.
    pub code: String,
    /// What was expected and what came.
    pub message: String,
}

impl FieldError {
    /// Of a field or parameter of the request itself, not of one of its events.
    pub fn new(field: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Self {
            index: None,
            event_id: None,
            field: Some(field.into()),
            code: code.into(),
            message: message.into(),
        }
    }
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
    #[oai(skip_serializing_if_is_none)]
    errors: Option<Vec<FieldError>>,
    /// The request's id, as in the logs.
    request_id: String,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut problem = Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            allowance: None,
            headers: Vec::new(),
            answer: None,
            cause: None,
        };
        if problem.status() == StatusCode::SERVICE_UNAVAILABLE {
            problem.headers.push((header::RETRY_AFTER, RETRY_AFTER.into()));
        }
        problem
    }

    /// Parameters or events that are not valid.
    pub fn invalid(code: Code, detail: impl Into<Cow<'static, str>>, errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(code, detail) }
    }

    pub fn internal(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::new(Code::Internal, "The log of weir has the cause, under this request's id.").caused(cause)
    }

    fn caused(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Box::new(cause));
        self
    }

    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The document, with the request's id.
    pub fn to_json(&self, request_id: &str) -> Option<Value> {
        let Facts { status, code, title } = self.code.facts();
        let document = Document {
            kind: format!("https://weir.dev/problems/{}", code.replace('_', "-")),
            title: title.into(),
            status: status.as_u16(),
            code: code.into(),
            detail: self.detail.to_string(),
            errors: (!self.errors.is_empty()).then(|| self.errors.clone()),
            request_id: request_id.into(),
        };
        document.to_json()
    }

    /// The answer, with the request's id.
    pub fn to_response(&self, request_id: &str) -> Response {
        let status = self.status();
        let mut response = Response::builder().status(status).content_type(CONTENT_TYPE);
        if let Some(SdkAnswer { status, content_type, .. }) = self.answer.as_deref() {
            let status = StatusCode::from_u16(*status).expect("protocols answer with statuses of HTTP");
            response = response.status(status).content_type(content_type);
        }
        if status == StatusCode::UNAUTHORIZED {
            response = response.header(header::WWW_AUTHENTICATE, "Bearer realm=\"weir\"");
        }
        if let Some(allowance) = &self.allowance {
            response = response.header(RATE_LIMIT_POLICY, allowance.policy());
            response = response.header(RATE_LIMIT, allowance.limit());
        }
        for (name, value) in &self.headers {
            response = response.header(name, value);
        }
        if let Some(SdkAnswer { body, .. }) = self.answer.as_deref() {
            return response.body(body.to_string());
        }
        let write = || self.to_json(request_id).unwrap_or_default().to_string();
        response.body(work::long_if(self.errors.len() >= MANY, write))
    }
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.status()
    }
}
