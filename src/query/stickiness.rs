//! On how many days were users active?

use roaring::RoaringBitmap;

use super::plan::Plan;
use crate::work;
use crate::{
    model::{project::Project, range::DayRange},
    stats::{filter::Filter, stickiness::stickiness},
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
    pub days: DayRange,
    pub filter: Filter,
}

impl Query {
    /// The users who were active on exactly *n* days, for each *n* from 1 to all days of the range.
    pub async fn answer(&self, reader: &Reader, project: &Project) -> Result<Vec<RoaringBitmap>, StoreError> {
        let Plan { mut snapshot, sources: [source] } =
            Plan::new(reader, project.id, [QueryPart::of(&self.filter)], false).await?;
        let selection = Selection { project, filter: &self.filter, source: &source, until: None };
        let users = active::daily_users(&mut snapshot, &selection, self.days).await?;
        drop(snapshot);
        let days = self.days.days().count();
        Ok(work::long(|| stickiness(&users, days)))
    }

    /// The users who were active on exactly so many days.
    pub async fn users(
        &self,
        reader: &Reader,
        project: &Project,
        days: u32,
    ) -> Result<RoaringBitmap, StoreError> {
        let groups = self.answer(reader, project).await?;
        let index = (days as usize).checked_sub(1);
        Ok(index.and_then(|index| groups.into_iter().nth(index)).unwrap_or_default())
    }
}
