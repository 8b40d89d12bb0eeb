//! Cohorts: the users who began in each period, by the day of their *t0*.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use roaring::{MultiOps, RoaringBitmap};

use crate::stats::{DailyUsers, period::Unit};

/// By the first day of the period; in it the users by the day of their *t0*. Each user of a cohort stands on one day. All
/// periods of the range are there.
pub type Cohorts = BTreeMap<NaiveDate, DailyUsers>;

/// Users in the cohort of their first start over all history: who started on the days of the range, without those who had
/// done so `before` it. For *first ever*, `starts` holds first events that pass, and nobody came before.
pub fn first_time(
    unit: Unit,
    from: NaiveDate,
    to: NaiveDate,
    mut before: RoaringBitmap,
    starts: &DailyUsers,
) -> Cohorts {
    collect(unit, from, to, starts, |_, started| {
        let new = started - &before;
        before |= started;
        new
    })
}

/// Users in the cohort of every period of the range in which they started.
pub fn recurring(unit: Unit, from: NaiveDate, to: NaiveDate, starts: &DailyUsers) -> Cohorts {
    let (mut current, mut before) = (None, RoaringBitmap::new());
    collect(unit, from, to, starts, |period, started| {
        if current.replace(period) != Some(period) {
            before.clear();
        }
        let new = started - &before;
        before |= started;
        new
    })
}

fn collect(
    unit: Unit,
    from: NaiveDate,
    to: NaiveDate,
    starts: &DailyUsers,
    mut join: impl FnMut(NaiveDate, &RoaringBitmap) -> RoaringBitmap,
) -> Cohorts {
    let mut cohorts: Cohorts = unit.periods(from, to).map(|period| (period, DailyUsers::new())).collect();
    for (&day, started) in starts.range(from..=to) {
        let period = unit.period_of(day);
        let joining = join(period, started);
        if !joining.is_empty() {
            cohorts.entry(period).or_default().insert(day, joining);
        }
    }
    cohorts
}

/// All users of a cohort.
pub fn members(cohort: &DailyUsers) -> RoaringBitmap {
    cohort.values().union()
}
