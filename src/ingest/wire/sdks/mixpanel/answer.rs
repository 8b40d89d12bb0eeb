//! What Mixpanel's SDKs understand.

use std::borrow::Cow;

use ::http::{StatusCode, header};
use serde_json::{Value, json};

use super::super::{Outcome, SdkAnswer, SdkRequest};
use crate::ingest::receipt::{Receipt, Rejected};

/// An image of one pixel, without a table of colours: all of it is ASCII.
const PIXEL: &str = "GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// `1` or `0`; with `verbose=1` JSON of the same. Mixpanel's SDK for Python asks for that inside its form: what was refused
/// before the form was read is JSON as well, unless the query says `verbose=0`.
pub(super) fn plain(request: &SdkRequest<'_>, outcome: Outcome<'_>) -> SdkAnswer {
    let (status, error) = match outcome {
        Outcome::Taken(_) => (200, None),
        Outcome::Refused(refused) => (refused.status, Some(refused.message())),
    };
    if request.parameter("img") == Some("1") {
        return SdkAnswer { status, content_type: "image/gif", body: PIXEL.into() };
    }
    if request.parameter("verbose").map_or(error.is_some(), |verbose| verbose == "1") {
        return SdkAnswer::json(status, &json!({"status": u8::from(error.is_none()), "error": error}));
    }
    let body = Cow::Borrowed(if error.is_none() { "1" } else { "0" });
    SdkAnswer { status, content_type: "text/plain", body }
}

/// To SDKs, which send a form or a GET, as ever. To others a report, and 400 if an event is not valid, though the others are taken;
/// `strict=0` asks for 200 then.
pub(super) fn import(request: &SdkRequest<'_>, outcome: Outcome<'_>) -> SdkAnswer {
    let is_sdk = is_form_or_get(request) && request.parameter("strict").is_none();
    if is_sdk || request.parameter("verbose") == Some("1") {
        return plain(request, outcome);
    }
    let is_strict = request.parameter("strict") != Some("0");
    let (status, error, receipt) = match outcome {
        Outcome::Taken(receipt) if receipt.rejected.is_empty() || !is_strict => (200, None, Some(receipt)),
        Outcome::Taken(receipt) => (400, Some(SOME_FAILED.to_owned()), Some(receipt)),
        Outcome::Refused(refused) => (refused.status, Some(refused.message()), refused.receipt),
    };
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let mut report = json!({"code": status, "status": reason});
    if let Some(error) = error {
        report["error"] = error.into();
    }
    if let Some(Receipt { accepted, duplicates, rejected, .. }) = receipt {
        report["num_records_imported"] = (accepted + duplicates).into();
        if !rejected.is_empty() {
            report["failed_records"] = rejected.iter().map(failed).collect();
        }
    }
    SdkAnswer::json(status, &report)
}

const SOME_FAILED: &str = "some data points in the request failed validation";

/// Mixpanel's documents call the id `$insert_id` in one place and `insert_id` in another.
fn failed(Rejected { index, rejection }: &Rejected) -> Value {
    let id = &rejection.event_id;
    json!({"index": index, "$insert_id": id, "insert_id": id, "field": rejection.field, "message": rejection.message})
}

fn is_form_or_get(request: &SdkRequest<'_>) -> bool {
    let content_type = request.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_none_or(|content_type| content_type.starts_with("application/x-www-form-urlencoded"))
}
