//! How often were pages viewed, by how many users, and which ones most?

use super::plan::Plan;
use crate::{
    model::{project::Project, range::DayRange},
    stats::{filter::Filter, label::Breakdown},
    store::{
        StoreError,
        read::{
            active,
            activity::EventTypeCount,
            pages::{self, PAGE_VIEW, PathViews, Views},
            snapshot::Reader,
            source::{QueryPart, Selection},
        },
    },
};

#[derive(Clone, Debug)]
pub struct Query {
    pub days: DayRange,
    /// Nothing: all sites.
    pub site_id: Option<String>,
    /// Most paths.
    pub limit: u32,
}

#[derive(Debug)]
pub struct Answer {
    pub total: Views,
    /// Most views first, then by path.
    pub top_paths: Vec<PathViews>,
}

impl Query {
    pub async fn answer(&self, reader: &Reader, project: &Project) -> Result<Answer, StoreError> {
        let filter = Filter::default().of_type(PAGE_VIEW);
        let part = QueryPart { filter: &filter, breakdown: Some(&Breakdown::EventType) };
        // Paths are read from events: they may be longer than what activity knows values by.
        let Plan { mut snapshot, sources: [source] } = Plan::new(reader, project.id, [part], true).await?;
        let time = project.time_of(self.days);
        let total = if let Some(site_id) = &self.site_id {
            pages::of_site(&mut snapshot, project.id, site_id, time).await?
        } else {
            let selection = Selection { project, filter: &filter, source: &source, until: None };
            let counted = active::top_events(&mut snapshot, &selection, self.days, 1).await?;
            let views = |of_type: &EventTypeCount| Views { views: of_type.events, users: of_type.users };
            counted.first().map(views).unwrap_or_default()
        };
        let site_id = self.site_id.as_deref();
        let top_paths = pages::top_paths(&mut snapshot, project.id, site_id, time, self.limit).await?;
        Ok(Answer { total, top_paths })
    }
}
