//! Times as tables write them.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};
use weir::model::zone::Zone;

/// Times of the clock, without a zone.
const LOCAL: [&str; 4] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];

/// A time as RFC 3339 writes it, if it is one that a table may have: seconds, milliseconds or microseconds since 1970, with a blank
/// before time or zone, or what clocks of the zone show. Any other is given back as it is, for those who say what is wrong.
pub(super) fn rfc3339<'t>(text: &'t str, zone: Option<&Zone>) -> Result<Cow<'t, str>, String> {
    let text = text.trim();
    if let Some(at) = since_1970(text) {
        return Ok(at.to_rfc3339_opts(SecondsFormat::AutoSi, true).into());
    }
    let Some(local) = local(text) else { return Ok(without_blanks(text)) };
    let Some(zone) = zone else {
        return Err(format!(
            "the zone of '{text}' is missing: say which with --timezone, such as --timezone Europe/Kyiv"
        ));
    };
    let at =
        zone.earliest(local).ok_or_else(|| format!("clocks of {} have never shown {text}", zone.name()))?;
    Ok(at.to_rfc3339_opts(SecondsFormat::AutoSi, true).into())
}

/// By the number of digits.
fn since_1970(text: &str) -> Option<DateTime<Utc>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    match (whole.len(), fraction.len()) {
        (9..=10, 0..=9) => DateTime::from_timestamp(number, format!("{fraction:0<9}").parse().ok()?),
        (12..=13, _) => DateTime::from_timestamp_millis(number),
        (15..=16, _) => DateTime::from_timestamp_micros(number),
        _ => None,
    }
}

fn local(text: &str) -> Option<NaiveDateTime> {
    let time = LOCAL.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    time.or_else(|| text.parse::<NaiveDate>().ok().map(|day| day.and_time(NaiveTime::MIN)))
}

/// `2024-01-15 10:30:00 +02:00` and `… UTC` as RFC 3339 has them.
fn without_blanks(text: &str) -> Cow<'_, str> {
    match text.split(' ').collect::<Vec<_>>()[..] {
        [date, time] if time.contains(':') => format!("{date}T{time}").into(),
        [date, time, "UTC" | "GMT" | "Z"] => format!("{date}T{time}Z").into(),
        [date, time, offset] => format!("{date}T{time}{offset}").into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use weir::model::zone::rules;

    use super::*;

    #[test]
    fn times_are_read_as_tables_write_them() {
        let kyiv = rules::zone("Europe/Kyiv");
        for (text, expected) in [
            ("2024-01-15T10:30:00Z", "2024-01-15T10:30:00Z"),
            ("2024-01-15 10:30:00+02:00", "2024-01-15T10:30:00+02:00"),
            ("2024-01-15 10:30:00 +0200", "2024-01-15T10:30:00+0200"),
            ("2024-01-15 10:30:00 UTC", "2024-01-15T10:30:00Z"),
            ("1705314600", "2024-01-15T10:30:00Z"),
            ("1705314600.5", "2024-01-15T10:30:00.500Z"),
            ("1705314600500", "2024-01-15T10:30:00.500Z"),
            ("1705314600500001", "2024-01-15T10:30:00.500001Z"),
            ("2024-01-15 12:30:00", "2024-01-15T10:30:00Z"),
            ("2024-01-15T12:30", "2024-01-15T10:30:00Z"),
            ("2024-07-15", "2024-07-14T21:00:00Z"),
            ("15.01.2024", "15.01.2024"),
            ("", ""),
        ] {
            assert_eq!(rfc3339(text, kyiv.as_ref()).as_deref(), Ok(expected), "{text}");
        }
        assert!(rfc3339("2024-01-15 12:30:00", None).is_err_and(|error| error.contains("--timezone")));
        assert!(rfc3339("2024-03-31 03:30:00", kyiv.as_ref()).is_err(), "clocks are set forward");
    }
}
