//! The parameters of retention, as a question.

use chrono::{DateTime, Days, NaiveDate, SubsecRound, Utc};
use poem_openapi::registry::MetaSchema;

use crate::{
    http::{
        extract::{
            group::parameters,
            parameters::{AskedDays, Checks, Param, ParameterValue, Segments, UpTo, day_or_range},
        },
        routes::stats::choices::{Criteria, Mean, WindowType},
    },
    model::{project::Project, range::DayRange},
    query::retention::{self, CohortKind, Window},
    stats::{
        filter::Filter,
        retention::{Question, RetentionColumn},
    },
};

/// Cells in a table of retention: a year of daily cohorts over two months, or two years of weeks.
const MAX_CELLS: usize = 20_000;
const MAX_BRACKETS: usize = 100;
const MAX_PERIODS: u32 = 1_000;

/// Lengths of consecutive brackets, in periods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Brackets(Vec<u32>);

impl ParameterValue for Brackets {
    const INVALID: &'static str = "invalid_brackets";

    fn expected() -> String {
        format!(
            "lengths of brackets such as 1,2,4 (period 0, 1 to 2, 3 to 6), at most {MAX_BRACKETS} with {MAX_PERIODS} periods in all"
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let lengths: Vec<u32> = text.split(',').map(|length| length.parse().ok()).collect::<Option<_>>()?;
        let periods = lengths.iter().try_fold(0_u32, |all, length| all.checked_add(*length))?;
        let valid = lengths.len() <= MAX_BRACKETS && !lengths.contains(&0) && periods <= MAX_PERIODS;
        valid.then_some(Self(lengths))
    }

    fn schema() -> MetaSchema {
        let pattern = Some(r"^[1-9][0-9]{0,2}(,[1-9][0-9]{0,2}){0,99}$".into());
        MetaSchema { pattern, ..MetaSchema::new("string") }
    }
}

parameters! {
    /// The parameters of a table, as they were sent.
    pub(crate) struct RetentionParameters {
        /// The first day on which users of the cohorts began; the week or month in which it lies is counted in full.
        from: Param<NaiveDate> = "2024-03-01",
        /// The last such day, likewise.
        to: Param<NaiveDate> = "2024-03-31",
        /// Instead of `from` and `to`: the cohorts are the first `windows` periods from this day on.
        start_date: Param<NaiveDate>,
        /// Columns: periods 0 to this one; default 7.
        windows: Param<UpTo<366>>,
        /// The length of periods; default daily.
        window_type: Param<WindowType>,
        /// Who counts in period *k*: who came back in it (`on`, the default), or in it or later (`on_or_after`).
        criteria: Param<Criteria>,
        /// Instead of `windows`: lengths of consecutive brackets, in periods. `1,2,4` is period 0, 1 to 2, 3 to 6.
        brackets: Param<Brackets>,
        /// Periods of the `calendar` (default), or of `elapsed` time from each user's own beginning: 24 hours, 7 or 30 times
        /// that.
        window: Param<Window>,
        /// When a user begins: `first_time` (default) with the first start event over all history; `first_ever` with the
        /// first of the event type, if it passes the segments; `recurring` in every period with a start event.
        cohort: Param<CohortKind>,
        /// The type of the events with which users begin; default any.
        start_event: Param<String>,
        /// The type of the events that are a return; default any.
        return_event: Param<String>,
        /// Users begin only with events for which this holds.
        start_segment: Segments,
        /// Only events for which this holds are a return.
        return_segment: Segments,
        /// Must hold for both.
        segment: Segments,
        /// Answers as of this moment: what happened then or later is not counted, and what had not ended is not complete.
        /// Default now.
        as_of: Param<DateTime<Utc>>,
        /// How cohorts make the overall rate: users by size (`pooled`, the default), or the mean of their rates (`simple`).
        mean: Param<Mean>,
    }
}

/// The query, and how its answer is shown.
#[derive(Clone, Debug)]
pub(crate) struct ValidRetention {
    pub query: retention::Query,
    pub window_type: WindowType,
    pub mean: Mean,
    /// Whether columns are brackets, whatever their lengths.
    pub brackets: bool,
}

impl RetentionParameters {
    /// Nothing, if `checks` know why.
    pub(crate) fn validate(self, checks: &mut Checks, project: &Project) -> Option<ValidRetention> {
        let now = Utc::now().trunc_subsecs(3);
        let until = checks.optional("as_of", self.as_of).map(|as_of| as_of.min(now));
        let window_type = checks.optional("window_type", self.window_type).unwrap_or(WindowType::Daily);
        let unit = window_type.unit(project);
        let sent_windows = checks.optional("windows", self.windows);
        let windows = sent_windows.map_or(7, |windows| windows.0);
        let sent_criteria = checks.optional("criteria", self.criteria);
        let brackets = checks.optional("brackets", self.brackets);
        let are_brackets = brackets.is_some();
        let columns = match brackets {
            None => match sent_criteria.unwrap_or(Criteria::On) {
                Criteria::On => RetentionColumn::on(windows),
                Criteria::OnOrAfter => RetentionColumn::on_or_after(windows),
            },
            Some(Brackets(lengths)) => {
                if sent_windows.is_some() || sent_criteria == Some(Criteria::OnOrAfter) {
                    let message = "expected either brackets, or windows and criteria".into();
                    checks.refuse("brackets", "not_both", message);
                }
                RetentionColumn::brackets(&lengths)
            }
        };
        let asked = day_or_range(checks, "start_date", self.start_date, self.from, self.to);
        let range = asked.map(|asked| match asked {
            AskedDays::One(start) => {
                DayRange::new(start, unit.after(unit.period_of(start), windows) - Days::new(1))
            }
            AskedDays::Range(range) => range,
        });
        // As everywhere: a cohort that is in the answer is whole.
        let last_of = |day| unit.after(unit.period_of(day), 1) - Days::new(1);
        let range = range.map(|DayRange { from, to }| (unit.period_of(from), last_of(to)));
        let common = checks.segments("segment", self.segment);
        let start = checks.segments("start_segment", self.start_segment);
        let back = checks.segments("return_segment", self.return_segment);
        let start_event = checks.optional("start_event", self.start_event);
        let return_event = checks.optional("return_event", self.return_event);
        let cohort = checks.optional("cohort", self.cohort).unwrap_or(CohortKind::FirstTime);
        let window = checks.optional("window", self.window).unwrap_or(Window::Calendar);
        let mean = checks.optional("mean", self.mean).unwrap_or(Mean::Pooled);
        let question = range.map(|(from, to)| Question { unit, from, to, columns });
        if let Some(cells) = question.as_ref().map(Question::cells).filter(|cells| *cells > MAX_CELLS) {
            let message =
                format!("expected at most {MAX_CELLS} cells, got {cells}: ask for fewer cohorts or windows");
            checks.refuse("windows", "too_large", message);
        }
        let question = question?;
        let query = retention::Query {
            question,
            window,
            cohort,
            start: of_type(start.and_all(common.clone()), start_event.as_deref()),
            back: of_type(back.and_all(common), return_event.as_deref()),
            as_of: until.unwrap_or(now),
            until,
        };
        Some(ValidRetention { query, window_type, mean, brackets: are_brackets })
    }
}

fn of_type(filter: Filter, event_type: Option<&str>) -> Filter {
    match event_type {
        Some(event_type) => filter.of_type(event_type),
        None => filter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_lengths() {
        assert_eq!(Brackets::parse("1,2,4"), Some(Brackets(vec![1, 2, 4])));
        for text in ["", "0", "1,,2", "1,-2", "1001", "4294967295,1", "1 ,2"] {
            assert_eq!(Brackets::parse(text), None, "{text}");
        }
    }
}
