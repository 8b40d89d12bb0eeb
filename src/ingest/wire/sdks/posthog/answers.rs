//! What PostHog's SDKs are answered.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::{Outcome, RefusedRequest, SdkAnswer, SdkRequest};
use crate::ingest::receipt::Receipt;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Success is exactly 200: posthog-python sends again what is answered with another 2xx. A beacon wants no body.
pub fn of_all(request: &SdkRequest<'_>, outcome: Outcome<'_>) -> SdkAnswer {
    match outcome {
        Outcome::Taken(_) if request.parameter("beacon") == Some("1") => {
            SdkAnswer { status: 204, content_type: TEXT, body: "".into() }
        }
        Outcome::Taken(_) => thrown_away(request),
        Outcome::Refused(refused) => SdkAnswer {
            status: that_is_heeded(refused.status),
            content_type: TEXT,
            body: refused.message().into(),
        },
    }
}

/// `ok` or `drop` for each event; never `retry`, because weir takes all that are valid or none. That none is valid is
/// said of each, too.
pub fn of_each(_: &SdkRequest<'_>, outcome: Outcome<'_>) -> SdkAnswer {
    match outcome {
        Outcome::Taken(receipt) | Outcome::Refused(RefusedRequest { receipt: Some(receipt), .. }) => {
            SdkAnswer::json(200, &json!({"results": results(receipt)}))
        }
        Outcome::Refused(refused) => SdkAnswer::json(
            that_is_heeded(refused.status),
            &json!({"error": refused.code, "error_description": refused.detail}),
        ),
    }
}

fn results(receipt: &Receipt) -> Map<String, Value> {
    let taken = receipt.named.iter().map(|id| (id.clone(), json!({"result": "ok"})));
    let rejected = receipt.rejected.iter().filter_map(|rejected| {
        let rejection = &rejected.rejection;
        let details = match &rejection.field {
            Some(field) => format!("{field}: {}", rejection.message),
            None => rejection.message.clone(),
        };
        Some((rejection.event_id.clone()?, json!({"result": "drop", "details": details})))
    });
    // The last counts: an event that passed and has a type too many is in both.
    taken.chain(rejected).collect()
}

/// What is to be sent again, because of a rate or a body that came too slowly, is answered with 503, on all calls: posthog-js
/// repeats nothing that is answered with a 4xx, and SDKs give up at a 429 where each event has its answer. Those that
/// do repeat a 429 or a 408 repeat a 503 just the same.
fn that_is_heeded(status: u16) -> u16 {
    if matches!(status, 408 | 429) { 503 } else { status }
}

pub fn thrown_away(_: &SdkRequest<'_>) -> SdkAnswer {
    SdkAnswer { status: 200, content_type: JSON, body: r#"{"status":"Ok"}"#.into() }
}

/// No `featureFlags`: SDKs would complain of an older server. Some ask for their settings here.
pub fn flags(request: &SdkRequest<'_>) -> SdkAnswer {
    let flags = json!({"flags": {}, "errorsWhileComputingFlags": false, "requestId": Uuid::new_v4()});
    let with_settings = request.parameter("config") == Some("true");
    SdkAnswer::json(200, &if with_settings { merged(flags, settings_of_js()) } else { flags })
}

/// Read by SDKs of all ages, so it has what all of them look for.
pub fn decide(_: &SdkRequest<'_>) -> SdkAnswer {
    let decided = json!({
        "config": {"enable_collect_everything": true},
        "featureFlags": {},
        "featureFlagPayloads": {},
        "flags": {},
        "errorsWhileComputingFlags": false,
    });
    SdkAnswer::json(200, &merged(decided, settings_of_js()))
}

pub fn settings(_: &SdkRequest<'_>) -> SdkAnswer {
    SdkAnswer::json(200, &settings_of_js())
}

/// posthog-js asks for the script first. If that sets nothing, it asks for JSON; if it is not there, the page shows an
/// error.
pub fn no_script(_: &SdkRequest<'_>) -> SdkAnswer {
    SdkAnswer { status: 200, content_type: "text/javascript; charset=utf-8", body: "".into() }
}

/// Off is what needs a server of PostHog, and what sends events that nobody has asked for. There must be no `surveys`: with
/// any value, posthog-js loads a script for them.
fn settings_of_js() -> Value {
    json!({
        "supportedCompression": ["gzip-js"],
        "hasFeatureFlags": false,
        "sessionRecording": false,
        "heatmaps": false,
        "capturePerformance": false,
        "autocapture_opt_out": false,
        "siteApps": [],
        "toolbarParams": {},
        "isAuthenticated": false,
    })
}

fn merged(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}
