//! How many users did something on each day, in each week, in each month?

use std::collections::BTreeMap;

use chrono::{NaiveDate, Utc};
use roaring::{MultiOps, RoaringBitmap};

use super::plan::Plan;
use crate::work;
use crate::{
    model::{project::Project, range::DayRange},
    stats::{self, DailyUsers, filter::Filter, period::Unit},
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivePeriod {
    /// The first day.
    pub period: NaiveDate,
    pub active_users: u64,
    /// Whether it is over.
    pub complete: bool,
}

impl Query {
    pub async fn answer(&self, reader: &Reader, project: &Project) -> Result<Vec<ActivePeriod>, StoreError> {
        let today = project.local_date(Utc::now());
        let DayRange { from, to } = self.days;
        let users = self.daily_users(reader, project).await?;
        let periods = stats::active_users::active_users(self.unit, from, to, &users);
        let period = |(period, users): (NaiveDate, RoaringBitmap)| ActivePeriod {
            period,
            active_users: users.len(),
            complete: self.unit.after(period, 1) <= today,
        };
        Ok(work::long(|| periods.map(period).collect()))
    }

    /// The same by days, whatever the unit: days that are counted in the database need not be fetched.
    pub async fn by_day(
        &self,
        reader: &Reader,
        project: &Project,
    ) -> Result<Vec<(NaiveDate, u64)>, StoreError> {
        let Plan { mut snapshot, sources: [source] } =
            Plan::new(reader, project.id, [QueryPart::of(&self.filter)], false).await?;
        let selection = Selection { project, filter: &self.filter, source: &source, until: None };
        let counts: BTreeMap<_, _> = active::daily_active_users(&mut snapshot, &selection, self.days).await?;
        Ok(self.days.days().map(|day| (day, counts.get(&day).copied().unwrap_or(0))).collect())
    }

    /// Who was active in any of the periods.
    pub async fn users(&self, reader: &Reader, project: &Project) -> Result<RoaringBitmap, StoreError> {
        let users = self.daily_users(reader, project).await?;
        Ok(work::long(|| users.values().union()))
    }

    /// The users of all days of the periods.
    async fn daily_users(&self, reader: &Reader, project: &Project) -> Result<DailyUsers, StoreError> {
        let days = self.unit.whole(self.days);
        let Plan { mut snapshot, sources: [source] } =
            Plan::new(reader, project.id, [QueryPart::of(&self.filter)], false).await?;
        let selection = Selection { project, filter: &self.filter, source: &source, until: None };
        active::daily_users(&mut snapshot, &selection, days).await
    }
}
