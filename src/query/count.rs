//! How many events were there, from one instant until before another?

use super::plan::Plan;
use crate::{
    model::{project::Project, range::TimeRange},
    stats::filter::Filter,
    store::{
        StoreError,
        read::{
            active,
            snapshot::Reader,
            source::{QueryPart, Selection},
        },
    },
};

#[derive(Clone, Debug)]
pub struct Query {
    pub time: TimeRange,
    pub filter: Filter,
}

impl Query {
    pub async fn answer(&self, reader: &Reader, project: &Project) -> Result<i64, StoreError> {
        if self.time.is_empty() {
            return Ok(0);
        }
        let reads_events = !active::is_of_whole_days(project, self.time);
        let Plan { mut snapshot, sources: [source] } =
            Plan::new(reader, project.id, [QueryPart::of(&self.filter)], reads_events).await?;
        let selection = Selection { project, filter: &self.filter, source: &source, until: None };
        active::count(&mut snapshot, &selection, self.time).await
    }
}
