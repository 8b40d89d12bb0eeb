//! Retention, with every option.

mod answer;
mod parameters;

use chrono::{DateTime, NaiveDate, Utc};
use poem_openapi::{OpenApi, param::Query};

use self::{
    answer::RetentionTable,
    parameters::{Asked, Brackets, Sent},
};
use super::{
    choices::{Criteria, Mean, WindowType},
    example_day, example_from, example_to,
    narrow::Cost,
    users::{Cursor, MAX_LIMIT, Page, UserList},
};
use crate::{
    http::{
        extract::{
            auth::{Caller, Read},
            parameters::{Checks, Param, Required, Segments, UpTo, Whole},
        },
        openapi::Tag,
        respond::{
            problem::{Asking, Refusal},
            table::{Format, Told},
        },
    },
    model::range::DayRange,
    query::retention::{CohortKind, Who, Window},
    stats::retention::{Column, Question},
    store::read::snapshot::Reader,
};

pub struct RetentionApi {
    pub reader: Reader,
}

#[OpenApi(prefix_path = "/stats", tag = "Tag::Statistics")]
impl RetentionApi {
    /// Retention
    ///
    /// Of the users who began in a period, how many came back in the periods after it. A user begins with their first event
    /// over all history, unless `cohort` says otherwise. Periods are those of the calendar in the project's time zone. A
    /// period that is not over is marked, and left out of the overall row.
    #[oai(path = "/retention", method = "get", operation_id = "retention")]
    #[allow(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn retention(
        &self,
        caller: Caller<Read>,
        format: Format,
        /// The first day on which users of the cohorts began; the week or month in which it lies is told in full.
        #[oai(example = "example_from::<false>")]
        from: Query<Param<NaiveDate>>,
        /// The last such day, likewise.
        #[oai(example = "example_to::<false>")]
        to: Query<Param<NaiveDate>>,
        /// Instead of `from` and `to`: the cohorts are the first `windows` periods from this day on.
        start_date: Query<Param<NaiveDate>>,
        /// Columns: periods 0 to this one; default 7.
        windows: Query<Param<UpTo<366>>>,
        /// The length of periods; default daily.
        window_type: Query<Param<WindowType>>,
        /// Who counts in period *k*: who came back in it (`on`, the default), or in it or later (`on_or_after`).
        criteria: Query<Param<Criteria>>,
        /// Instead of `windows`: lengths of consecutive brackets, in periods. `1,2,4` is period 0, 1 to 2, 3 to 6.
        brackets: Query<Param<Brackets>>,
        /// Periods of the `calendar` (default), or of `elapsed` time from each user's own beginning: 24 hours, 7 or 30 times
        /// that.
        window: Query<Param<Window>>,
        /// When a user begins: `first_time` (default) with the first start event over all history; `first_ever` with the
        /// first of the event type, if it passes the segments; `recurring` in every period with a start event.
        cohort: Query<Param<CohortKind>>,
        /// The type of the events with which users begin; default any.
        start_event: Query<Param<String>>,
        /// The type of the events that are a return; default any.
        return_event: Query<Param<String>>,
        /// Users begin only with events for which this holds.
        start_segment: Query<Segments>,
        /// Only events for which this holds are a return.
        return_segment: Query<Segments>,
        /// Must hold for both.
        segment: Query<Segments>,
        /// Answers as of this moment: what happened then or later is not counted, and what had not ended is not complete.
        /// Default now.
        as_of: Query<Param<DateTime<Utc>>>,
        /// How cohorts make the overall rate: users by size (`pooled`, the default), or the mean of their rates (`simple`).
        mean: Query<Param<Mean>>,
    ) -> Result<Told<RetentionTable>, Refusal<Asking>> {
        let sent = Sent {
            from: from.0,
            to: to.0,
            start_date: start_date.0,
            windows: windows.0,
            window_type: window_type.0,
            criteria: criteria.0,
            brackets: brackets.0,
            window: window.0,
            cohort: cohort.0,
            start_event: start_event.0,
            return_event: return_event.0,
            start_segment: start_segment.0,
            return_segment: return_segment.0,
            segment: segment.0,
            as_of: as_of.0,
            mean: mean.0,
        };
        let asked = sent.judge(Checks::default(), &caller.project)?;
        let answer = asked.query.answer(&self.reader, &caller.project).await;
        let answer = answer.map_err(|error| asked.cost().problem(error, &self.reader))?;
        Ok(Told { answer: RetentionTable::new(&caller.project, &asked, answer), format })
    }

    /// Retention, by name
    ///
    /// The users behind a cell, in pages: who came back, who did not, or the whole cohort.
    #[oai(path = "/retention/users", method = "get", operation_id = "retention_list")]
    #[allow(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list(
        &self,
        caller: Caller<Read>,
        format: Format,
        /// A day of the cohort's period.
        #[oai(example = "example_day")]
        cohort_date: Query<Required<NaiveDate>>,
        /// The cell's `period`; default 0.
        period: Query<Param<Whole<1000>>>,
        /// Who: `returned` (default), `missing` or `all`.
        who: Query<Param<Who>>,
        /// Most users of a page; default 100.
        limit: Query<Param<UpTo<MAX_LIMIT>>>,
        /// The `next` of the page before.
        cursor: Query<Param<Cursor>>,
        /// The first day on which users of the cohorts began; the week or month in which it lies is told in full.
        #[oai(example = "example_from::<false>")]
        from: Query<Param<NaiveDate>>,
        /// The last such day, likewise.
        #[oai(example = "example_to::<false>")]
        to: Query<Param<NaiveDate>>,
        /// Instead of `from` and `to`: the cohorts are the first `windows` periods from this day on.
        start_date: Query<Param<NaiveDate>>,
        /// Columns: periods 0 to this one; default 7.
        windows: Query<Param<UpTo<366>>>,
        /// The length of periods; default daily.
        window_type: Query<Param<WindowType>>,
        /// Who counts in period *k*: who came back in it (`on`, the default), or in it or later (`on_or_after`).
        criteria: Query<Param<Criteria>>,
        /// Instead of `windows`: lengths of consecutive brackets, in periods. `1,2,4` is period 0, 1 to 2, 3 to 6.
        brackets: Query<Param<Brackets>>,
        /// Periods of the `calendar` (default), or of `elapsed` time from each user's own beginning: 24 hours, 7 or 30 times
        /// that.
        window: Query<Param<Window>>,
        /// When a user begins: `first_time` (default) with the first start event over all history; `first_ever` with the
        /// first of the event type, if it passes the segments; `recurring` in every period with a start event.
        cohort: Query<Param<CohortKind>>,
        /// The type of the events with which users begin; default any.
        start_event: Query<Param<String>>,
        /// The type of the events that are a return; default any.
        return_event: Query<Param<String>>,
        /// Users begin only with events for which this holds.
        start_segment: Query<Segments>,
        /// Only events for which this holds are a return.
        return_segment: Query<Segments>,
        /// Must hold for both.
        segment: Query<Segments>,
        /// Answers as of this moment: what happened then or later is not counted, and what had not ended is not complete.
        /// Default now.
        as_of: Query<Param<DateTime<Utc>>>,
        /// How cohorts make the overall rate: users by size (`pooled`, the default), or the mean of their rates (`simple`).
        mean: Query<Param<Mean>>,
    ) -> Result<Told<UserList>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let cohort_date = checks.required("cohort_date", cohort_date.0);
        let period = checks.optional("period", period.0).map_or(0, |period| period.0);
        let who = checks.optional("who", who.0).unwrap_or(Who::Returned);
        let page = Page::of(&mut checks, cursor.0, limit.0);
        let sent = Sent {
            from: from.0,
            to: to.0,
            start_date: start_date.0,
            windows: windows.0,
            window_type: window_type.0,
            criteria: criteria.0,
            brackets: brackets.0,
            window: window.0,
            cohort: cohort.0,
            start_event: start_event.0,
            return_event: return_event.0,
            start_segment: start_segment.0,
            return_segment: return_segment.0,
            segment: segment.0,
            as_of: as_of.0,
            mean: mean.0,
        };
        let asked = sent.judge(checks, &caller.project)?;
        let mut checks = Checks::default();
        let cell = cohort_date.and_then(|date| asked.cell(&mut checks, date, period));
        let cell = checks.finish(cell)?;
        let users = asked.query.users(&self.reader, &caller.project, cell, who).await;
        let users = users.map_err(|error| asked.cost().problem(error, &self.reader))?;
        let answer = page.list(&self.reader, &caller.project, &users).await?;
        Ok(Told { answer, format })
    }
}

impl Asked {
    /// The cohort and the column of a cell, if the table has it.
    fn cell(&self, checks: &mut Checks, date: NaiveDate, period: u32) -> Option<(NaiveDate, Column)> {
        let Question { unit, from, to, columns } = &self.query.question;
        let cohort = unit.period_of(date);
        if !(unit.period_of(*from)..=*to).contains(&cohort) {
            checks.refuse("cohort_date", "not_asked", "expected a day of a period of the range".into());
        }
        let column = columns.iter().find(|column| column.first == period).copied();
        if column.is_none() {
            let periods: Vec<String> = columns.iter().map(|column| column.first.to_string()).collect();
            let message = format!("expected one of the periods {}", periods.join(", "));
            checks.refuse("period", "not_asked", message);
        }
        Some((cohort, column?))
    }

    fn cost(&self) -> Cost {
        let query = &self.query;
        Cost::of_days(DayRange::new(query.question.from, query.question.to))
            .with_filter("start_segment", &query.start)
            .with_filter("return_segment", &query.back)
            .with_choice(
                query.window == Window::Elapsed,
                "window",
                "elapsed time is read from events; the calendar is answered without",
            )
    }
}
