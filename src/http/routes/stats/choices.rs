//! Parameters that are one of a few words.

use poem_openapi::registry::MetaSchema;

use crate::{
    http::extract::parameters::ParameterValue,
    model::project::Project,
    query::{
        retention::{self, CohortKind, Window},
        timeseries,
    },
    stats::{lifecycle::LifecycleState, period::Unit, timeseries::Measure},
};

/// One of a few words.
pub(crate) trait Choice: Copy + Send + Sync + 'static {
    const ALL: &'static [(&'static str, Self)];

    fn word(self) -> &'static str
    where
        Self: PartialEq,
    {
        Self::ALL.iter().find(|(_, choice)| *choice == self).map_or("", |(word, _)| word)
    }
}

impl<T: Choice> ParameterValue for T {
    const INVALID: &'static str = "invalid_choice";

    fn expected() -> String {
        let words: Vec<&str> = T::ALL.iter().map(|(word, _)| *word).collect();
        match words.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            _ => words.join(""),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        T::ALL.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice)
    }

    fn schema() -> MetaSchema {
        let enum_items = T::ALL.iter().map(|(word, _)| (*word).into()).collect();
        MetaSchema { enum_items, ..MetaSchema::new("string") }
    }
}

/// The length of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interval {
    Day,
    Week,
    Month,
}

impl Choice for Interval {
    const ALL: &'static [(&'static str, Self)] =
        &[("day", Self::Day), ("week", Self::Week), ("month", Self::Month)];
}

impl Interval {
    pub(crate) fn unit(self, project: &Project) -> Unit {
        match self {
            Self::Day => Unit::Day,
            Self::Week => Unit::Week(project.week_start),
            Self::Month => Unit::Month,
        }
    }
}

/// The same, with hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FineInterval {
    Hour,
    Whole(Interval),
}

impl Choice for FineInterval {
    const ALL: &'static [(&'static str, Self)] = &[
        ("hour", Self::Hour),
        ("day", Self::Whole(Interval::Day)),
        ("week", Self::Whole(Interval::Week)),
        ("month", Self::Whole(Interval::Month)),
    ];
}

impl FineInterval {
    pub(crate) fn of(self, project: &Project) -> timeseries::PeriodLength {
        match self {
            Self::Hour => timeseries::PeriodLength::Hour,
            Self::Whole(interval) => timeseries::PeriodLength::Whole(interval.unit(project)),
        }
    }
}

impl Choice for Measure {
    const ALL: &'static [(&'static str, Self)] = &[("events", Self::Events), ("users", Self::Users)];
}

/// The length of a retention period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowType {
    Daily,
    Weekly,
    Monthly,
}

impl Choice for WindowType {
    const ALL: &'static [(&'static str, Self)] =
        &[("daily", Self::Daily), ("weekly", Self::Weekly), ("monthly", Self::Monthly)];
}

impl WindowType {
    pub(crate) fn unit(self, project: &Project) -> Unit {
        match self {
            Self::Daily => Unit::Day,
            Self::Weekly => Unit::Week(project.week_start),
            Self::Monthly => Unit::Month,
        }
    }
}

/// Which returns a period counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Criteria {
    On,
    OnOrAfter,
}

impl Choice for Criteria {
    const ALL: &'static [(&'static str, Self)] = &[("on", Self::On), ("on_or_after", Self::OnOrAfter)];
}

impl Choice for Window {
    const ALL: &'static [(&'static str, Self)] = &[("calendar", Self::Calendar), ("elapsed", Self::Elapsed)];
}

impl Choice for CohortKind {
    const ALL: &'static [(&'static str, Self)] =
        &[("first_time", Self::FirstTime), ("first_ever", Self::FirstEver), ("recurring", Self::Recurring)];
}

impl Choice for LifecycleState {
    const ALL: &'static [(&'static str, Self)] = &[
        ("new", Self::New),
        ("returning", Self::Returning),
        ("resurrecting", Self::Resurrecting),
        ("dormant", Self::Dormant),
    ];
}

impl Choice for retention::CohortUsers {
    const ALL: &'static [(&'static str, Self)] =
        &[("returned", Self::Returned), ("missing", Self::Missing), ("all", Self::All)];
}

/// How cohorts are put together in the overall row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mean {
    Pooled,
    Simple,
}

impl Choice for Mean {
    const ALL: &'static [(&'static str, Self)] = &[("pooled", Self::Pooled), ("simple", Self::Simple)];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_names_what_there_is() {
        assert_eq!(FineInterval::expected(), "hour, day, week or month");
        assert_eq!(Mean::parse("simple"), Some(Mean::Simple));
        assert_eq!(Mean::parse("Simple"), None);
        assert_eq!(FineInterval::Whole(Interval::Week).word(), "week");
    }
}
