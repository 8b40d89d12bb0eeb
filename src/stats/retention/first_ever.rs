//! Whose first event of some types passes a condition on its properties?
//!
//! Hours decide, unless a user's first hour has events of both kinds: then the order within the hour does, and is looked up
//! among the events.

use std::collections::BTreeSet;

use roaring::RoaringBitmap;

use super::same_day::HourlyUsers;
use crate::stats::DailyUsers;

/// What activity knows by hours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FirstEverByHours {
    /// Whose first event lies on the day and passes.
    pub passed: DailyUsers,
    /// Whose first event lies in the hour, in which some of theirs pass and some do not.
    pub open: HourlyUsers,
}

/// Looks at the users of each hour with events that pass, and with such that do not. Whoever is in `before` had events of
/// either kind before the first of these hours.
pub fn by_hours(before: RoaringBitmap, passing: &HourlyUsers, failing: &HourlyUsers) -> FirstEverByHours {
    let (mut found, mut seen, nobody) = (FirstEverByHours::default(), before, RoaringBitmap::new());
    let hours: BTreeSet<_> = passing.keys().chain(failing.keys()).collect();
    for hour in hours {
        let passing = passing.get(hour).unwrap_or(&nobody);
        let failing = failing.get(hour).unwrap_or(&nobody);
        let fresh = passing - &seen;
        let open = &fresh & failing;
        let passed = fresh - failing;
        seen |= passing;
        seen |= failing;
        if !open.is_empty() {
            found.open.insert(*hour, open);
        }
        if !passed.is_empty() {
            *found.passed.entry(hour.date()).or_default() |= passed;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDate, NaiveDateTime};

    use super::*;

    fn hour(day: u32, hour: u32) -> NaiveDateTime {
        NaiveDate::from_ymd_opt(2024, 2, day).and_then(|day| day.and_hms_opt(hour, 0, 0)).expect("an hour")
    }

    #[test]
    fn the_first_hour_decides_unless_it_has_both() {
        // 1 came before; 2 passes first; 3 fails first; 4 does both within an hour; 5 fails in the hour after.
        let passing = HourlyUsers::from([
            (hour(1, 9), [1, 2, 4, 5].into()),
            (hour(1, 11), [3].into()),
            (hour(2, 9), [2, 6].into()),
        ]);
        let failing = HourlyUsers::from([(hour(1, 9), [3, 4].into()), (hour(1, 10), [2, 5].into())]);
        let found = by_hours([1].into(), &passing, &failing);
        let day = |day| hour(day, 0).date();
        assert_eq!(found.passed, DailyUsers::from([(day(1), [2, 5].into()), (day(2), [6].into())]));
        assert_eq!(found.open, HourlyUsers::from([(hour(1, 9), [4].into())]));
    }
}
