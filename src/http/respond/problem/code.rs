//! The kinds of problems.

use poem::http::StatusCode;

/// What went wrong, as a client may distinguish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    InvalidJson,
    InvalidEncoding,
    EmptyBatch,
    ValidationFailed,
    BadRequest,
    Unauthorized,
    Forbidden,
    OriginNotAllowed,
    NotFound,
    MethodNotAllowed,
    AlreadyMerged,
    TooManyAliases,
    BodyTimeout,
    BodyTooLarge,
    TooManyEvents,
    BatchExceedsBurst,
    UnsupportedMediaType,
    IdempotencyKeyReused,
    QueryTooExpensive,
    RateLimited,
    Internal,
    Overloaded,
    StreamUnavailable,
    StoreUnavailable,
}

pub(crate) struct Facts {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
}

impl Code {
    pub const ALL: [Self; 24] = [
        Self::InvalidJson,
        Self::InvalidEncoding,
        Self::EmptyBatch,
        Self::ValidationFailed,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::OriginNotAllowed,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::AlreadyMerged,
        Self::TooManyAliases,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::TooManyEvents,
        Self::BatchExceedsBurst,
        Self::UnsupportedMediaType,
        Self::IdempotencyKeyReused,
        Self::QueryTooExpensive,
        Self::RateLimited,
        Self::Internal,
        Self::Overloaded,
        Self::StreamUnavailable,
        Self::StoreUnavailable,
    ];

    #[rustfmt::skip] // a table
    pub(crate) fn facts(self) -> Facts {
        let (status, code, title) = match self {
            Self::InvalidJson => (StatusCode::BAD_REQUEST, "invalid_json", "The body cannot be read"),
            Self::InvalidEncoding => (StatusCode::BAD_REQUEST, "invalid_encoding", "The body cannot be decompressed"),
            Self::EmptyBatch => (StatusCode::BAD_REQUEST, "empty_batch", "The batch is empty"),
            Self::ValidationFailed => (StatusCode::BAD_REQUEST, "validation_failed", "Validation failed"),
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad_request", "The request cannot be read"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A valid key is needed"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The key does not allow this"),
            Self::OriginNotAllowed => (StatusCode::FORBIDDEN, "origin_not_allowed", "The page may not use the key"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "Not found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "The endpoint has no such method"),
            Self::AlreadyMerged => (StatusCode::CONFLICT, "already_merged", "The name is an alias of another user"),
            Self::TooManyAliases => (StatusCode::CONFLICT, "too_many_aliases", "The user has too many aliases"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "body_timeout", "The body came too slowly"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large"),
            Self::TooManyEvents => (StatusCode::PAYLOAD_TOO_LARGE, "too_many_events", "The batch has too many events"),
            Self::BatchExceedsBurst => (StatusCode::PAYLOAD_TOO_LARGE, "batch_exceeds_burst", "The batch is larger than the rate limit ever allows"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body's type is not supported"),
            Self::IdempotencyKeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", "The key belongs to another request"),
            Self::QueryTooExpensive => (StatusCode::UNPROCESSABLE_ENTITY, "query_too_expensive", "The question takes too long to answer"),
            Self::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many events or requests at once"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong in weir"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "weir is busy"),
            Self::StreamUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "stream_unavailable", "Events cannot be taken now"),
            Self::StoreUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "The database is not available now"),
        };
        Facts { status, code, title }
    }

    pub(crate) fn status(self) -> StatusCode {
        self.facts().status
    }

    /// The stable name.
    pub fn name(self) -> &'static str {
        self.facts().code
    }
}
