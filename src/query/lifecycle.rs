//! Of each period's users, who is new, who stayed, who came back, and who is missing?

use chrono::Utc;
use roaring::RoaringBitmap;

use super::plan::Plan;
use crate::work;
use crate::{
    model::{project::Project, range::DayRange},
    stats::{
        filter::Filter,
        lifecycle::{Lifecycle, LifecycleState, first_day, lifecycle},
        period::Unit,
    },
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
    /// Weeks and months in which one of these days lies are whole.
    pub days: DayRange,
    pub unit: Unit,
    pub filter: Filter,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PeriodLifecycle {
    pub users: Lifecycle,
    /// Whether it is over.
    pub complete: bool,
}

impl Query {
    pub async fn answer(
        &self,
        reader: &Reader,
        project: &Project,
    ) -> Result<Vec<PeriodLifecycle>, StoreError> {
        let today = project.local_date(Utc::now());
        let DayRange { from, to } = self.days;
        let Plan { mut snapshot, sources: [source] } =
            Plan::new(reader, project.id, [QueryPart::of(&self.filter)], false).await?;
        let selection = Selection { project, filter: &self.filter, source: &source, until: None };
        let first = first_day(self.unit, from);
        let before = active::users_before(&mut snapshot, &selection, first).await?;
        let days = DayRange::new(first, self.unit.last_day(to));
        let users = active::daily_users(&mut snapshot, &selection, days).await?;
        drop(snapshot);
        let periods = work::long(|| lifecycle(self.unit, from, to, before, &users)).into_iter();
        let period =
            |users: Lifecycle| PeriodLifecycle { complete: self.unit.after(users.period, 1) <= today, users };
        Ok(periods.map(period).collect())
    }

    /// Of the first period, the users with whom it came to this.
    pub async fn users(
        &self,
        reader: &Reader,
        project: &Project,
        state: LifecycleState,
    ) -> Result<RoaringBitmap, StoreError> {
        let periods = self.answer(reader, project).await?;
        Ok(periods.into_iter().next().map(|period| period.users.into_users(state)).unwrap_or_default())
    }
}
