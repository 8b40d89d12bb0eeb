//! A request's id: the caller's, or a new one. It stands in the logs of the API and of the worker.

use std::sync::Arc;

use poem::{Request, http::HeaderName};
use uuid::Uuid;

pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

#[derive(Clone, Debug)]
pub struct RequestId(Arc<str>);

impl RequestId {
    pub fn of(request: &Request) -> Self {
        let sent = request.header(&HEADER).filter(|id| is_valid(id));
        sent.map_or_else(|| Self(Uuid::now_v7().to_string().into()), |id| Self(id.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A caller's id is taken if it has 1 to 128 visible ASCII characters: it goes into logs and answers.
pub fn is_valid(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}
