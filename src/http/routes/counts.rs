//! Numbers of events and of page views.

use chrono::{DateTime, NaiveDate, Utc};
use poem_openapi::{Object, OpenApi, param::Query};

use super::stats::narrow::Cost;
use crate::http::{
    extract::{
        auth::{Caller, Read},
        parameters::{Checks, Param, Required, Segments, UpTo, range},
    },
    openapi::Tag,
    respond::{
        problem::{Asking, Problem, Refusal},
        table::{Format, Table, Told, field},
    },
};
use crate::{
    model::project::Project,
    store::{
        self, StoreError,
        read::{
            active,
            pages::PageViews,
            series::Apart,
            snapshot::{Reader, Source},
        },
    },
};

pub struct CountsApi {
    pub reader: Reader,
}

#[derive(Object)]
struct EventCount {
    #[oai(skip_serializing_if_is_none)]
    event_type: Option<String>,
    /// Instead of `event_type`, if that is how it was asked.
    #[oai(skip_serializing_if_is_none)]
    event_name: Option<String>,
    count: i64,
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
impl CountsApi {
    /// Count
    ///
    /// The events of one type, from an instant until before another.
    #[oai(path = "/stats/count", method = "get", operation_id = "count", tag = "Tag::Statistics")]
    #[allow(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn count(
        &self,
        caller: Caller<Read>,
        format: Format,
        /// Required, under this name or as `event_name`.
        #[oai(example = "example_event_type")]
        event_type: Query<Param<String>>,
        /// The same as `event_type`.
        event_name: Query<Param<String>>,
        /// The first instant.
        #[oai(example = "example_from")]
        from: Query<Required<DateTime<Utc>>>,
        /// The instant behind the last.
        #[oai(example = "example_to")]
        to: Query<Required<DateTime<Utc>>>,
        /// Only events for which this holds, such as `properties.country:UA,PL`.
        segment: Query<Segments>,
    ) -> Result<Told<EventCount>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let event_name = checks.optional("event_name", event_name.0);
        let event_type = match &event_name {
            None => checks.required("event_type", event_type.0),
            Some(_) => checks.optional("event_type", event_type.0),
        };
        if event_name.is_some() && event_type.is_some() {
            checks.refuse("event_name", "not_both", "expected either event_type or event_name".into());
        }
        let (from, to) = (checks.required("from", from.0), checks.required("to", to.0));
        if from.zip(to).is_some_and(|(from, to)| to < from) {
            checks.refuse("to", "before_from", "expected `from` or later".into());
        }
        let name = event_type.clone().or_else(|| event_name.clone());
        let filter = checks.segments("segment", segment.0);
        let (name, range) = checks.finish(name.zip(from.zip(to)))?;
        let filter = filter.of_type(&name);
        let days = (range.0.date_naive(), range.1.date_naive());
        let count = async {
            let project_id = caller.project.id;
            let mut snapshot = if active::is_of_whole_days(&caller.project, range) {
                self.reader.snapshot_about(project_id, &[&filter], Apart::Nothing).await?
            } else {
                self.reader.snapshot(project_id, Source::Events).await?
            };
            active::count(&mut snapshot, &caller.project, &filter, range).await
        };
        let count =
            count.await.map_err(|error| Cost::of_days(days.0, days.1).problem(error, &self.reader))?;
        Ok(Told { answer: EventCount { event_type, event_name, count }, format })
    }

    /// Pages
    ///
    /// Views, different users and the most viewed paths of a day or a range of days, of all sites.
    #[oai(path = "/stats/pages", method = "get", operation_id = "pages", tag = "Tag::Statistics")]
    async fn pages(
        &self,
        caller: Caller<Read>,
        format: Format,
        /// The day.
        #[oai(example = "example_date::<false>")]
        date: Query<Param<NaiveDate>>,
        /// Instead of `date`: the first day.
        from: Query<Param<NaiveDate>>,
        /// Instead of `date`: the last day.
        to: Query<Param<NaiveDate>>,
        /// Most paths; default 10.
        limit: Query<Param<UpTo<1000>>>,
    ) -> Result<Told<Pages>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let limit = checks.optional("limit", limit.0).map_or(10, |limit| limit.0);
        let date = checks.optional("date", date.0);
        let days = match date {
            None => range(&mut checks, from.0, to.0),
            Some(date) => {
                if checks.optional("from", from.0).is_some() || checks.optional("to", to.0).is_some() {
                    checks.refuse("date", "not_both", "expected either date, or from and to".into());
                }
                Some((date, date))
            }
        };
        let days = checks.finish(days)?;
        let views = self.views(&caller.project, None, days, limit).await?;
        let range = date.is_none().then_some(days);
        let (from, to) = (range.map(|days| days.0), range.map(|days| days.1));
        Ok(Told { answer: Pages { date, from, to, ..answer(&caller.project, views) }, format })
    }

    /// A site's day
    ///
    /// As `/stats/pages`, of one site: of the events whose property `site_id` names it.
    #[oai(path = "/stats", method = "get", operation_id = "site_pages", tag = "Tag::Earlier")]
    async fn site(
        &self,
        caller: Caller<Read>,
        format: Format,
        /// The site.
        #[oai(example = "example_site")]
        site_id: Query<Required<String>>,
        /// The day.
        #[oai(example = "example_date::<true>")]
        date: Query<Required<NaiveDate>>,
    ) -> Result<Told<Pages>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let site_id = checks.required("site_id", site_id.0);
        let date = checks.required("date", date.0);
        let (site_id, date) = checks.finish(site_id.zip(date))?;
        let views = self.views(&caller.project, Some(&site_id), (date, date), 10).await?;
        let answer = Pages { site_id: Some(site_id), date: Some(date), ..answer(&caller.project, views) };
        Ok(Told { answer, format })
    }

    /// Views of a range of days with both its ends.
    async fn views(
        &self,
        project: &Project,
        site_id: Option<&str>,
        days: (NaiveDate, NaiveDate),
        limit: u32,
    ) -> Result<PageViews, Problem> {
        let views = async {
            let mut snapshot = self.reader.snapshot(project.id, Source::Events).await?;
            store::read::pages::views(&mut snapshot, project, site_id, days, limit).await
        };
        views.await.map_err(|error: StoreError| Cost::of_days(days.0, days.1).problem(error, &self.reader))
    }
}

fn answer(project: &Project, views: PageViews) -> Pages {
    let top = |path: store::read::pages::PathViews| TopPath { path: path.path, views: path.views };
    Pages {
        site_id: None,
        date: None,
        from: None,
        to: None,
        timezone: project.timezone.name().into(),
        total_views: views.total_views,
        unique_users: views.unique_users,
        top_paths: views.top_paths.into_iter().map(top).collect(),
    }
}

impl Table for EventCount {
    fn header(&self) -> Vec<String> {
        let name = if self.event_name.is_some() { "event_name" } else { "event_type" };
        [name, "count"].map(Into::into).into()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let name = self.event_name.as_ref().or(self.event_type.as_ref());
        vec![vec![field(name), self.count.to_string()]]
    }
}

/// The paths; the first row, without one, is all of them.
impl Table for Pages {
    fn header(&self) -> Vec<String> {
        ["path", "views", "unique_users"].map(Into::into).into()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let all = vec![field(None::<&str>), self.total_views.to_string(), self.unique_users.to_string()];
        let path = |top: &TopPath| vec![top.path.clone(), top.views.to_string(), field(None::<&str>)];
        std::iter::once(all).chain(self.top_paths.iter().map(path)).collect()
    }
}

fn example_event_type() -> Param<String> {
    Param::example("page_view")
}

fn example_from() -> Required<DateTime<Utc>> {
    Param::example("2024-03-01T00:00:00Z")
}

fn example_to() -> Required<DateTime<Utc>> {
    Param::example("2024-04-01T00:00:00Z")
}

fn example_date<const REQUIRED: bool>() -> Param<NaiveDate, REQUIRED> {
    Param::example("2024-03-10")
}

fn example_site() -> Required<String> {
    Param::example("test123")
}
