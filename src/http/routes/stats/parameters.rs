//! Parameters that several questions have.

use chrono::NaiveDate;

use super::{
    choices::Interval,
    users::{Cursor, MAX_LIMIT, PageRequest},
};
use crate::{
    http::extract::{
        group::parameters,
        parameters::{Checks, Param, Required, Segments, UpTo, range},
    },
    model::{project::Project, range::DayRange},
    stats::{filter::Filter, period::Unit},
};

parameters! {
    /// The days of a question.
    pub(crate) struct DayParameters {
        /// The first day.
        from: Required<NaiveDate> = "2024-03-01",
        /// The last day.
        to: Required<NaiveDate> = "2024-03-31",
    }
}

parameters! {
    /// The days of a question whose periods are whole.
    pub(crate) struct PeriodParameters {
        /// A day of the first period.
        from: Required<NaiveDate> = "2024-03-01",
        /// A day of the last period.
        to: Required<NaiveDate> = "2024-03-31",
    }
}

parameters! {
    pub(crate) struct IntervalParameter {
        /// The length of a period; default day. Weeks begin on the project's first day of the week.
        interval: Param<Interval>,
    }
}

parameters! {
    pub(crate) struct SegmentParameter {
        /// Only events for which this holds, such as `event_type:purchase` or `properties.country:UA,PL`.
        segment: Segments,
    }
}

parameters! {
    /// Which of the users behind a number.
    pub(crate) struct PageParameters {
        /// Most users of a page; default 100.
        limit: Param<UpTo<MAX_LIMIT>>,
        /// The `next` of the page before.
        cursor: Param<Cursor>,
    }
}

impl DayParameters {
    pub(crate) fn check(self, checks: &mut Checks) -> Option<DayRange> {
        range(checks, self.from, self.to)
    }
}

impl PeriodParameters {
    pub(crate) fn check(self, checks: &mut Checks) -> Option<DayRange> {
        range(checks, self.from, self.to)
    }
}

impl IntervalParameter {
    pub(crate) fn check(self, checks: &mut Checks, project: &Project) -> Unit {
        checks.optional("interval", self.interval).unwrap_or(Interval::Day).unit(project)
    }
}

impl SegmentParameter {
    pub(crate) fn check(self, checks: &mut Checks) -> Filter {
        checks.segments("segment", self.segment)
    }
}

impl PageParameters {
    pub(crate) fn check(self, checks: &mut Checks) -> PageRequest {
        PageRequest::of(checks, self.cursor, self.limit)
    }
}
