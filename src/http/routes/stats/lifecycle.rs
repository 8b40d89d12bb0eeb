//! Lifecycle of the users of each period.

use chrono::NaiveDate;
use poem_openapi::{Object, OpenApi, param::Query};

use super::{
    example_day,
    narrow::Cost,
    parameters::{IntervalParameter, PageParameters, PeriodParameters, SegmentParameter},
    timezone,
    users::UserList,
};
use crate::{
    http::{
        extract::{
            auth::{Caller, Read},
            parameters::{Checks, Param, Required},
        },
        openapi::Tag,
        respond::{
            problem::{Asking, Refusal},
            table::{AnswerFormat, FormattedAnswer, Tabular},
        },
    },
    model::range::DayRange,
    query::lifecycle,
    stats::lifecycle::LifecycleState,
    store::read::snapshot::Reader,
};

pub struct LifecycleApi {
    pub reader: Reader,
}

#[derive(Object)]
struct Lifecycles {
    timezone: String,
    #[oai(validator(max_items = 2000))]
    data: Vec<LifecyclePeriod>,
}

/// Active users of the period are `new`, `returning` and `resurrecting`; `dormant` ones are missing.
#[derive(Object)]
struct LifecyclePeriod {
    /// The first day of the period.
    period: NaiveDate,
    /// Users whose first event over all history lies in this period.
    new: u64,
    /// Users who were active in the period before too.
    returning: u64,
    /// Users who were active at some time before, but not in the period before.
    resurrecting: u64,
    /// Users who were active in the period before and not in this one.
    dormant: u64,
    /// False: the period is not over. Active ones may still grow, dormant ones shrink.
    complete: bool,
}

#[OpenApi(prefix_path = "/stats", tag = "Tag::Statistics")]
impl LifecycleApi {
    /// Lifecycle
    ///
    /// For each period how many of its users are new, stayed, or came back, and how many of the period before are missing.
    /// Periods are whole: the week or month in which `from` or `to` lies is counted in full. With segments, only events for
    /// which they hold count, also for who is new.
    #[oai(path = "/lifecycle", method = "get", operation_id = "lifecycle")]
    async fn lifecycle(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        days: PeriodParameters,
        interval: IntervalParameter,
        segment: SegmentParameter,
    ) -> Result<FormattedAnswer<Lifecycles>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let range = days.check(&mut checks);
        let unit = interval.check(&mut checks, &caller.project);
        let filter = segment.check(&mut checks);
        let query = lifecycle::Query { days: checks.finish(range)?, unit, filter };
        let periods = query.answer(&self.reader, &caller.project).await;
        let periods = periods.map_err(|error| cost(&query).problem(error, &self.reader))?;
        let data =
            periods.into_iter().map(|lifecycle::PeriodLifecycle { users, complete }| LifecyclePeriod {
                period: users.period,
                new: users.new.len(),
                returning: users.returning.len(),
                resurrecting: users.resurrecting.len(),
                dormant: users.dormant.len(),
                complete,
            });
        let answer = Lifecycles { timezone: timezone(&caller.project), data: data.collect() };
        Ok(FormattedAnswer { answer, format })
    }

    /// Lifecycle, by name
    ///
    /// Who is new, returning, resurrecting or dormant in a period, in pages.
    #[oai(path = "/lifecycle/users", method = "get", operation_id = "lifecycle_list")]
    #[allow(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        /// A day of the period.
        #[oai(example = "example_day")]
        period: Query<Required<NaiveDate>>,
        /// Which users.
        #[oai(example = "example_state")]
        state: Query<Param<LifecycleState, true>>,
        interval: IntervalParameter,
        segment: SegmentParameter,
        page: PageParameters,
    ) -> Result<FormattedAnswer<UserList>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let period = checks.required("period", period.0);
        let state = checks.required("state", state.0);
        let unit = interval.check(&mut checks, &caller.project);
        let filter = segment.check(&mut checks);
        let page = page.check(&mut checks);
        let (period, state) = checks.finish(period.zip(state))?;
        let query = lifecycle::Query { days: DayRange::new(period, period), unit, filter };
        let users = query.users(&self.reader, &caller.project, state).await;
        let users = users.map_err(|error| cost(&query).problem(error, &self.reader))?;
        let answer = page.list(&self.reader, &caller.project, &users).await?;
        Ok(FormattedAnswer { answer, format })
    }
}

fn cost(query: &lifecycle::Query) -> Cost {
    Cost::of_days(query.days).with_filter("segment", &query.filter)
}

fn example_state() -> Param<LifecycleState, true> {
    Param::example("new")
}

impl Tabular for Lifecycles {
    fn header(&self) -> Vec<String> {
        ["period", "new", "returning", "resurrecting", "dormant", "complete"].map(Into::into).into()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let row = |row: &LifecyclePeriod| {
            let numbers =
                [row.new, row.returning, row.resurrecting, row.dormant].map(|users| users.to_string());
            let mut fields = vec![row.period.to_string()];
            fields.extend(numbers);
            fields.push(row.complete.to_string());
            fields
        };
        self.data.iter().map(row).collect()
    }
}
