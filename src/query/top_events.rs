//! Which event types have the most events?

use crate::{
    model::{project::Project, range::DayRange},
    stats::filter::Filter,
    store::{
        StoreError,
        read::{active, activity::EventTypeCount, series::Apart, snapshot::Reader},
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
        let mut snapshot = reader.snapshot_about(project.id, &[&self.filter], Apart::EventTypes).await?;
        let days = (self.days.from, self.days.to);
        active::top_events(&mut snapshot, project, &self.filter, days, self.limit).await
    }
}
