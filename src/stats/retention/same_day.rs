//! Who came back on the day on which they began, after their first start of that day?
//!
//! Hours decide nearly all of it: a return in a later hour than that of the first start is one, a return in an earlier hour
//! is none. Only who came back last in the hour of their first start is not known, and is looked up among the events.

use std::collections::BTreeMap;

use chrono::{NaiveDate, NaiveDateTime};
use roaring::RoaringBitmap;

use crate::stats::DailyUsers;

/// Who was active in each hour of the project's wall clock.
pub type HourlyUsers = BTreeMap<NaiveDateTime, RoaringBitmap>;

/// What activity knows by hours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SameDayByHours {
    /// Who came back on the day.
    pub returned: DailyUsers,
    /// Who started for the first time on that day in this hour, and came back in it, and not later on that day: the order
    /// within the hour only their events know.
    pub open: HourlyUsers,
}

/// Looks at every day by its hours.
pub fn by_hours(starts: &HourlyUsers, returns: &HourlyUsers) -> SameDayByHours {
    let mut found = SameDayByHours::default();
    let mut hours = starts.iter().peekable();
    while let Some((first_hour, _)) = hours.peek() {
        let day = first_hour.date();
        let mut started = RoaringBitmap::new();
        while let Some((&hour, users)) = hours.next_if(|(hour, _)| hour.date() == day) {
            let fresh = users - &started;
            started |= users;
            let later = later_on(day, hour, returns);
            let returned = &fresh & &later;
            let open = returns.get(&hour).map_or_else(RoaringBitmap::new, |now| (now & fresh) - later);
            if !open.is_empty() {
                found.open.insert(hour, open);
            }
            *found.returned.entry(day).or_default() |= returned;
        }
    }
    found
}

fn later_on(day: NaiveDate, hour: NaiveDateTime, returns: &HourlyUsers) -> RoaringBitmap {
    let behind = (std::ops::Bound::Excluded(hour), std::ops::Bound::Unbounded);
    returns
        .range(behind)
        .take_while(|(hour, _)| hour.date() == day)
        .fold(RoaringBitmap::new(), |all, (_, users)| all | users)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(day: u32, hour: u32) -> NaiveDateTime {
        NaiveDate::from_ymd_opt(2024, 2, day).and_then(|day| day.and_hms_opt(hour, 0, 0)).expect("an hour")
    }

    #[test]
    fn hours_decide_but_for_the_hour_of_the_start() {
        // 1 starts at 9 and returns at 10; 2 returned before; 3 within the hour; 4 within it and later; 5 the next day.
        let starts = HourlyUsers::from([(hour(1, 9), [1, 2, 3, 4, 5].into()), (hour(1, 11), [2, 4].into())]);
        let returns = HourlyUsers::from([
            (hour(1, 8), [2].into()),
            (hour(1, 9), [3, 4].into()),
            (hour(1, 10), [1, 4].into()),
            (hour(2, 9), [5].into()),
        ]);
        let found = by_hours(&starts, &returns);
        assert_eq!(found.returned, DailyUsers::from([(hour(1, 0).date(), [1, 4].into())]));
        assert_eq!(found.open, HourlyUsers::from([(hour(1, 9), [3].into())]));
    }
}
