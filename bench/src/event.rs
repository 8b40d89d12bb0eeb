//! The events of all measurements: 205 to 215 bytes of JSON each, as an SDK in a web page sends them.
//!
//! All of an event follows from a number and a time, so that it can be sent again without being kept.

use uuid::Uuid;

/// Types and properties, in turns: three of eight events are page views.
pub(crate) const SHAPES: [(&str, &str); 8] = [
    ("page_view", r#"{"path":"/pricing","platform":"web","duration_ms":1840}"#),
    ("search", r#"{"query":"running shoes","platform":"web","results":48}"#),
    ("page_view", r#"{"path":"/products/481","platform":"ios","load_ms":212}"#),
    ("add_to_cart", r#"{"sku":"SKU-20481","quantity":2,"price":59.90}"#),
    ("page_view", r#"{"path":"/checkout","platform":"web","duration_ms":95}"#),
    ("purchase", r#"{"order":"A-2048193","total":119.80,"currency":"EUR"}"#),
    ("click", r#"{"element":"buy-button","platform":"android","x":412}"#),
    ("sign_up", r#"{"plan":"free","country":"UA","platform":"web","step":3}"#),
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BenchEvent {
    /// Different for each event of a run, and most likely of all runs.
    pub number: u64,
    /// Milliseconds since 1970.
    pub occurred_at: i64,
}

impl BenchEvent {
    /// A UUIDv7 (RFC 9562): the time, then what looks random and is different for each number.
    pub fn id(self) -> Uuid {
        let mixed = mix(self.number);
        let millis = u64::try_from(self.occurred_at).unwrap_or_default();
        let high = (millis << 16) | (7 << 12) | (mixed >> 52);
        let low = (0b10 << 62) | (mixed & (u64::MAX >> 2));
        Uuid::from_u64_pair(high, low)
    }

    /// The number of its user, of so many. Half of all events are of a quarter of the users.
    pub fn user(self, users: u32) -> u32 {
        let drawn = mix(self.number ^ 0x75_7365_7273) >> 32;
        let skewed = (drawn * drawn) >> 32;
        u32::try_from((skewed * u64::from(users)) >> 32).expect("below users")
    }
}

/// A bijection of which the outcomes look random (the finaliser of `SplitMix64`).
pub(crate) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_different_and_of_version_7_and_tell_the_time() {
        let event = |number| BenchEvent { number, occurred_at: 1_772_445_600_123 };
        let ids: HashSet<Uuid> = (0..10_000).map(|number| event(number).id()).collect();
        assert_eq!(ids.len(), 10_000);
        for id in ids {
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_timestamp().map(|time| time.to_unix()), Some((1_772_445_600, 123_000_000)));
        }
    }

    #[test]
    fn half_of_the_events_are_of_a_quarter_of_the_users() {
        let users = (0..10_000).map(|number| BenchEvent { number, occurred_at: 0 }.user(1_000));
        let (busy, others): (Vec<u32>, Vec<u32>) = users.partition(|user| *user < 250);
        assert!((4_800..5_200).contains(&busy.len()), "{} and {}", busy.len(), others.len());
        assert!(others.iter().all(|user| *user < 1_000));
    }
}
