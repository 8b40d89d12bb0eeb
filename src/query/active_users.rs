//! How many users did something on each day, in each week, in each month?

use std::collections::BTreeMap;

use chrono::{NaiveDate, Utc};
use roaring::RoaringBitmap;

use crate::{
    model::{project::Project, range::DayRange},
    stats::{self, DailyUsers, filter::Filter, period::Unit},
    store::{
        StoreError,
        read::{
            active::{self, Asked},
            series::Apart,
            snapshot::Reader,
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
pub struct Period {
    /// The first day.
    pub period: NaiveDate,
    pub active_users: u64,
    /// Whether it is over.
    pub complete: bool,
}

impl Query {
    pub async fn answer(&self, reader: &Reader, project: &Project) -> Result<Vec<Period>, StoreError> {
        let today = project.local_date(Utc::now());
        let DayRange { from, to } = self.days;
        let users = self.daily_users(reader, project).await?;
        let periods = stats::active_users::active_users(self.unit, from, to, &users);
        let period = |(period, users): (NaiveDate, RoaringBitmap)| Period {
            period,
            active_users: users.len(),
            complete: self.unit.after(period, 1) <= today,
        };
        Ok(periods.map(period).collect())
    }

    /// The same by days, whatever the unit: days that are counted in the database need not be fetched.
    pub async fn by_day(
        &self,
        reader: &Reader,
        project: &Project,
    ) -> Result<Vec<(NaiveDate, u64)>, StoreError> {
        let DayRange { from, to } = self.days;
        let mut snapshot = reader.snapshot_about(project.id, &[&self.filter], Apart::Nothing).await?;
        let asked = Asked { project, filter: &self.filter, until: None };
        let counts: BTreeMap<_, _> = active::daily_active_users(&mut snapshot, &asked, from, to).await?;
        Ok(self.days.days().map(|day| (day, counts.get(&day).copied().unwrap_or(0))).collect())
    }

    /// Who was active in any of the periods.
    pub async fn users(&self, reader: &Reader, project: &Project) -> Result<RoaringBitmap, StoreError> {
        let users = self.daily_users(reader, project).await?;
        Ok(users.into_values().fold(RoaringBitmap::new(), |all, day| all | day))
    }

    /// The users of all days of the periods.
    async fn daily_users(&self, reader: &Reader, project: &Project) -> Result<DailyUsers, StoreError> {
        let (from, to) = (self.unit.period_of(self.days.from), self.unit.last_day(self.days.to));
        let mut snapshot = reader.snapshot_about(project.id, &[&self.filter], Apart::Nothing).await?;
        let asked = Asked { project, filter: &self.filter, until: None };
        active::daily_users(&mut snapshot, &asked, from, to).await
    }
}
