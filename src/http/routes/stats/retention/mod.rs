//! Retention, with every option.

mod answer;
mod parameters;

use chrono::NaiveDate;
use poem_openapi::{OpenApi, param::Query};

use self::{
    answer::RetentionTable,
    parameters::{RetentionParameters, ValidRetention},
};
use super::{example_day, narrow::Cost, parameters::PageParameters, users::UserList};
use crate::{
    http::{
        extract::{
            auth::{Caller, Read},
            parameters::{Checks, Param, Required, Whole},
        },
        openapi::Tag,
        respond::{
            problem::{Asking, Refusal},
            table::{AnswerFormat, FormattedAnswer},
        },
    },
    model::range::DayRange,
    query::retention::{CohortUsers, Window},
    stats::retention::{Question, RetentionColumn},
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
    async fn retention(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        parameters: RetentionParameters,
    ) -> Result<FormattedAnswer<RetentionTable>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let asked = parameters.validate(&mut checks, &caller.project);
        let asked = checks.finish(asked)?;
        let answer = asked.query.answer(&self.reader, &caller.project).await;
        let answer = answer.map_err(|error| asked.cost().problem(error, &self.reader))?;
        Ok(FormattedAnswer { answer: RetentionTable::new(&caller.project, &asked, answer), format })
    }

    /// Retention, by name
    ///
    /// The users behind a cell, in pages: who came back, who did not, or the whole cohort.
    #[oai(path = "/retention/users", method = "get", operation_id = "retention_list")]
    #[allow(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        /// A day of the cohort's period.
        #[oai(example = "example_day")]
        cohort_date: Query<Required<NaiveDate>>,
        /// The cell's `period`; default 0.
        period: Query<Param<Whole<1000>>>,
        /// Who: `returned` (default), `missing` or `all`.
        who: Query<Param<CohortUsers>>,
        page: PageParameters,
        parameters: RetentionParameters,
    ) -> Result<FormattedAnswer<UserList>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let cohort_date = checks.required("cohort_date", cohort_date.0);
        let period = checks.optional("period", period.0).map_or(0, |period| period.0);
        let who = checks.optional("who", who.0).unwrap_or(CohortUsers::Returned);
        let page = page.check(&mut checks);
        let asked = parameters.validate(&mut checks, &caller.project);
        // Which cells there are is known if everything else is.
        let asked = asked.filter(|_| !checks.has_errors());
        let cell = asked.as_ref().zip(cohort_date);
        let cell = cell.and_then(|(asked, date)| asked.cell(&mut checks, date, period));
        let (asked, cell) = checks.finish(asked.zip(cell))?;
        let users = asked.query.users(&self.reader, &caller.project, cell, who).await;
        let users = users.map_err(|error| asked.cost().problem(error, &self.reader))?;
        let answer = page.list(&self.reader, &caller.project, &users).await?;
        Ok(FormattedAnswer { answer, format })
    }
}

impl ValidRetention {
    /// The cohort and the column of a cell, if the table has it.
    fn cell(
        &self,
        checks: &mut Checks,
        date: NaiveDate,
        period: u32,
    ) -> Option<(NaiveDate, RetentionColumn)> {
        let Question { unit, from, to, columns } = &self.query.question;
        let cohort = unit.period_of(date);
        if !(unit.period_of(*from)..=*to).contains(&cohort) {
            checks.refuse(
                "cohort_date",
                "not_asked",
                format!("expected a day of a period of the range, got '{date}'"),
            );
        }
        let column = columns.iter().find(|column| column.first == period).copied();
        if column.is_none() {
            let periods: Vec<String> = columns.iter().map(|column| column.first.to_string()).collect();
            let message = format!("expected one of the periods {}, got {period}", periods.join(", "));
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
