//! How often were pages viewed, by how many users, and which ones most?

use crate::{
    model::{project::Project, range::DayRange},
    store::{
        self, StoreError,
        read::{
            pages::PageViews,
            snapshot::{Reader, Source},
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

impl Query {
    pub async fn answer(&self, reader: &Reader, project: &Project) -> Result<PageViews, StoreError> {
        // Paths are longer than what activity tells values by.
        let mut snapshot = reader.snapshot(project.id, Source::Events).await?;
        let days = (self.days.from, self.days.to);
        store::read::pages::views(&mut snapshot, project, self.site_id.as_deref(), days, self.limit).await
    }
}
