//! No bytes make the way in panic, and what passes keeps its bounds: with bodies that were made at random, from pieces of
//! what clients send.

use ::http::HeaderMap;
use proptest::{collection::vec, prelude::*};

use super::{
    validate::{Rules, tests::limits},
    wire::{
        self, Context,
        sdks::{Does, PROTOCOLS, SdkRequest},
    },
};
use crate::model::{project::ProjectId, properties};

const PIECES: [&str; 68] = [
    "|",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\n",
    " ",
    "null",
    "true",
    "1e999",
    "-0",
    "1.5",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "{\"events\":[",
    "\"event\":",
    "\"event_type\":\"a\"",
    "\"user_id\":\"u\"",
    "\"properties\":{",
    "\"metadata\":{}",
    "\"occurred_at\":\"2024-01-01T00:00:00Z\"",
    "\"timestamp\":\"",
    "\"specversion\":\"1.0\"",
    "\"id\":\"1\"",
    "\"source\":\"/s\"",
    "\"type\":\"t\"",
    "\"data\":{",
    "\"data_base64\":",
    "\"site_id\":",
    "{\"batch\":[",
    "\"type\":\"track\"",
    "\"userId\":\"u\"",
    "\"messageId\":\"m\"",
    "\"sentAt\":\"2024-01-01T00:00:00Z\"",
    "\"context\":{",
    "\"uuid\":\"u\"",
    "\"distinct_id\":\"d\"",
    "\"event\":\"$identify\"",
    "\"$anon_distinct_id\":\"a\"",
    "\"$set\":{",
    "\"$set_once\":{\"a\":1}",
    "\"offset\":",
    "\"sent_at\":\"2024-01-01T00:00:00Z\"",
    "\"token\":\"k\"",
    "\"api_key\":",
    "data=",
    "e30=",
    "\"$device_id\":\"d\"",
    "\"$distinct_id\":\"$device:d\"",
    "\"$insert_id\":\"i\"",
    "\"time\":1717243200",
    "\"$unset\":[\"a\"]",
    "\"event_type\":\"$identify\"",
    "\"device_id\":\"device\"",
    "\"insert_id\":\"i\"",
    "\"event_properties\":{",
    "\"user_properties\":{",
    "\"$setOnce\":{\"a\":1}",
    "\"client_upload_time\":\"2024-06-01T00:00:00Z\"",
    "{\"options\":{\"min_id_length\":1},\"events\":[",
    "\"request_id\":",
    "é",
    "\u{10ffff}",
];

fn body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        20 => prop::sample::select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_body_makes_the_way_in_panic(body in body()) {
        let limits = limits();
        let now = "2024-06-01T12:00:00Z".parse().unwrap();
        let rules = Rules { limits: &limits, project_id: ProjectId::from_stored(1), now, idempotency_key: None };
        let context = Context::new(3);
        let of_sdks = PROTOCOLS.iter().flat_map(|protocol| protocol.calls).filter_map(|call| match &call.does {
            Does::Take(taking) => Some(taking),
            Does::Say(_) => None,
        });
        let request = SdkRequest { path: "", headers: &HeaderMap::new(), parameters: &[], body: Some(&body) };
        for taking in of_sdks.clone() {
            (taking.key)(&request);
            if let Some(unpack) = taking.unpack {
                let _ = unpack(&request);
            }
        }
        let of_sdks = of_sdks.map(|taking| &taking.format);
        for format in wire::ALL.iter().copied().flatten().chain(of_sdks) {
            let Ok(body) = format.read(&body, &context) else { continue };
            prop_assert!(body.events.len() <= 3);
            for (index, raw) in body.events.into_iter().enumerate() {
                let Ok(valid) = raw.and_then(|raw| rules.validate(raw, index)) else { continue };
                let event = valid.event;
                let characters = event.event_type.chars().count();
                prop_assert!((1..=200).contains(&characters) || event.is_only_about_user());
                prop_assert!(serde_json::from_str::<serde_json::Map<_, _>>(&event.properties).is_ok());
                prop_assert_eq!(properties::check(&event.properties, 32), Ok(()));
            }
        }
    }
}
