//! Times as tables write them.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};
use weir::model::zone::Zone;

/// Times of the clock, without a zone.
const LOCAL: [&str; 4] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];

/// Times of the day.
const CLOCK: [&str; 4] = ["%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p"];

/// What stands first in a date with the year at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Dates {
    DayFirst,
    MonthFirst,
}

/// A time as RFC 3339 writes it, if it is one that a table may have: seconds, milliseconds or microseconds since 1970, with a blank
/// before time or zone, or what clocks of the zone show.
pub(super) fn rfc3339<'t>(
    text: &'t str,
    zone: Option<&Zone>,
    dates: Option<Dates>,
) -> Result<Cow<'t, str>, String> {
    let text = text.trim();
    if let Some(at) = since_1970(text) {
        return Ok(at.to_rfc3339_opts(SecondsFormat::AutoSi, true).into());
    }
    if text.parse::<f64>().is_ok() {
        return Err(format!(
            "expected a date and a time, or the seconds (10 digits), milliseconds (13) or microseconds (16) since 1970; got \
             '{text}'. If it is a date in your spreadsheet, give the column the format YYYY-MM-DD hh:mm:ss"
        ));
    }
    let Some(local) = local(text).or_else(|| written(text, dates?)) else {
        if dates.is_none()
            && [Dates::DayFirst, Dates::MonthFirst].iter().any(|one| written(text, *one).is_some())
        {
            return Err(format!(
                "'{text}' may be a day and a month, or a month and a day: say which with --dates day-first or --dates \
                 month-first"
            ));
        }
        let without_blanks = without_blanks(text);
        return match weir::model::rfc3339::parse(&without_blanks) {
            Ok(_) => Ok(without_blanks),
            Err(wrong) => Err(format!("{wrong}; got '{text}'")),
        };
    };
    let Some(zone) = zone else {
        return Err(format!(
            "the zone of '{text}' is missing: say which with --timezone, such as --timezone Europe/Kyiv"
        ));
    };
    let at = zone.earliest(local).ok_or_else(|| format!("clocks in {} never showed {text}", zone.name()))?;
    Ok(at.to_rfc3339_opts(SecondsFormat::AutoSi, true).into())
}

/// A date with the year at its end, alone or with a time: `2.3.2026 14:05`, `3/2/2026, 2:05 PM`.
fn written(text: &str, dates: Dates) -> Option<NaiveDateTime> {
    let (date, time) = text.split_once([' ', 'T', ',']).unwrap_or((text, ""));
    let parts: Vec<&str> = date.split(['.', '/', '-']).collect();
    let [first, second, year] = parts[..] else { return None };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if year.len() != 4 || !parts.iter().all(|part| is_number(part)) {
        return None;
    }
    let (first, second) = (first.parse().ok()?, second.parse().ok()?);
    let (day, month) = if dates == Dates::DayFirst { (first, second) } else { (second, first) };
    let day = NaiveDate::from_ymd_opt(year.parse().ok()?, month, day)?;
    let time = match time.trim() {
        "" => NaiveTime::MIN,
        time => CLOCK.iter().find_map(|format| NaiveTime::parse_from_str(time, format).ok())?,
    };
    Some(day.and_time(time))
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
        ] {
            assert_eq!(rfc3339(text, kyiv.as_ref(), None).as_deref(), Ok(expected), "{text}");
        }
        assert!(rfc3339("2024-03-31 03:30:00", kyiv.as_ref(), None).is_err(), "clocks are set forward");
    }

    #[test]
    fn dates_are_read_in_the_order_that_is_told() {
        let utc = rules::zone("UTC");
        let read = |text, dates| rfc3339(text, utc.as_ref(), Some(dates)).map(Cow::into_owned);
        for (text, dates, expected) in [
            ("02.03.2026", Dates::DayFirst, "2026-03-02T00:00:00Z"),
            ("2.3.2026 12:00", Dates::DayFirst, "2026-03-02T12:00:00Z"),
            ("02/03/2026 12:00:05", Dates::MonthFirst, "2026-02-03T12:00:05Z"),
            ("2/3/2026, 2:05 PM", Dates::MonthFirst, "2026-02-03T14:05:00Z"),
            ("2026-03-02 12:00", Dates::DayFirst, "2026-03-02T12:00:00Z"),
        ] {
            assert_eq!(read(text, dates).as_deref(), Ok(expected), "{text}");
        }
        assert!(read("13.03.2026", Dates::MonthFirst).is_err());
        assert!(read("02.03.26", Dates::DayFirst).is_err(), "which century?");
    }

    #[test]
    fn what_is_no_time_is_told_with_what_the_file_says() {
        for (text, expected) in [
            ("2024-01-15 12:30:00", "--timezone"),
            ("02.03.2026 12:00", "'02.03.2026 12:00' may be a day and a month"),
            ("46083.5", "got '46083.5'. If it is a date in your spreadsheet"),
            ("next week", "got 'next week'"),
        ] {
            let error = rfc3339(text, None, None).expect_err(text);
            assert!(error.contains(expected), "{error}");
        }
    }
}
