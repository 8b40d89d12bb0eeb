//! Durations as people say them.

use std::time::Duration;

const UNITS: [(&str, u64, u64); 4] = [
    // Days from two on: "24 hours" says better what is meant.
    ("day", 24 * 60 * 60, 2 * 24 * 60 * 60),
    ("hour", 60 * 60, 60 * 60),
    ("minute", 60, 60),
    ("second", 1, 1),
];

/// In the largest unit that has a whole number of it: months and years have no fixed length.
pub fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = UNITS.iter().find(|(_, length, least)| seconds >= *least && seconds.is_multiple_of(*length));
    match unit {
        Some((unit, length, _)) if duration.subsec_millis() == 0 => counted(seconds / length, unit),
        _ => counted(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), "millisecond"),
    }
}

/// `1 event`, `2 events`.
pub fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `is` or `are`, of so many.
pub fn are(number: u64) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_their_largest_whole_unit() {
        for (text, words) in [
            ("1826days", "1826 days"),
            ("2days", "2 days"),
            ("24h", "24 hours"),
            ("90min", "90 minutes"),
            ("1h", "1 hour"),
            ("10s", "10 seconds"),
            ("1500ms", "1500 milliseconds"),
            ("0s", "0 milliseconds"),
        ] {
            assert_eq!(in_words(humantime::parse_duration(text).unwrap()), words, "{text}");
        }
    }
}
