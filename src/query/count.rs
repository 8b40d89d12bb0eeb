//! How many events were there, from one instant until before another?

use crate::{
    model::{project::Project, range::TimeRange},
    stats::filter::Filter,
    store::{
        StoreError,
        read::{
            active,
            series::Apart,
            snapshot::{Reader, Source},
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
        let time = (self.time.begin, self.time.end);
        let mut snapshot = if active::is_of_whole_days(project, time) {
            reader.snapshot_about(project.id, &[&self.filter], Apart::Nothing).await?
        } else {
            reader.snapshot(project.id, Source::Events).await?
        };
        active::count(&mut snapshot, project, &self.filter, time).await
    }
}
