//! Problems as the error type of operations, with what the OpenAPI document says of them.

use std::marker::PhantomData;

use poem_openapi::{
    ApiResponse,
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry},
    types::Type,
};

use super::{CONTENT_TYPE, Document, Problem, RATE_LIMIT, RATE_LIMIT_POLICY};

/// The error type of an operation: a [`Problem`] whose possible statuses stand in the OpenAPI document.
pub struct Refusal<O>(Problem, PhantomData<fn() -> O>);

/// What an operation can answer besides success.
pub trait Statuses {
    const STATUSES: &'static [(u16, &'static str)];
    /// Whether answers to a known project say what it may still send.
    const ALLOWANCE: bool;
}

/// What sends.
pub struct Sending;

impl Statuses for Sending {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "The body cannot be read, or no event of it is valid"),
        (401, "The key is missing or unknown"),
        (403, "The key may not send events, or not from this web page"),
        (408, "The body did not arrive in time"),
        (413, "The body or the batch is too large"),
        (415, "The body's type or encoding is not supported"),
        (422, "Another body was sent with the same `Idempotency-Key`; nothing of the request was taken"),
        (429, "The rate limit is reached; nothing of the request was taken"),
        (500, "A failure of weir"),
        (503, "The events cannot be made durable now: send them again after `Retry-After`"),
    ];
    const ALLOWANCE: bool = true;
}

/// What asks a question.
pub struct Asking;

impl Statuses for Asking {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "A parameter is not valid"),
        (401, "The key is missing or unknown"),
        (403, "The key may not ask questions, or not from this web page"),
        (422, "The question takes too long to answer: `errors` says what to narrow"),
        (429, "This address has reached its limit of requests"),
        (500, "A failure of weir"),
        (503, "The database cannot be reached now, or weir is answering as many questions as it can"),
    ];
    const ALLOWANCE: bool = false;
}

/// What asks a question in a body.
pub struct AskingInBody;

impl Statuses for AskingInBody {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "The body cannot be read, or a part of the question is not valid"),
        (401, "The key is missing or unknown"),
        (403, "The key may not ask questions, or not from this web page"),
        (408, "The body did not arrive in time"),
        (413, "The body is too large"),
        (415, "The body is not `application/json`"),
        (422, "The question takes too long to answer: `errors` says what to narrow"),
        (429, "This address has reached its limit of requests"),
        (500, "A failure of weir"),
        (503, "The database cannot be reached now, or weir is answering as many questions as it can"),
    ];
    const ALLOWANCE: bool = false;
}

/// What asks about one thing, which may not be there.
pub struct Finding;

impl Statuses for Finding {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "A parameter is not valid"),
        (401, "The key is missing or unknown"),
        (403, "The key may not ask questions, or not from this web page"),
        (404, "Not found"),
        (422, "The question takes too long to answer"),
        (429, "This address has reached its limit of requests"),
        (500, "A failure of weir"),
        (503, "The database cannot be reached now"),
    ];
    const ALLOWANCE: bool = false;
}

/// What manages.
pub struct Managing;

impl Statuses for Managing {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "A parameter is not valid"),
        (401, "The key is missing or unknown"),
        (403, "The key is not of kind admin, or may not be used from this web page"),
        (429, "This address has reached its limit of requests"),
        (500, "A failure of weir"),
        (503, "The database cannot be reached now"),
    ];
    const ALLOWANCE: bool = false;
}

/// What merges users.
pub struct Merging;

impl Statuses for Merging {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "The body cannot be read, or a name is not valid, or both are the same user's"),
        (401, "The key is missing or unknown"),
        (403, "The key is not of kind admin, or may not be used from this web page"),
        (408, "The body did not arrive in time"),
        (
            409,
            "The name is an alias of another user, or the user would have too many: `detail` says what to do",
        ),
        (413, "The body is too large"),
        (415, "The body is not `application/json`"),
        (429, "This address has reached its limit of requests"),
        (500, "A failure of weir"),
        (503, "The database cannot be reached now"),
    ];
    const ALLOWANCE: bool = false;
}

impl<O> Refusal<O> {
    fn new(problem: Problem) -> Self {
        Self(problem, PhantomData)
    }
}

impl<O, E: Into<Problem>> From<E> for Refusal<O> {
    fn from(error: E) -> Self {
        Self::new(error.into())
    }
}

impl<O> From<Refusal<O>> for poem::Error {
    fn from(refusal: Refusal<O>) -> Self {
        refusal.0.into()
    }
}

impl<O: Statuses> ApiResponse for Refusal<O> {
    fn meta() -> MetaResponses {
        let responses = O::STATUSES.iter().map(|&(status, text)| response(status, text, O::ALLOWANCE));
        MetaResponses { responses: responses.collect() }
    }

    fn register(registry: &mut Registry) {
        Document::register(registry);
    }
}

fn response(status: u16, description: &'static str, allowance: bool) -> MetaResponse {
    let schema: MetaSchemaRef = Document::schema_ref();
    MetaResponse {
        description,
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType { content_type: CONTENT_TYPE, schema }],
        headers: headers(status, allowance),
    }
}

fn headers(status: u16, allowance: bool) -> Vec<MetaHeader> {
    let mut documented = match status {
        401 => vec![("WWW-Authenticate", "How to present a key.", true)],
        415 if allowance => {
            vec![("Accept-Encoding", "The encodings that are supported, if it was the encoding.", false)]
        }
        429 => vec![("Retry-After", "Seconds after which the same request passes.", true)],
        503 => vec![("Retry-After", "Seconds after which to try again.", true)],
        _ => Vec::new(),
    };
    // Who is not authenticated learns nothing of a project.
    if status == 429 || allowance && ![401, 403, 500].contains(&status) {
        // An unknown parameter, or a database that cannot say whose a key is, comes before anything is known.
        let always = ![400, 503].contains(&status);
        documented.extend([
            (RATE_LIMIT_POLICY, "What a full bucket holds, and the seconds in which it fills.", always),
            (RATE_LIMIT, "What remains, and the seconds until the bucket is full.", always),
        ]);
    }
    let header = |(name, description, required): (&str, &str, bool)| MetaHeader {
        name: name.into(),
        description: Some(description.into()),
        required,
        deprecated: false,
        schema: String::schema_ref(),
    };
    documented.into_iter().map(header).collect()
}
