//! What each failure is to a client.

use std::{io, sync::Arc};

use poem::http::{StatusCode, header};
use poem_openapi::error::{ContentTypeError, ParseParamError};

use super::{Code, FieldError, Problem};
use crate::{
    ingest::{
        encoding::NotDecompressed,
        receipt::{NotTaken, Rejected},
        wire::BodyError,
    },
    limits::{admission::Overloaded, rate::OverRate},
    store::{ErrorKind, StoreError},
};

impl Problem {
    /// What poem and poem-openapi answer themselves, as a problem.
    pub fn from_poem(error: poem::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(problem) => return problem,
            Err(error) => error,
        };
        if let Some(error) = error.downcast_ref::<ParseParamError>() {
            let field_error = FieldError::new(error.name, "invalid", error.reason.clone());
            return Self::invalid(Code::ValidationFailed, error.to_string(), vec![field_error]);
        }
        let detail = error.to_string();
        match error.status() {
            StatusCode::NOT_FOUND => Self::new(Code::NotFound, "All endpoints are listed at /docs."),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(Code::MethodNotAllowed, "All endpoints are listed at /docs.")
            }
            _ if error.is::<ContentTypeError>() => Self::new(Code::UnsupportedMediaType, detail),
            status if status.is_client_error() => Self::new(Code::BadRequest, detail),
            _ => Self::internal(io::Error::other(detail)),
        }
    }

    pub fn key_not_looked_up(error: Arc<StoreError>) -> Self {
        if error.kind().is_transient() {
            Self::new(
                Code::StoreUnavailable,
                "The key cannot be looked up now. Send the request again after Retry-After.",
            )
            .caused(error)
        } else {
            Self::internal(error)
        }
    }

    pub fn body_not_whole(error: io::Error) -> Self {
        Self::new(
            Code::BadRequest,
            "The body ended before its Content-Length, or the connection broke. Send the request again.",
        )
        .caused(error)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (code, detail) = match error.kind() {
            ErrorKind::TooExpensive => (
                Code::QueryTooExpensive,
                "The question took too long to answer. Ask for fewer days, or fewer values.",
            ),
            ErrorKind::Busy => (
                Code::Overloaded,
                "weir is answering as many questions about single events as it can. Ask again after Retry-After.",
            ),
            ErrorKind::Unavailable => (
                Code::StoreUnavailable,
                "The database cannot be reached, or is overloaded. Events are still taken. Ask again after Retry-After.",
            ),
            ErrorKind::Value => (
                Code::ValidationFailed,
                "A value of the question is outside what the database can hold. Look at its dates and numbers.",
            ),
            ErrorKind::Operational | ErrorKind::Duplicate | ErrorKind::Refused | ErrorKind::Internal => {
                return Self::internal(error);
            }
        };
        Self::new(code, detail).caused(error)
    }
}

impl From<NotTaken> for Problem {
    fn from(error: NotTaken) -> Self {
        match error {
            NotTaken::Body(error) => error.into(),
            NotTaken::OverRate(error) => error.into(),
            NotTaken::KeyReused => {
                let detail = "This Idempotency-Key was used for another body. Nothing of the request was taken; send it with a new key.";
                Self::new(Code::IdempotencyKeyReused, detail)
            }
            NotTaken::NotPublished { allowance, .. } => {
                let detail = "The events could not be made durable. Send them again with the same ids after Retry-After.";
                let problem = Self::new(Code::StreamUnavailable, detail).caused(error);
                Self { allowance: Some(allowance), ..problem }
            }
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let code = match &error {
            BodyError::Empty => Code::EmptyBatch,
            BodyError::TooManyEvents { .. } => Code::TooManyEvents,
            BodyError::NotUtf8 { .. }
            | BodyError::NotJson { .. }
            | BodyError::InvalidHeader { .. }
            | BodyError::WrongShape { .. }
            | BodyError::Compressed => Code::InvalidJson,
        };
        let message = error.to_string();
        let place = error.index().map(|index| FieldError {
            index: u32::try_from(index).ok(),
            event_id: None,
            field: None,
            code: code.name().into(),
            message: message.clone(),
        });
        Self::invalid(code, message, place.into_iter().collect())
    }
}

impl From<OverRate> for Problem {
    fn from(error: OverRate) -> Self {
        match error {
            OverRate::Limited { retry_after, allowance } => {
                let detail = "Nothing of the request was taken; send it again after Retry-After.";
                let mut problem = Self::new(Code::RateLimited, detail);
                problem.allowance = Some(allowance);
                problem.headers.push((header::RETRY_AFTER, (retry_after.as_secs() + 1).to_string()));
                problem
            }
            OverRate::ExceedsBurst { .. } => Self::new(Code::BatchExceedsBurst, error.to_string()),
        }
    }
}

impl From<Overloaded> for Problem {
    fn from(error: Overloaded) -> Self {
        Self::new(Code::Overloaded, "Nothing of the request was taken; send it again after Retry-After.")
            .caused(error)
    }
}

impl From<NotDecompressed> for Problem {
    fn from(error: NotDecompressed) -> Self {
        match error {
            NotDecompressed::TooLarge(_) => Self::new(Code::BodyTooLarge, error.to_string()),
            NotDecompressed::Invalid { .. } => Self::new(Code::InvalidEncoding, error.to_string()),
            NotDecompressed::Overloaded(error) => error.into(),
        }
    }
}

impl From<&Rejected> for FieldError {
    fn from(rejected: &Rejected) -> Self {
        Self {
            index: u32::try_from(rejected.index).ok(),
            event_id: rejected.rejection.event_id.clone(),
            field: rejected.rejection.field.as_deref().map(str::to_owned),
            code: rejected.rejection.reason.code().into(),
            message: rejected.rejection.message.clone(),
        }
    }
}
