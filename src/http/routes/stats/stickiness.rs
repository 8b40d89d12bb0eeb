//! On how many days users are active.

use poem_openapi::{Object, OpenApi, param::Query};

use super::{
    narrow::Cost,
    parameters::{DayParameters, PageParameters, SegmentParameter},
    timezone,
    users::UserList,
};
use crate::{
    http::{
        extract::{
            auth::{Caller, Read},
            parameters::{Checks, MAX_DAYS, Param, UpTo},
        },
        openapi::Tag,
        respond::{
            problem::{Asking, Refusal},
            table::{AnswerFormat, FormattedAnswer, Tabular},
        },
    },
    query::stickiness,
    store::read::snapshot::Reader,
};

pub struct StickinessApi {
    pub reader: Reader,
}

#[derive(Object)]
struct Stickiness {
    timezone: String,
    /// For each number of days, up to those of the range.
    #[oai(validator(max_items = 2000))]
    data: Vec<ActiveDays>,
}

#[derive(Object)]
struct ActiveDays {
    days: u32,
    /// Users who were active on exactly so many days of the range.
    users: u64,
}

#[OpenApi(prefix_path = "/stats", tag = "Tag::Statistics")]
impl StickinessApi {
    /// Stickiness
    ///
    /// How many users were active on exactly one, two, … days of the range. Each user stands once, so all together are the
    /// unique users of the range.
    #[oai(path = "/stickiness", method = "get", operation_id = "stickiness")]
    async fn stickiness(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        days: DayParameters,
        segment: SegmentParameter,
    ) -> Result<FormattedAnswer<Stickiness>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let range = days.check(&mut checks);
        let filter = segment.check(&mut checks);
        let query = stickiness::Query { days: checks.finish(range)?, filter };
        let groups = query.answer(&self.reader, &caller.project).await;
        let groups = groups.map_err(|error| cost(&query).problem(error, &self.reader))?;
        let data = (1..).zip(groups).map(|(days, users)| ActiveDays { days, users: users.len() }).collect();
        Ok(FormattedAnswer { answer: Stickiness { timezone: timezone(&caller.project), data }, format })
    }

    /// Stickiness, by name
    ///
    /// Who was active on exactly so many days of the range, in pages.
    #[oai(path = "/stickiness/users", method = "get", operation_id = "stickiness_list")]
    async fn list(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        range: DayParameters,
        /// The number of days.
        #[oai(example = "example_days")]
        days: Query<Param<UpTo<MAX_DAYS>, true>>,
        segment: SegmentParameter,
        page: PageParameters,
    ) -> Result<FormattedAnswer<UserList>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let range = range.check(&mut checks);
        let days = checks.required("days", days.0).map(|days| days.0);
        let filter = segment.check(&mut checks);
        let page = page.check(&mut checks);
        let (range, days) = checks.finish(range.zip(days))?;
        let query = stickiness::Query { days: range, filter };
        let users = query.users(&self.reader, &caller.project, days).await;
        let users = users.map_err(|error| cost(&query).problem(error, &self.reader))?;
        let answer = page.list(&self.reader, &caller.project, &users).await?;
        Ok(FormattedAnswer { answer, format })
    }
}

fn cost(query: &stickiness::Query) -> Cost {
    Cost::of_days(query.days).with_filter("segment", &query.filter)
}

fn example_days() -> Param<UpTo<MAX_DAYS>, true> {
    Param::example("1")
}

impl Tabular for Stickiness {
    fn header(&self) -> Vec<String> {
        ["days", "users"].map(Into::into).into()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        self.data.iter().map(|row| vec![row.days.to_string(), row.users.to_string()]).collect()
    }
}
