//! Time series: events or unique users of each period, by the values of a property or by event type.

use std::{cmp::Reverse, collections::BTreeMap};

use chrono::NaiveDateTime;
use roaring::RoaringBitmap;

use super::label::Label;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Events,
    /// Unique users.
    Users,
}

/// What happened in a period.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Happened {
    pub events: i64,
    pub users: RoaringBitmap,
}

/// By the first moment of the period, on the project's wall clock. A period without events may be absent.
pub type ByPeriod = BTreeMap<NaiveDateTime, Happened>;

impl Happened {
    pub fn merge(&mut self, other: &Self) {
        self.events += other.events;
        self.users |= &other.users;
    }

    pub fn measured(&self, measure: Measure) -> u64 {
        match measure {
            // Deletions take events back in rows of their own, so a sum of some rows may be below 0 for a moment.
            Measure::Events => u64::try_from(self.events).unwrap_or(0),
            Measure::Users => self.users.len(),
        }
    }
}

/// Puts the values with the most over the whole range first, then by name, and all behind the first `limit` together.
pub fn top(mut values: BTreeMap<Label, ByPeriod>, measure: Measure, limit: usize) -> Vec<(Label, ByPeriod)> {
    let never_told = values.remove(&Label::Other);
    let whole = |periods: &ByPeriod| {
        let mut whole = Happened::default();
        for period in periods.values() {
            whole.merge(period);
        }
        whole.measured(measure)
    };
    let mut ranked: Vec<_> =
        values.into_iter().map(|(label, periods)| (whole(&periods), label, periods)).collect();
    ranked.sort_by(|(a, label_a, _), (b, label_b, _)| (Reverse(a), label_a).cmp(&(Reverse(b), label_b)));
    let others = ranked.split_off(limit.min(ranked.len()));
    let mut series: Vec<_> = ranked.into_iter().map(|(_, label, periods)| (label, periods)).collect();
    if !others.is_empty() || never_told.is_some() {
        let mut rest = ByPeriod::new();
        for periods in others.into_iter().map(|(.., periods)| periods).chain(never_told) {
            for (period, happened) in periods {
                rest.entry(period).or_default().merge(&happened);
            }
        }
        series.push((Label::Other, rest));
    }
    series
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    fn day(day: u32) -> NaiveDateTime {
        NaiveDate::from_ymd_opt(2024, 2, day).and_then(|day| day.and_hms_opt(0, 0, 0)).expect("a day")
    }

    fn happened<const N: usize>(events: i64, users: [u32; N]) -> Happened {
        Happened { events, users: users.into() }
    }

    #[test]
    fn the_rest_is_one_series_whose_users_count_once() {
        let value = |text: &str| Label::Value(Some(text.into()));
        let values = BTreeMap::from([
            (value("ios"), ByPeriod::from([(day(1), happened(5, [1, 2])), (day(2), happened(2, [1]))])),
            (value("web"), ByPeriod::from([(day(1), happened(3, [1, 2, 3]))])),
            (value("tv"), ByPeriod::from([(day(1), happened(1, [4])), (day(2), happened(1, [5]))])),
            (Label::NONE, ByPeriod::from([(day(1), happened(2, [4]))])),
        ]);
        let by_events = top(values.clone(), Measure::Events, 2);
        let labels: Vec<_> = by_events.iter().map(|(label, _)| label.clone()).collect();
        assert_eq!(labels, [value("ios"), value("web"), Label::Other]);
        assert_eq!(by_events[2].1, ByPeriod::from([(day(1), happened(3, [4])), (day(2), happened(1, [5]))]));
        let lists = BTreeMap::from([(Label::Other, ByPeriod::from([(day(1), happened(9, [7]))]))]);
        let shown = top(values.clone().into_iter().chain(lists).collect(), Measure::Events, 3);
        assert_eq!(
            shown.len(),
            4,
            "what has never a series of its own stands in the rest, whatever its size"
        );
        assert_eq!(shown[3].1[&day(1)], happened(10, [4, 7]));
        let by_users = top(values, Measure::Users, 4);
        let labels: Vec<_> = by_users.into_iter().map(|(label, _)| label).collect();
        assert_eq!(labels, [value("web"), value("ios"), value("tv"), Label::NONE]);
    }
}
