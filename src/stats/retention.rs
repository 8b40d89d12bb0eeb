//! Retention: of the users who came first in a period, how many were active in the periods after it?
//!
//! Definitions. *P(t)* is the calendar period in which the local date of *t* lies. A user's *t0* is the first of their
//! events over all history; the user belongs to the cohort *P(t0)*, and only if *t0* lies in the range asked for. *N(c,k)*
//! is the number of users of cohort *c* with an event in the period *k* periods after *c*; *size(c)* is the number of
//! users of *c*. A cell is *complete* when its period has ended. *Overall(k)* is the sum of *N(c,k)* over the sum of
//! *size(c)*, both over complete cells only: an unfinished period must not look like a drop.

use chrono::NaiveDate;
use roaring::RoaringBitmap;

use super::{DailyUsers, period::Unit};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub unit: Unit,
    /// The first and the last day on which a user's first event may lie.
    pub from: NaiveDate,
    pub to: NaiveDate,
    /// The last period that is asked for; the first is 0, that of the cohort itself.
    pub windows: u32,
    /// Today's date on the project's calendar: a period is complete when it ended before.
    pub today: NaiveDate,
}

/// Users of a cohort who were active in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub period: u32,
    pub users: u64,
    /// The period has ended.
    pub complete: bool,
}

/// Users who came first in the same period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cohort {
    /// The first day of the period.
    pub cohort: NaiveDate,
    pub size: u64,
    pub periods: Vec<Cell>,
}

/// A period over all cohorts for which it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overall {
    pub period: u32,
    pub users: u64,
    pub size: u64,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub cohorts: Vec<Cohort>,
    /// Periods 0 to `windows`; `size` is 0 where no cell is complete.
    pub overall: Vec<Overall>,
}

impl Question {
    /// The last day whose users are needed.
    pub fn last_day(&self) -> NaiveDate {
        let behind = self.unit.after(self.unit.period_of(self.to), self.windows + 1);
        behind.pred_opt().unwrap_or(behind)
    }

    /// The number of cells in the answer.
    pub fn cells(&self) -> usize {
        self.unit.periods(self.from, self.to).count() * (self.windows as usize + 1)
    }
}

/// Answers a question from the users of each day from `question.from` to [`Question::last_day`], and those of all days
/// before `question.from`.
pub fn first_time(question: &Question, mut before: RoaringBitmap, users: &DailyUsers) -> Retention {
    let Question { unit, from, to, windows, today } = *question;
    let mut cohorts = Vec::new();
    for period in unit.periods(from, to) {
        let next = unit.after(period, 1);
        let active = union(users, period.max(from), next.min(to.succ_opt().unwrap_or(to)));
        let new = &active - &before;
        before |= active;
        cohorts.push((period, new));
    }

    let mut overall: Vec<Overall> =
        (0..=windows).map(|period| Overall { period, users: 0, size: 0 }).collect();
    let mut active_in = PeriodUsers::new(unit, users);
    let cohorts = cohorts
        .into_iter()
        .map(|(cohort, new)| {
            let size = new.len();
            let cell = |total: &mut Overall| {
                let begin = unit.after(cohort, total.period);
                let complete = unit.after(begin, 1) <= today;
                let users = active_in.get(begin).intersection_len(&new);
                if complete {
                    total.users += users;
                    total.size += size;
                }
                Cell { period: total.period, users, complete }
            };
            Cohort { cohort, size, periods: overall.iter_mut().map(cell).collect() }
        })
        .collect();
    Retention { cohorts, overall }
}

/// The users of the days from `begin` up to but without `end`.
fn union(users: &DailyUsers, begin: NaiveDate, end: NaiveDate) -> RoaringBitmap {
    if begin >= end {
        return RoaringBitmap::new();
    }
    users.range(begin..end).fold(RoaringBitmap::new(), |all, (_, day)| all | day)
}

/// The users of periods, each put together once.
struct PeriodUsers<'a> {
    unit: Unit,
    users: &'a DailyUsers,
    known: DailyUsers,
}

impl<'a> PeriodUsers<'a> {
    fn new(unit: Unit, users: &'a DailyUsers) -> Self {
        Self { unit, users, known: DailyUsers::new() }
    }

    fn get(&mut self, period: NaiveDate) -> &RoaringBitmap {
        self.known.entry(period).or_insert_with(|| union(self.users, period, self.unit.after(period, 1)))
    }
}

#[cfg(test)]
mod tests {
    use chrono::Weekday;

    use super::*;

    fn date(text: &str) -> NaiveDate {
        format!("2026-{text}").parse().expect("a date")
    }

    fn days(days: &[(&str, &[u32])]) -> DailyUsers {
        days.iter().map(|(day, users)| (date(day), users.iter().collect())).collect()
    }

    fn question(unit: Unit, from: &str, to: &str, windows: u32, today: &str) -> Question {
        Question { unit, from: date(from), to: date(to), windows, today: date(today) }
    }

    /// Per cohort its size and the users of its cells; a negative number stands for an incomplete cell (-1 for 0).
    fn table(retention: &Retention) -> Vec<(u64, Vec<i64>)> {
        let sign = |cell: &Cell| {
            let users = i64::try_from(cell.users).expect("small");
            if cell.complete { users } else { -users - 1 }
        };
        retention.cohorts.iter().map(|row| (row.size, row.periods.iter().map(sign).collect())).collect()
    }

    #[test]
    fn who_comes_back_on_a_day_is_counted_on_that_day() {
        // A 02, 03, 05. B 02, 03. C 02. D 03, 04. E 03, 06. Today is the 6th, not over yet.
        let users = days(&[
            ("03-02", &[1, 2, 3]),
            ("03-03", &[1, 2, 4, 5]),
            ("03-04", &[4]),
            ("03-05", &[1]),
            ("03-06", &[5]),
        ]);
        let question = question(Unit::Day, "03-02", "03-03", 4, "03-06");
        let retention = first_time(&question, RoaringBitmap::new(), &users);
        assert_eq!(table(&retention), [(3, vec![3, 2, 0, 1, -1]), (2, vec![2, 1, 0, -2, -1])]);
        let overall: Vec<_> = retention.overall.iter().map(|total| (total.users, total.size)).collect();
        assert_eq!(overall, [(5, 5), (3, 5), (0, 5), (1, 3), (0, 0)]);
    }

    #[test]
    fn who_came_before_the_range_is_not_new_in_it() {
        let users = days(&[("03-02", &[1, 2]), ("03-03", &[1])]);
        let question = question(Unit::Day, "03-02", "03-03", 1, "04-01");
        let retention = first_time(&question, [1].into(), &users);
        assert_eq!(table(&retention), [(1, vec![1, 0]), (0, vec![0, 0])]);
    }

    #[test]
    fn a_range_that_begins_within_a_week_takes_only_who_came_first_from_then_on() {
        // Monday 03-02: user 1. Wednesday 03-04: users 1 and 2. Next week: both.
        let users = days(&[("03-04", &[1, 2]), ("03-09", &[1, 2])]);
        let question = question(Unit::Week(Weekday::Mon), "03-04", "03-04", 1, "04-01");
        let retention = first_time(&question, [1].into(), &users);
        assert_eq!(retention.cohorts[0].cohort, date("03-02"));
        assert_eq!(table(&retention), [(1, vec![1, 1])]);
        assert_eq!(question.last_day(), date("03-15"));
    }

    #[test]
    fn weeks_and_months_are_those_of_the_calendar() {
        // Saturday 03-07 and Sunday 03-08; 25 February and 3 March.
        let users = days(&[("02-25", &[1]), ("03-03", &[1]), ("03-07", &[2]), ("03-08", &[2])]);
        let cells = |unit, from| {
            let question = question(unit, from, from, 1, "06-01");
            let before = union(&users, date("01-01"), date(from));
            table(&first_time(&question, before, &users))
        };
        assert_eq!(cells(Unit::Week(Weekday::Sun), "03-07"), [(1, vec![1, 1])]);
        assert_eq!(cells(Unit::Week(Weekday::Mon), "03-07"), [(1, vec![1, 0])]);
        assert_eq!(cells(Unit::Month, "02-25"), [(1, vec![1, 1])]);
    }
}
