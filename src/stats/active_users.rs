//! Active users: how many different users did anything in a period.

use chrono::NaiveDate;

use super::{DailyUsers, period::Unit};

/// The users of each day from `from` to `to`, both included; days without users with 0.
pub fn daily(users: &DailyUsers, from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = (NaiveDate, u64)> {
    Unit::Day.periods(from, to).map(|day| (day, users.get(&day).map_or(0, roaring::RoaringBitmap::len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_is_there_once() {
        let date = |day| NaiveDate::from_ymd_opt(2024, 2, day).expect("a date");
        let users = DailyUsers::from([(date(27), [1, 2].into()), (date(29), [2, 3, 4].into())]);
        let counted: Vec<_> = daily(&users, date(27), date(29)).collect();
        assert_eq!(counted, [(date(27), 2), (date(28), 0), (date(29), 3)]);
    }
}
