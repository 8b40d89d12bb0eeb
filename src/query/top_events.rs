//! Which event types have the most events?

use super::plan::Plan;
use crate::{
    model::{project::Project, range::DayRange},
    stats::{filter::Filter, label::Breakdown},
    store::{
        StoreError,
        read::{
            active,
            activity::EventTypeCount,
            snapshot::Reader,
            source::{QueryPart, Selection},
        },
    },
};

#[derive(Clone, Debug)]
pub struct Query {
    pub days: DayRange,
    pub filter: Filter,
    /// Most event types.
    pub limit: u32,
}

impl Query {
    /// Most events first, then by name.
    pub async fn answer(
        &self,
        reader: &Reader,
        project: &Project,
    ) -> Result<Vec<EventTypeCount>, StoreError> {
        let part = QueryPart { filter: &self.filter, breakdown: Some(&Breakdown::EventType) };
        let Plan { mut snapshot, sources: [source] } = Plan::new(reader, project.id, [part], false).await?;
        let selection = Selection { project, filter: &self.filter, source: &source, until: None };
        active::top_events(&mut snapshot, &selection, self.days, self.limit).await
    }
}
