//! Active users by day, week and month.

use chrono::NaiveDate;
use poem_openapi::{Object, OpenApi};

use super::{
    narrow::Cost,
    parameters::{DayParameters, IntervalParameter, PageParameters, PeriodParameters, SegmentParameter},
    timezone,
    users::UserList,
};
use crate::{
    http::{
        extract::{
            auth::{Caller, Read},
            parameters::Checks,
        },
        openapi::Tag,
        respond::{
            problem::{Asking, Refusal},
            table::{AnswerFormat, FormattedAnswer, Tabular},
        },
    },
    query::active_users,
    stats::period::Unit,
    store::read::snapshot::Reader,
};

pub struct ActiveUsersApi {
    pub reader: Reader,
}

#[derive(Object)]
struct DailyActiveUsers {
    /// The project's time zone, in which the days are.
    timezone: String,
    #[oai(validator(max_items = 2000))]
    data: Vec<DayUsers>,
}

#[derive(Object)]
struct DayUsers {
    date: NaiveDate,
    active_users: u64,
}

#[derive(Object)]
struct ActiveUsers {
    timezone: String,
    #[oai(validator(max_items = 2000))]
    data: Vec<PeriodUsers>,
}

#[derive(Object)]
struct PeriodUsers {
    /// The first day of the period.
    period: NaiveDate,
    /// Unique users.
    active_users: u64,
    /// False: the period is not over, and the number may still grow.
    complete: bool,
}

#[OpenApi(prefix_path = "/stats", tag = "Tag::Statistics")]
impl ActiveUsersApi {
    /// Daily active users
    ///
    /// Unique users with any event, or with one for which all segments hold, for each day.
    #[oai(path = "/dau", method = "get", operation_id = "daily_active_users")]
    async fn dau(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        days: DayParameters,
        segment: SegmentParameter,
    ) -> Result<FormattedAnswer<DailyActiveUsers>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let range = days.check(&mut checks);
        let filter = segment.check(&mut checks);
        let query = active_users::Query { days: checks.finish(range)?, unit: Unit::Day, filter };
        let days = query.by_day(&self.reader, &caller.project).await;
        let days = days.map_err(|error| cost(&query).problem(error, &self.reader))?;
        let data = days.into_iter().map(|(date, active_users)| DayUsers { date, active_users });
        let answer = DailyActiveUsers { timezone: timezone(&caller.project), data: data.collect() };
        Ok(FormattedAnswer { answer, format })
    }

    /// Active users
    ///
    /// Unique users of each day, week or month. Periods are whole: the week or month in which `from` or `to` lies is counted
    /// in full. Who comes twice in a period is one user.
    #[oai(path = "/active-users", method = "get", operation_id = "active_users")]
    async fn active_users(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        days: PeriodParameters,
        interval: IntervalParameter,
        segment: SegmentParameter,
    ) -> Result<FormattedAnswer<ActiveUsers>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let range = days.check(&mut checks);
        let unit = interval.check(&mut checks, &caller.project);
        let filter = segment.check(&mut checks);
        let query = active_users::Query { days: checks.finish(range)?, unit, filter };
        let periods = query.answer(&self.reader, &caller.project).await;
        let periods = periods.map_err(|error| cost(&query).problem(error, &self.reader))?;
        let data = periods.into_iter().map(|of| PeriodUsers {
            period: of.period,
            active_users: of.active_users,
            complete: of.complete,
        });
        let answer = ActiveUsers { timezone: timezone(&caller.project), data: data.collect() };
        Ok(FormattedAnswer { answer, format })
    }

    /// Active users, by name
    ///
    /// Who was active on any day of the range, in pages: the users behind a day, a week, a month, and with segments behind an
    /// event type or a value of a property.
    #[oai(path = "/active-users/users", method = "get", operation_id = "active_users_list")]
    async fn list(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        days: DayParameters,
        segment: SegmentParameter,
        page: PageParameters,
    ) -> Result<FormattedAnswer<UserList>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let range = days.check(&mut checks);
        let filter = segment.check(&mut checks);
        let page = page.check(&mut checks);
        let query = active_users::Query { days: checks.finish(range)?, unit: Unit::Day, filter };
        let users = query.users(&self.reader, &caller.project).await;
        let users = users.map_err(|error| cost(&query).problem(error, &self.reader))?;
        let answer = page.list(&self.reader, &caller.project, &users).await?;
        Ok(FormattedAnswer { answer, format })
    }
}

fn cost(query: &active_users::Query) -> Cost {
    Cost::of_days(query.days).with_filter("segment", &query.filter)
}

impl Tabular for DailyActiveUsers {
    fn header(&self) -> Vec<String> {
        ["date", "active_users"].map(Into::into).into()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        self.data.iter().map(|day| vec![day.date.to_string(), day.active_users.to_string()]).collect()
    }
}

impl Tabular for ActiveUsers {
    fn header(&self) -> Vec<String> {
        ["period", "active_users", "complete"].map(Into::into).into()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let row = |row: &PeriodUsers| {
            vec![row.period.to_string(), row.active_users.to_string(), row.complete.to_string()]
        };
        self.data.iter().map(row).collect()
    }
}
