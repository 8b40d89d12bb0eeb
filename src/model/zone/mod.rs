//! Time zones: the wall clocks of projects.
//!
//! Governments change their rules several times a year, so a zone is a name with the rules that somebody had for it.
//! Which rules a project's days are counted by stands in the database ([`crate::store::projects::zones`]); those that this weir
//! has itself ([`rules`]) are for zones that are new there, and for when they are newer.

mod differences;
pub mod rules;

use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike, Utc};
use jiff::{
    Timestamp, civil,
    tz::{AmbiguousOffset, Offset, TimeZone},
};

pub use self::differences::days_that_differ;

/// A time zone: its name, and the rules by which its clocks are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: Arc<str>,
    rules: TimeZone,
}

impl Zone {
    pub fn utc() -> Self {
        Self { name: "UTC".into(), rules: TimeZone::UTC }
    }

    /// A zone with rules as `TZif` writes them (RFC 9636).
    pub fn from_rules(name: &str, tzif: &[u8]) -> Result<Self, jiff::Error> {
        Ok(Self { name: name.into(), rules: TimeZone::tzif(name, tzif)? })
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the clocks show at an instant.
    pub fn local(&self, at: DateTime<Utc>) -> NaiveDateTime {
        at.naive_utc() + self.offset(at)
    }

    /// The hour of the clocks in which an instant lies. One that they show twice is one hour.
    pub fn hour(&self, at: DateTime<Utc>) -> NaiveDateTime {
        let local = self.local(at);
        local.date().and_hms_opt(local.hour(), 0, 0).expect("an hour of a day that exists")
    }

    /// Whether the clocks are never set from an instant on.
    pub fn is_fixed_since(&self, at: DateTime<Utc>) -> bool {
        self.rules.following(timestamp(at)).next().is_none()
    }

    /// How far the clocks are ahead of UTC at an instant.
    pub fn offset(&self, at: DateTime<Utc>) -> TimeDelta {
        delta(self.rules.to_offset(timestamp(at)))
    }

    /// The first instant at which the clocks show this; nothing, if they skip it.
    pub fn earliest(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        let ahead = match self.rules.to_ambiguous_timestamp(civil_time(local)?).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Fold { before, .. } => before,
            AmbiguousOffset::Gap { .. } => return None,
        };
        Some((local - delta(ahead)).and_utc())
    }
}

fn delta(offset: Offset) -> TimeDelta {
    TimeDelta::seconds(offset.seconds().into())
}

/// To the second: clocks are set at one.
fn timestamp(at: DateTime<Utc>) -> Timestamp {
    let end = if at < DateTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(at.timestamp()).unwrap_or(end)
}

/// Nothing, if the year has more than four digits.
fn civil_time(local: NaiveDateTime) -> Option<civil::DateTime> {
    let two_digits = |number: u32| i8::try_from(number).ok();
    civil::DateTime::new(
        i16::try_from(local.year()).ok()?,
        two_digits(local.month())?,
        two_digits(local.day())?,
        two_digits(local.hour())?,
        two_digits(local.minute())?,
        two_digits(local.second())?,
        0,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_set_back_show_a_time_twice_and_forward_skip_it() {
        let new_york = rules::zone("America/New_York").expect("a zone");
        let earliest = |local: &str| new_york.earliest(local.parse().expect("a time"));
        let at = |utc: &str| utc.parse().ok();
        assert_eq!(earliest("2024-11-03T01:30:00"), at("2024-11-03T05:30:00Z"));
        assert_eq!(earliest("2024-11-03T02:30:00"), at("2024-11-03T07:30:00Z"));
        assert_eq!(earliest("2024-03-10T02:30:00"), None);
        assert_eq!(earliest("2050-07-01T00:00:00"), at("2050-07-01T04:00:00Z"), "rules have no end");
        assert_eq!(
            new_york.local("2024-07-01T00:00:00.5Z".parse().expect("a time")).to_string(),
            "2024-06-30 20:00:00.500"
        );
    }
}
