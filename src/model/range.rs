//! Ranges: of days with both ends, and of time without its end.

use chrono::{DateTime, NaiveDate, Utc};

/// The days from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRange {
    pub from: NaiveDate,
    pub to: NaiveDate,
}

/// From an instant until before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    pub begin: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

impl DayRange {
    pub const fn new(from: NaiveDate, to: NaiveDate) -> Self {
        Self { from, to }
    }

    pub fn days(self) -> impl Iterator<Item = NaiveDate> {
        self.from.iter_days().take_while(move |day| *day <= self.to)
    }

    pub fn contains(self, day: NaiveDate) -> bool {
        (self.from..=self.to).contains(&day)
    }

    /// How many days there are; not above 0, if the range ends before it begins.
    pub fn length(self) -> i64 {
        (self.to - self.from).num_days() + 1
    }
}

impl TimeRange {
    pub const fn new(begin: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        Self { begin, end }
    }

    pub fn is_empty(self) -> bool {
        self.end <= self.begin
    }

    /// What of it lies before an instant, if there is one.
    #[must_use]
    pub fn before(self, until: Option<DateTime<Utc>>) -> Self {
        Self { end: until.map_or(self.end, |until| until.min(self.end)), ..self }
    }
}
