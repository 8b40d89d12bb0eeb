//! Clocks of devices: many are wrong by minutes, some by years.

use chrono::{DateTime, TimeDelta, Utc};

/// A clock that is wrong by less is left alone: then each try of an event has the same time, though it says another moment
/// of sending.
const LEFT_ALONE: TimeDelta = TimeDelta::minutes(1);

/// A device's time by the server's clock: the device has said at `sent_at` that it is `sent_at`, and that was at
/// `received_at`. So Segment and PostHog define it.
pub fn corrected(
    time: DateTime<Utc>,
    sent_at: Option<DateTime<Utc>>,
    received_at: DateTime<Utc>,
) -> DateTime<Utc> {
    let Some(sent_at) = sent_at else { return time };
    let slow_by = received_at - sent_at;
    if slow_by.abs() < LEFT_ALONE { time } else { time.checked_add_signed(slow_by).unwrap_or(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn a_wrong_clock_is_corrected_by_what_it_said_when_it_sent() {
        for (original, sent_at, received_at, expected) in [
            // Segment's own example.
            ("2024-01-01T12:00:00Z", "2024-01-01T12:00:30Z", "2024-01-01T12:05:30Z", "2024-01-01T12:05:00Z"),
            ("2031-01-01T12:00:00Z", "2031-01-01T12:00:10Z", "2024-01-01T12:00:00Z", "2024-01-01T11:59:50Z"),
            ("2024-01-01T12:00:00Z", "2024-01-01T12:00:01Z", "2024-01-01T12:00:59Z", "2024-01-01T12:00:00Z"),
        ] {
            let corrected = corrected(time(original), Some(time(sent_at)), time(received_at));
            assert_eq!(corrected, time(expected), "{original} {sent_at} {received_at}");
        }
        assert_eq!(
            corrected(time("2024-01-01T12:00:00Z"), None, Utc::now()),
            time("2024-01-01T12:00:00Z"),
            "nothing is known of the clock"
        );
    }
}
