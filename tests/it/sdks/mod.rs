//! Other vendors' SDKs: as they come from their registries, by what they send, and by the answers that they understand.

mod amplitude;
mod amplitude_programs;
mod mixpanel;
mod mixpanel_programs;
mod posthog;
mod posthog_programs;
mod programs;
mod script;
mod segment;

use reqwest::{Method, Response, header::HeaderMap};
use serde_json::Value;

use crate::support::{Weir, json};

/// What a page of another origin asks before it sends with credentials.
async fn preflight(weir: &Weir, path: &str) -> HeaderMap {
    let request = weir.http.request(Method::OPTIONS, weir.url(path)).header("Origin", "https://shop.example");
    let request = request.header("Access-Control-Request-Method", "POST");
    let request = request.header("Access-Control-Request-Headers", "content-encoding,content-type");
    let answer: Response = request.send().await.unwrap();
    assert_eq!(answer.status(), 204);
    answer.headers().clone()
}

/// Status and JSON of a request with a body.
async fn post(weir: &Weir, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> (u16, Value) {
    let request = weir.http.post(weir.url(path)).header("Content-Type", content_type);
    let (status, answer) = json(request.body(body.into()).send().await.unwrap()).await;
    (status.as_u16(), answer)
}

/// Stored events, without what only says something of a user.
const EVENTS: &str = "select count(*) from events where event_type <> ''";
