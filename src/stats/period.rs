//! Calendar periods: days, weeks and months, by date arithmetic and never by seconds.

use chrono::{Datelike, Days, Months, NaiveDate, Weekday};

use crate::model::range::DayRange;

/// A length of calendar periods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Day,
    /// Weeks that begin on this day.
    Week(Weekday),
    Month,
}

impl Unit {
    /// The first day of the period in which `date` lies.
    ///
    /// # Panics
    /// On dates beyond chrono's calendar, 262,000 years away; so do the functions below.
    pub fn period_of(self, date: NaiveDate) -> NaiveDate {
        match self {
            Self::Day => date,
            Self::Week(first) => date - Days::new(date.weekday().days_since(first).into()),
            Self::Month => date.with_day(1).expect("every month has a first day"),
        }
    }

    /// The first day of the period that lies `count` periods after the one that begins on `period`.
    pub fn after(self, period: NaiveDate, count: u32) -> NaiveDate {
        match self {
            Self::Day => period + Days::new(count.into()),
            Self::Week(_) => period + Days::new(7 * u64::from(count)),
            Self::Month => period + Months::new(count),
        }
    }

    /// The last day of the period in which `date` lies.
    pub fn last_day(self, date: NaiveDate) -> NaiveDate {
        let next = self.after(self.period_of(date), 1);
        next.pred_opt().unwrap_or(next)
    }

    /// All days of the periods in which some days lie.
    pub fn whole(self, days: DayRange) -> DayRange {
        DayRange::new(self.period_of(days.from), self.last_day(days.to))
    }

    /// The first days of the periods in which the days from `from` to `to` lie.
    pub fn periods(self, from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = NaiveDate> {
        let first = self.period_of(from);
        std::iter::successors(Some(first), move |period| Some(self.after(*period, 1)))
            .take_while(move |period| *period <= to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn a_week_begins_on_the_projects_day() {
        // 2026-03-07 is a Saturday.
        assert_eq!(Unit::Week(Weekday::Sun).period_of(date("2026-03-07")), date("2026-03-01"));
        assert_eq!(Unit::Week(Weekday::Sun).period_of(date("2026-03-08")), date("2026-03-08"));
        assert_eq!(Unit::Week(Weekday::Mon).period_of(date("2026-03-07")), date("2026-03-02"));
        assert_eq!(Unit::Week(Weekday::Mon).period_of(date("2026-03-08")), date("2026-03-02"));
    }

    #[test]
    fn months_have_their_own_lengths() {
        assert_eq!(Unit::Month.period_of(date("2024-02-29")), date("2024-02-01"));
        assert_eq!(Unit::Month.after(date("2023-12-01"), 2), date("2024-02-01"));
        let periods: Vec<_> = Unit::Month.periods(date("2024-01-31"), date("2024-03-01")).collect();
        assert_eq!(periods, ["2024-01-01", "2024-02-01", "2024-03-01"].map(date));
    }

    #[test]
    fn the_periods_of_a_range_hold_both_its_ends() {
        let weeks = Unit::Week(Weekday::Mon);
        let periods: Vec<_> = weeks.periods(date("2024-01-03"), date("2024-01-15")).collect();
        assert_eq!(periods, ["2024-01-01", "2024-01-08", "2024-01-15"].map(date));
        assert_eq!(Unit::Day.periods(date("2024-01-02"), date("2024-01-01")).count(), 0);
    }
}
