//! Retention by the calendar: sets of days are enough, with one exception. Whether somebody came back on the very day on
//! which they began depends on the order within the day, so that is found out beforehand ([`super::same_day`]).

use std::{borrow::Cow, cell::OnceCell, collections::BTreeMap};

use chrono::NaiveDate;
use roaring::{MultiOps, RoaringBitmap};

use super::{
    Cell, Cohort, Question, Retention, RetentionColumn,
    cohorts::{Cohorts, members},
};
use crate::stats::{DailyUsers, period::Unit, union};

/// What an answer is made of.
#[derive(Clone, Copy, Debug)]
pub struct Calendar<'a> {
    pub unit: Unit,
    /// The date at `as_of`: a period is complete when it ended before.
    pub today: NaiveDate,
    /// Who came back on each day, before `as_of`.
    pub returns: &'a DailyUsers,
    /// Who came back on the day of a start, after their first start of that day.
    pub same_day: &'a DailyUsers,
}

impl Calendar<'_> {
    /// The whole table.
    pub fn answer(&self, question: &Question, cohorts: &Cohorts) -> Retention {
        let periods = Periods::new(self.unit, self.returns);
        let row = |(&cohort, joined): (&NaiveDate, &DailyUsers)| {
            let members = members(joined);
            let cell = |column: &RetentionColumn| Cell {
                users: self.count(&periods, cohort, joined, &members, *column),
                complete: self.unit.after(cohort, column.complete_with() + 1) <= self.today,
            };
            Cohort { cohort, size: members.len(), cells: question.columns.iter().map(cell).collect() }
        };
        Retention::of(cohorts.iter().map(row).collect(), question.columns.len())
    }

    fn count(
        &self,
        periods: &Periods<'_>,
        cohort: NaiveDate,
        joined: &DailyUsers,
        members: &RoaringBitmap,
        column: RetentionColumn,
    ) -> u64 {
        match column.last {
            // The common case, without a set of its own: one period that is not the cohort's.
            Some(last) if last == column.first && last > 0 => {
                periods.of(self.unit.after(cohort, last)).map_or(0, |users| users.intersection_len(members))
            }
            _ => self.returned(periods, cohort, joined, members, column).len(),
        }
    }

    /// The users of a cohort whom a column counts.
    pub fn users(&self, cohort: NaiveDate, joined: &DailyUsers, column: RetentionColumn) -> RoaringBitmap {
        let periods = Periods::new(self.unit, self.returns);
        self.returned(&periods, cohort, joined, &members(joined), column)
    }

    fn returned(
        &self,
        periods: &Periods<'_>,
        cohort: NaiveDate,
        joined: &DailyUsers,
        members: &RoaringBitmap,
        column: RetentionColumn,
    ) -> RoaringBitmap {
        let first = column.first.max(1);
        let mut came = match column.last {
            None => periods
                .from(self.unit.after(cohort, first))
                .map_or_else(RoaringBitmap::new, |all| all & members),
            Some(last) => {
                let periods = (first..=last).filter_map(|k| periods.of(self.unit.after(cohort, k)));
                periods.map(|users| users & members).union()
            }
        };
        if column.holds(0) {
            let end = self.unit.after(cohort, 1);
            for (&day, new) in joined {
                if let Some(same_day) = self.same_day.get(&day) {
                    came |= new & same_day;
                }
                if let Some(next) = day.succ_opt() {
                    came |= union(self.returns, next, end) & new;
                }
            }
        }
        came
    }
}

/// The users of periods, each put together once.
struct Periods<'a> {
    users: Cow<'a, DailyUsers>,
    /// From the beginning of a period on; only if somebody asks.
    onwards: OnceCell<DailyUsers>,
}

impl<'a> Periods<'a> {
    fn new(unit: Unit, days: &'a DailyUsers) -> Self {
        let users = if unit == Unit::Day {
            Cow::Borrowed(days)
        } else {
            let mut parts: BTreeMap<NaiveDate, Vec<&RoaringBitmap>> = BTreeMap::new();
            for (&day, active) in days {
                parts.entry(unit.period_of(day)).or_default().push(active);
            }
            Cow::Owned(parts.into_iter().map(|(period, days)| (period, days.union())).collect())
        };
        Self { users, onwards: OnceCell::new() }
    }

    fn of(&self, period: NaiveDate) -> Option<&RoaringBitmap> {
        self.users.get(&period)
    }

    fn from(&self, period: NaiveDate) -> Option<&RoaringBitmap> {
        let onwards = self.onwards.get_or_init(|| {
            let mut all = RoaringBitmap::new();
            let onwards = self.users.iter().rev().map(|(&period, active)| {
                all |= active;
                (period, all.clone())
            });
            onwards.collect()
        });
        onwards.range(period..).next().map(|(_, users)| users)
    }
}
