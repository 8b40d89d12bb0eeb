//! Retention: of the users who began in a period, how many came back in the periods after it?
//!
//! Definitions. *P(t)* is the calendar period in which the local date of *t* lies. A user begins with an event that the
//! start filter takes, and comes back with one that the return filter takes, not before the start.
//!
//! - **Cohorts.** *first time*: *t0(u)* is the first start over all history; *u* is in the cohort *P(t0)*, if *t0* lies in
//!   the range. *First ever*: *t0(u)* is the first event of that name, whatever its properties, and *u* is left out if that
//!   event does not pass the filter. *Recurring*: *u* is in the cohort of each period of the range with a start, and
//!   *t0(u,c)* is the first start in it.
//! - **Periods.** *Calendar*: *k(r)* is the number of periods from *P(t0)* to *P(r)*, by date arithmetic ([`calendar`]).
//!   *Elapsed*: the whole units of exact time from *t0* to *r* ([`elapsed`]).
//! - **Cells.** *N(c,k)* is the number of users of *c* with a return of which *k(r) = k*; *on or after*: *k(r) ≥ k*, up to
//!   `as_of`; *bracket*: *a ≤ k(r) ≤ b*. *size(c)* is the number of users of *c*, the same for each *k*.
//! - A cell is **complete** when its last period has ended by `as_of`; an elapsed one, when it has for every user of *c*.
//! - **Overall** is the sum of *N(c,k)* over the sum of *size(c)*, or the mean of the rates, both over complete cells only:
//!   an unfinished period must not look like a drop. Rows are summed also where a user is in several of them.

pub mod calendar;
pub mod cohorts;
pub mod elapsed;
#[cfg(test)]
mod examples;
pub mod first_ever;
pub mod same_day;

use chrono::NaiveDate;

use super::period::Unit;

/// What is asked of calendar and elapsed periods alike.
#[derive(Clone, Debug)]
pub struct Question {
    pub unit: Unit,
    /// The first and the last day on which a user's start may lie.
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub columns: Vec<RetentionColumn>,
}

/// The periods whose returns a column counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionColumn {
    pub first: u32,
    /// Without a last one: up to `as_of`.
    pub last: Option<u32>,
}

/// Users of a cohort who came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub users: u64,
    pub complete: bool,
}

/// Users who began in the same period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cohort {
    /// The first day of the period.
    pub cohort: NaiveDate,
    pub size: u64,
    /// One for each column.
    pub cells: Vec<Cell>,
}

/// A column over all cohorts for which it is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overall {
    pub users: u64,
    /// 0 where no cell is complete.
    pub size: u64,
    /// The mean of the cohorts' rates, each counting the same; nothing where no complete cell has users to come back.
    pub mean_rate: Option<f64>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Retention {
    pub cohorts: Vec<Cohort>,
    /// One for each column.
    pub overall: Vec<Overall>,
}

impl RetentionColumn {
    /// Periods 0 to `windows`, each by itself.
    pub fn on(windows: u32) -> Vec<Self> {
        (0..=windows).map(|k| Self { first: k, last: Some(k) }).collect()
    }

    /// Periods 0 to `windows`, each with all that follow.
    pub fn on_or_after(windows: u32) -> Vec<Self> {
        (0..=windows).map(|k| Self { first: k, last: None }).collect()
    }

    /// Consecutive spans of these numbers of periods, from period 0 on.
    pub fn brackets(lengths: &[u32]) -> Vec<Self> {
        let mut next = 0;
        let span = |length: &u32| {
            let first = next;
            next += length;
            Self { first, last: Some(next - 1) }
        };
        lengths.iter().map(span).collect()
    }

    pub fn holds(&self, k: u32) -> bool {
        self.first <= k && self.last.is_none_or(|last| k <= last)
    }

    /// The period with whose end the column is complete.
    pub fn complete_with(&self) -> u32 {
        self.last.unwrap_or(self.first)
    }
}

impl Question {
    /// The last period that a column names.
    pub fn last_period(&self) -> u32 {
        self.columns.iter().map(RetentionColumn::complete_with).max().unwrap_or(0)
    }

    /// The number of cells in the answer.
    pub fn cells(&self) -> usize {
        self.unit.periods(self.from, self.to).count() * self.columns.len()
    }
}

impl Retention {
    /// Sums the rows up.
    fn of(cohorts: Vec<Cohort>, columns: usize) -> Self {
        let overall = (0..columns).map(|column| overall(&cohorts, column)).collect();
        Self { cohorts, overall }
    }
}

fn overall(cohorts: &[Cohort], column: usize) -> Overall {
    let complete = cohorts.iter().filter(|cohort| cohort.cells[column].complete);
    let (mut total, mut rates, mut rows) = (Overall::default(), 0.0, 0_u32);
    for cohort in complete {
        let users = cohort.cells[column].users;
        total.users += users;
        total.size += cohort.size;
        if cohort.size > 0 {
            #[allow(clippy::cast_precision_loss, reason = "users are fewer than 2^32")]
            let rate = users as f64 / cohort.size as f64;
            rates += rate;
            rows += 1;
        }
    }
    total.mean_rate = (rows > 0).then(|| rates / f64::from(rows));
    total
}
