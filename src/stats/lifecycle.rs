//! Lifecycle: of the users of a period, who is new, who stayed, who came back, and who of the period before is missing?
//!
//! Definitions. A user is *new* in the period of their first event over all history; *returning* when active in this period
//! and in the one before; *resurrecting* when active in this period and in some earlier one, but not in the one before;
//! *dormant* when active in the period before and not in this one. So the active users of a period are its new, returning
//! and resurrecting ones, and its dormant ones are not among them.

use chrono::NaiveDate;
use roaring::RoaringBitmap;

use super::{DailyUsers, period::Unit, union};

/// The users of a period, by what became of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Lifecycle {
    /// The first day of the period.
    pub period: NaiveDate,
    pub new: RoaringBitmap,
    pub returning: RoaringBitmap,
    pub resurrecting: RoaringBitmap,
    pub dormant: RoaringBitmap,
}

/// What became of a user in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleState {
    New,
    Returning,
    Resurrecting,
    Dormant,
}

impl Lifecycle {
    /// The users of whom this became.
    pub fn into_users(self, state: LifecycleState) -> RoaringBitmap {
        match state {
            LifecycleState::New => self.new,
            LifecycleState::Returning => self.returning,
            LifecycleState::Resurrecting => self.resurrecting,
            LifecycleState::Dormant => self.dormant,
        }
    }
}

/// The first day whose users [`lifecycle`] needs: that of the period before the first one.
pub fn first_day(unit: Unit, from: NaiveDate) -> NaiveDate {
    unit.period_of(unit.period_of(from).pred_opt().unwrap_or(from))
}

/// The periods in which the days from `from` to `to` lie, from the users of all days from [`first_day`] on and those of
/// all days before it.
pub fn lifecycle(
    unit: Unit,
    from: NaiveDate,
    to: NaiveDate,
    mut before: RoaringBitmap,
    users: &DailyUsers,
) -> Vec<Lifecycle> {
    let mut previous = union(users, first_day(unit, from), unit.period_of(from));
    before |= &previous;
    unit.periods(from, to)
        .map(|period| {
            let active = union(users, period, unit.after(period, 1));
            let new = &active - &before;
            let returning = &active & &previous;
            let resurrecting = &(&active - &new) - &returning;
            let dormant = &previous - &active;
            before |= &active;
            previous = active;
            Lifecycle { period, new, returning, resurrecting, dormant }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use chrono::Weekday;

    use super::*;

    fn date(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2024, 2, day).expect("a date")
    }

    #[test]
    fn every_user_of_a_period_and_of_the_one_before_stands_in_one_place() {
        // User 9 was there long ago.
        let users = DailyUsers::from([
            (date(1), [1, 2].into()),
            (date(2), [1, 3, 9].into()),
            (date(3), [2, 4].into()),
        ]);
        let found = lifecycle(Unit::Day, date(2), date(3), [9].into(), &users);
        let expected = [
            Lifecycle {
                period: date(2),
                new: [3].into(),
                returning: [1].into(),
                resurrecting: [9].into(),
                dormant: [2].into(),
            },
            Lifecycle {
                period: date(3),
                new: [4].into(),
                returning: RoaringBitmap::new(),
                resurrecting: [2].into(),
                dormant: [1, 3, 9].into(),
            },
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_range_that_begins_within_a_week_tells_of_the_whole_week_and_of_the_one_before() {
        let monday = Unit::Week(Weekday::Mon);
        // Monday 2024-02-05, Wednesday the 14th.
        assert_eq!(first_day(monday, date(14)), date(5));
        let users = DailyUsers::from([(date(5), [1].into()), (date(12), [1, 2].into())]);
        let found = lifecycle(monday, date(14), date(14), RoaringBitmap::new(), &users);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].period, &found[0].new, &found[0].returning),
            (date(12), &[2].into(), &[1].into())
        );
    }
}
