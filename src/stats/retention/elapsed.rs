//! Retention by elapsed time: periods of exact length from each user's own *t0*. A day is 24 hours, a week 7 such days, a
//! month 30; nothing is rounded to hours.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use roaring::RoaringBitmap;

use super::{Cell, Cohort, Question, Retention, RetentionColumn};
use crate::stats::period::Unit;

/// A user's beginning in a cohort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub cohort: NaiveDate,
    pub user_no: u32,
    pub t0: DateTime<Utc>,
}

/// The exact length of a period.
pub fn length(unit: Unit) -> TimeDelta {
    match unit {
        Unit::Day => TimeDelta::days(1),
        Unit::Week(_) => TimeDelta::days(7),
        Unit::Month => TimeDelta::days(30),
    }
}

/// Takes returns in any order, and keeps who came back in which period.
#[derive(Debug)]
pub struct Elapsed {
    length: TimeDelta,
    /// Returns of this period and later ones need not be distinguished.
    last_period: u32,
    starts: HashMap<u32, Vec<(NaiveDate, DateTime<Utc>)>>,
    cohorts: BTreeMap<NaiveDate, Returns>,
}

#[derive(Clone, Debug, Default)]
struct Returns {
    members: RoaringBitmap,
    /// The last *t0*: with it the cohort's cells become complete.
    last_t0: Option<DateTime<Utc>>,
    by_period: BTreeMap<u32, RoaringBitmap>,
}

impl Elapsed {
    pub fn new(question: &Question, starts: impl IntoIterator<Item = Start>) -> Self {
        let periods = question.unit.periods(question.from, question.to);
        let mut elapsed = Self {
            length: length(question.unit),
            last_period: question.last_period() + 1,
            starts: HashMap::new(),
            cohorts: periods.map(|period| (period, Returns::default())).collect(),
        };
        for Start { cohort, user_no, t0 } in starts {
            let returns = elapsed.cohorts.entry(cohort).or_default();
            returns.members.insert(user_no);
            returns.last_t0 = returns.last_t0.max(Some(t0));
            elapsed.starts.entry(user_no).or_default().push((cohort, t0));
        }
        elapsed
    }

    /// A user came back. Others than those who began count nothing, and so does what lies before the beginning.
    pub fn came_back(&mut self, user_no: u32, at: DateTime<Utc>) {
        for &(cohort, t0) in self.starts.get(&user_no).into_iter().flatten() {
            if at < t0 {
                continue;
            }
            let seconds = (at - t0).num_seconds(); // whole ones: nothing is rounded up
            let k =
                u32::try_from(seconds / self.length.num_seconds()).unwrap_or(u32::MAX).min(self.last_period);
            if let Some(returns) = self.cohorts.get_mut(&cohort) {
                returns.by_period.entry(k).or_default().insert(user_no);
            }
        }
    }

    /// The whole table, of what came before `as_of`.
    pub fn answer(&self, question: &Question, as_of: DateTime<Utc>) -> Retention {
        let row = |(&cohort, returns): (&NaiveDate, &Returns)| {
            let cell = |column: &RetentionColumn| {
                let age =
                    i32::try_from(column.complete_with() + 1).map_or(TimeDelta::MAX, |k| self.length * k);
                let complete = returns
                    .last_t0
                    .is_none_or(|t0| t0.checked_add_signed(age).is_some_and(|end| end <= as_of));
                Cell { users: returns.of(*column).len(), complete }
            };
            Cohort { cohort, size: returns.members.len(), cells: question.columns.iter().map(cell).collect() }
        };
        Retention::of(self.cohorts.iter().map(row).collect(), question.columns.len())
    }

    /// The users of a cohort, and those of them whom a column counts.
    pub fn users(&self, cohort: NaiveDate, column: RetentionColumn) -> (RoaringBitmap, RoaringBitmap) {
        let returns = self.cohorts.get(&cohort);
        returns.map(|returns| (returns.members.clone(), returns.of(column))).unwrap_or_default()
    }
}

impl Returns {
    fn of(&self, column: RetentionColumn) -> RoaringBitmap {
        let held = self.by_period.iter().filter(|(k, _)| column.holds(**k));
        held.fold(RoaringBitmap::new(), |all, (_, users)| all | users)
    }
}
