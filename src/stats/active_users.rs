//! Active users: how many different users did anything in a period.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::period::Unit;

/// The number of users of each day from `from` to `to`, both included; 0 for days that are absent.
pub fn daily(
    counts: &BTreeMap<NaiveDate, u64>,
    from: NaiveDate,
    to: NaiveDate,
) -> impl Iterator<Item = (NaiveDate, u64)> {
    Unit::Day.periods(from, to).map(|day| (day, counts.get(&day).copied().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_is_there_once() {
        let date = |day| NaiveDate::from_ymd_opt(2024, 2, day).expect("a date");
        let counts = BTreeMap::from([(date(27), 2), (date(29), 3)]);
        let counted: Vec<_> = daily(&counts, date(27), date(29)).collect();
        assert_eq!(counted, [(date(27), 2), (date(28), 0), (date(29), 3)]);
    }
}
