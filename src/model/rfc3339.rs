//! Moments as RFC 3339 writes them, and what is wrong with those that are none.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SubsecRound, Utc};

/// What a moment looks like, for messages.
pub const EXPECTED: &str = "a time of RFC 3339 such as 2024-01-15T10:30:00Z";

/// A moment, to the microsecond; an offset may lack its colon. Otherwise what is wrong, after a colon if more is known
/// than that it is none.
pub fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    // chrono takes a minus sign that is none of ASCII's.
    let parsed = text.is_ascii().then(|| {
        DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc3339(&with_colon(text)))
    });
    let Some(Ok(time)) = parsed else { return Err(format!("expected {EXPECTED}{}", hint(text))) };
    if time.timestamp_subsec_nanos() >= 1_000_000_000 {
        return Err(format!("expected {EXPECTED}: the second 60 is not taken, use 59"));
    }
    Ok(time.to_utc().trunc_subsecs(6))
}

/// The offset with its colon, if that is all that it lacks.
fn with_colon(text: &str) -> String {
    match text.split_at_checked(text.len().saturating_sub(4)) {
        Some((before, offset)) if offset.bytes().all(|byte| byte.is_ascii_digit()) => {
            let (hours, minutes) = offset.split_at(offset.len() / 2);
            format!("{before}{hours}:{minutes}")
        }
        _ => text.to_owned(),
    }
}

/// What is missing, for those who nearly had it.
fn hint(text: &str) -> &'static str {
    let is_local = |format| NaiveDateTime::parse_from_str(text, format).is_ok();
    if text.parse::<f64>().is_ok() {
        ": a number of seconds or milliseconds is not taken"
    } else if text.parse::<NaiveDate>().is_ok() {
        ": the time of day and the zone are missing"
    } else if is_local("%Y-%m-%dT%H:%M:%S%.f") {
        ": the zone is missing, such as Z or +02:00"
    } else if is_local("%Y-%m-%d %H:%M:%S%.f") {
        ": a T between date and time, and the zone, are missing"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar_and_the_clock() {
        for (text, utc) in [
            ("2024-01-15T10:30:00Z", "2024-01-15T10:30:00Z"),
            ("2024-01-15t10:30:00.1234567z", "2024-01-15T10:30:00.123456Z"),
            ("2024-01-15T10:30:00+02:00", "2024-01-15T08:30:00Z"),
            ("2024-01-15T10:30:00-0230", "2024-01-15T13:00:00Z"),
            ("2024-01-15T10:30:00.5+0000", "2024-01-15T10:30:00.500Z"),
        ] {
            assert_eq!(parse(text), Ok(utc.parse().expect("a time")), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_told_what_is_missing() {
        for (text, hint) in [
            ("2024-01-15T10:30:60Z", ": the second 60 is not taken, use 59"),
            ("2016-12-31T23:59:60Z", ": the second 60 is not taken, use 59"),
            ("2024-01-15T10:30:00\u{2212}02:00", ""),
            ("2024-02-30T10:30:00Z", ""),
            ("2024-1-15T10:30:00+0000", ""),
            ("2024-01-15T10:30:00 +0000", ""),
            ("1764117000000", ": a number of seconds or milliseconds is not taken"),
            ("2024-01-15", ": the time of day and the zone are missing"),
            ("2024-01-15T10:30:00", ": the zone is missing, such as Z or +02:00"),
            ("2024-01-15 10:30:00.5", ": a T between date and time, and the zone, are missing"),
            ("soon", ""),
        ] {
            assert_eq!(parse(text), Err(format!("expected {EXPECTED}{hint}")), "{text}");
        }
    }
}
