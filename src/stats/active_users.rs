//! Active users: how many users did something in a period.

use chrono::NaiveDate;
use roaring::RoaringBitmap;

use super::{DailyUsers, period::Unit, union};

/// The users of each period in which days from `from` to `to` lie, from the users of all days of these periods. A period
/// without users is there.
pub fn active_users(
    unit: Unit,
    from: NaiveDate,
    to: NaiveDate,
    users: &DailyUsers,
) -> impl Iterator<Item = (NaiveDate, RoaringBitmap)> {
    unit.periods(from, to).map(move |period| (period, union(users, period, unit.after(period, 1))))
}

#[cfg(test)]
mod tests {
    use chrono::Weekday;

    use super::*;

    fn date(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2024, 2, day).expect("a date")
    }

    fn counted(unit: Unit, from: u32, to: u32) -> Vec<(NaiveDate, u64)> {
        let users = DailyUsers::from([
            (date(25), [9].into()),
            (date(27), [1, 2].into()),
            (date(29), [2, 3, 4].into()),
        ]);
        active_users(unit, date(from), date(to), &users)
            .map(|(period, users)| (period, users.len()))
            .collect()
    }

    #[test]
    fn every_day_is_there_once() {
        assert_eq!(counted(Unit::Day, 27, 29), [(date(27), 2), (date(28), 0), (date(29), 3)]);
    }

    #[test]
    fn who_comes_twice_in_a_week_is_one_user_and_a_week_is_whole() {
        // 2024-02-25 is a Sunday.
        assert_eq!(counted(Unit::Week(Weekday::Mon), 28, 28), [(date(26), 4)]);
        assert_eq!(counted(Unit::Week(Weekday::Sun), 28, 28), [(date(25), 5)]);
        assert_eq!(counted(Unit::Month, 10, 10), [(date(1), 5)]);
    }
}
