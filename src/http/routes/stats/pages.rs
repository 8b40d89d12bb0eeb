//! Views of pages, of all sites or of one.

use chrono::NaiveDate;
use poem_openapi::{Object, OpenApi, param::Query};

use super::{narrow::Cost, timezone};
use crate::{
    http::{
        extract::{
            auth::{Caller, Read},
            parameters::{AskedDays, Checks, Param, Required, UpTo, day_or_range},
        },
        openapi::Tag,
        respond::{
            problem::{Asking, Problem, Refusal},
            table::{AnswerFormat, FormattedAnswer, Tabular, field},
        },
    },
    model::{project::Project, range::DayRange},
    query::pages::{self, Answer},
    store::read::{pages::PathViews, snapshot::Reader},
};

pub struct PagesApi {
    pub reader: Reader,
}

/// Views of pages: events `page_view`, whose property `path` names the page.
#[derive(Object)]
struct Pages {
    /// As it was asked.
    #[oai(skip_serializing_if_is_none)]
    site_id: Option<String>,
    /// The day that was asked for.
    #[oai(skip_serializing_if_is_none)]
    date: Option<NaiveDate>,
    /// The first day of a range.
    #[oai(skip_serializing_if_is_none)]
    from: Option<NaiveDate>,
    /// The last day of a range.
    #[oai(skip_serializing_if_is_none)]
    to: Option<NaiveDate>,
    timezone: String,
    total_views: i64,
    unique_users: i64,
    /// Most views first, then by path.
    #[oai(validator(max_items = 1000))]
    top_paths: Vec<TopPath>,
}

#[derive(Object)]
struct TopPath {
    path: String,
    views: i64,
}

#[OpenApi]
impl PagesApi {
    /// Pages
    ///
    /// Views, unique users and the most viewed paths of a day or a range of days, of all sites.
    #[oai(path = "/stats/pages", method = "get", operation_id = "pages", tag = "Tag::Statistics")]
    async fn pages(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        /// The day.
        #[oai(example = "example_date::<false>")]
        date: Query<Param<NaiveDate>>,
        /// Instead of `date`: the first day.
        from: Query<Param<NaiveDate>>,
        /// Instead of `date`: the last day.
        to: Query<Param<NaiveDate>>,
        /// Most paths; default 10.
        limit: Query<Param<UpTo<1000>>>,
    ) -> Result<FormattedAnswer<Pages>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let limit = checks.optional("limit", limit.0).map_or(10, |limit| limit.0);
        let asked = day_or_range(&mut checks, "date", date.0, from.0, to.0);
        let (date, days) = match checks.finish(asked)? {
            AskedDays::One(date) => (Some(date), DayRange::new(date, date)),
            AskedDays::Range(range) => (None, range),
        };
        let query = pages::Query { days, site_id: None, limit };
        let views = self.views(&caller.project, &query).await?;
        let range = date.is_none().then_some(query.days);
        let (from, to) = (range.map(|days| days.from), range.map(|days| days.to));
        Ok(FormattedAnswer { answer: Pages { date, from, to, ..answer(&caller.project, views) }, format })
    }

    /// A site's day
    ///
    /// As `/stats/pages`, of one site: of the events whose property `site_id` names it.
    #[oai(path = "/stats", method = "get", operation_id = "site_pages", tag = "Tag::Earlier")]
    async fn site(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        /// The site.
        #[oai(example = "example_site")]
        site_id: Query<Required<String>>,
        /// The day.
        #[oai(example = "example_date::<true>")]
        date: Query<Required<NaiveDate>>,
    ) -> Result<FormattedAnswer<Pages>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let site_id = checks.required("site_id", site_id.0);
        let date = checks.required("date", date.0);
        let (site_id, date) = checks.finish(site_id.zip(date))?;
        let query = pages::Query { days: DayRange::new(date, date), site_id: Some(site_id), limit: 10 };
        let views = self.views(&caller.project, &query).await?;
        let answer = Pages { site_id: query.site_id, date: Some(date), ..answer(&caller.project, views) };
        Ok(FormattedAnswer { answer, format })
    }

    async fn views(&self, project: &Project, query: &pages::Query) -> Result<Answer, Problem> {
        let views = query.answer(&self.reader, project).await;
        views.map_err(|error| Cost::of_days(query.days).problem(error, &self.reader))
    }
}

fn answer(project: &Project, views: Answer) -> Pages {
    let top = |path: PathViews| TopPath { path: path.path, views: path.views };
    Pages {
        site_id: None,
        date: None,
        from: None,
        to: None,
        timezone: timezone(project),
        total_views: views.total.views,
        unique_users: views.total.users,
        top_paths: views.top_paths.into_iter().map(top).collect(),
    }
}

/// The paths; the first row, without one, is all of them.
impl Tabular for Pages {
    fn header(&self) -> Vec<String> {
        ["path", "views", "unique_users"].map(Into::into).into()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let all = vec![field(None::<&str>), self.total_views.to_string(), self.unique_users.to_string()];
        let path = |top: &TopPath| vec![top.path.clone(), top.views.to_string(), field(None::<&str>)];
        std::iter::once(all).chain(self.top_paths.iter().map(path)).collect()
    }
}

fn example_date<const REQUIRED: bool>() -> Param<NaiveDate, REQUIRED> {
    Param::example("2024-03-01")
}

fn example_site() -> Required<String> {
    Param::example("test123")
}
