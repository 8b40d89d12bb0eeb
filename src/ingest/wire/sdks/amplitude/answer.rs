//! What Amplitude's SDKs understand.

use ::http::header;
use chrono::Utc;
use serde_json::{Map, Value, json};

use super::{
    super::{Outcome, RefusedRequest, SdkAnswer, SdkRequest},
    NAMES, TOO_SHORT,
};
use crate::ingest::{
    receipt::{Receipt, Rejected},
    validate::{Reason, Rejection},
};

/// Events that Amplitude takes at once.
const MOST_EVENTS: usize = 2_000;

/// SDKs look at the `code` of the body.
pub(super) fn answer(request: &SdkRequest<'_>, outcome: Outcome<'_>) -> SdkAnswer {
    let refused = match outcome {
        Outcome::Taken(receipt) => return success(request, receipt),
        Outcome::Refused(refused) => refused,
    };
    let RefusedRequest { status, receipt, allowance, .. } = refused;
    let message = refused.message();
    match (status, receipt) {
        (400, Some(Receipt { rejected, .. })) => SdkAnswer::json(400, &not_valid(rejected)),
        // SDKs throw away all that they hold if a field of the whole request is missing, and send it for ever otherwise.
        (400, None) => {
            SdkAnswer::json(400, &json!({"code": 400, "error": message, "missing_field": "events"}))
        }
        // By this beginning, too.
        (401 | 403, _) => {
            SdkAnswer::json(400, &json!({"code": 400, "error": format!("Invalid API key: {message}")}))
        }
        (413, _) => {
            SdkAnswer::json(413, &json!({"code": 413, "error": format!("Payload too large: {message}")}))
        }
        (429, _) => {
            let limit = allowance.map_or(0, |allowance| allowance.rate.limit.get());
            // How many events there were is not known here. What is not listed would be sent again at once.
            let throttled: Vec<usize> = (0..MOST_EVENTS).collect();
            let error = format!("Too many requests: {message}");
            let document = json!({
                "code": 429, "error": error, "eps_threshold": limit, "throttled_events": throttled,
                "throttled_devices": {}, "throttled_users": {},
                "exceeded_daily_quota_devices": {}, "exceeded_daily_quota_users": {},
            });
            SdkAnswer::json(429, &document)
        }
        _ => SdkAnswer::json(status, &json!({"code": status, "error": message})),
    }
}

fn success(request: &SdkRequest<'_>, receipt: &Receipt) -> SdkAnswer {
    let size = request.headers.get(header::CONTENT_LENGTH).and_then(|size| size.to_str().ok());
    let size: u64 = size.and_then(|size| size.parse().ok()).unwrap_or_default();
    let document = json!({
        "code": 200,
        "events_ingested": receipt.accepted + receipt.duplicates,
        "payload_size_bytes": size,
        "server_upload_time": Utc::now().timestamp_millis(),
    });
    SdkAnswer::json(200, &document)
}

/// The places of all events that are not valid, by what is wrong and by field.
pub(super) fn not_valid(rejected: &[Rejected]) -> Value {
    let mut lists = Map::new();
    for Rejected { index, rejection } in rejected {
        let field = rejection.field.as_deref().unwrap_or("event");
        let is_id = field == NAMES.user_id || field == NAMES.anonymous_id;
        let list = match rejection.reason {
            Reason::Missing => "events_with_missing_fields",
            TOO_SHORT | Reason::TooLong if is_id => "events_with_invalid_id_lengths",
            _ => "events_with_invalid_fields",
        };
        let fields = lists.entry(list).or_insert_with(|| json!({}));
        match fields.get_mut(field).and_then(Value::as_array_mut) {
            Some(places) => places.push((*index).into()),
            None => fields[field] = json!([index]),
        }
    }
    let mut error = format!("nothing was taken, for {} events are not valid", rejected.len());
    if let Some(Rejected { rejection: Rejection { field, message, .. }, .. }) = rejected.first() {
        error = format!("{error}; the first: {}: {message}", field.as_deref().unwrap_or("event"));
    }
    lists.insert("code".into(), 400.into());
    lists.insert("error".into(), error.into());
    lists.into()
}
