//! What new rules change.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use super::{Zone, timestamp};

/// The days, first and last, on which hours differ between two sets of rules from `begin` to `end`; in order and apart.
/// An instant that was on one day and is on another belongs to both.
pub fn days_that_differ(
    old: &Zone,
    new: &Zone,
    (begin, end): (DateTime<Utc>, DateTime<Utc>),
) -> Vec<(NaiveDate, NaiveDate)> {
    let both = [old, new];
    let mut changes = BTreeSet::from([begin, end]);
    for zone in both {
        let transitions = zone.rules.following(timestamp(begin));
        let instants =
            transitions.map_while(|change| DateTime::from_timestamp(change.timestamp().as_second(), 0));
        changes.extend(instants.take_while(|at| *at < end));
    }
    let changes: Vec<_> = changes.into_iter().collect();
    let mut days: Vec<(NaiveDate, NaiveDate)> = Vec::new();
    for span in changes.windows(2) {
        let (begin, last) = (span[0], span[1] - TimeDelta::seconds(1));
        if old.offset(begin) == new.offset(begin) {
            continue;
        }
        let day = |at| both.map(|zone| zone.local(at).date());
        let ([a, b], [c, d]) = (day(begin), day(last));
        let (first, last) = (a.min(b), c.max(d));
        match days.last_mut() {
            Some((_, before)) if first <= *before + Days::new(1) => *before = last.max(*before),
            _ => days.push((first, last)),
        }
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::zone::rules;

    fn days(old: &str, new: &str, begin: &str, end: &str) -> Vec<(String, String)> {
        let zone = |name| rules::zone(name).expect("a zone");
        let span = (begin.parse().expect("a time"), end.parse().expect("a time"));
        let days = days_that_differ(&zone(old), &zone(new), span);
        days.into_iter().map(|(first, last)| (first.to_string(), last.to_string())).collect()
    }

    #[test]
    fn days_differ_where_an_hour_does() {
        let some = |first: &str, last: &str| (first.to_owned(), last.to_owned());
        // Los Angeles has the rules that Vancouver had until 2026.
        let (old, new) = ("America/Los_Angeles", "America/Vancouver");
        assert_eq!(days(old, new, "2024-01-01T00:00:00Z", "2026-11-01T00:00:00Z"), []);
        assert_eq!(
            days(old, new, "2024-01-01T00:00:00Z", "2026-11-10T00:00:00Z"),
            [some("2026-11-01", "2026-11-09")]
        );
        // Two weeks in spring, one in autumn.
        assert_eq!(
            days("Europe/London", "Europe/Lisbon", "2024-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            []
        );
        assert_eq!(
            days("America/Toronto", "America/Havana", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
            [some("2024-03-10", "2024-03-10"), some("2024-11-03", "2024-11-03")]
        );
        assert_eq!(
            days("UTC", "Asia/Kolkata", "2024-01-01T00:00:00Z", "2024-01-03T00:00:00Z"),
            [some("2024-01-01", "2024-01-03")]
        );
    }
}
