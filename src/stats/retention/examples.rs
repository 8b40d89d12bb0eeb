//! Worked examples, each with numbers that were worked out by hand.

use chrono::{DateTime, NaiveDate, Utc, Weekday};
use roaring::RoaringBitmap;

use super::{
    Question, Retention, RetentionColumn,
    calendar::Calendar,
    cohorts::{self, Cohorts},
    elapsed::{Elapsed, Start},
    same_day::{self, HourlyUsers},
};
use crate::{
    model::zone::{Zone, rules},
    stats::{DailyUsers, period::Unit},
};

const MONDAY: Unit = Unit::Week(Weekday::Mon);
const SUNDAY: Unit = Unit::Week(Weekday::Sun);

/// Who did what when.
struct Story {
    zone: Zone,
    as_of: DateTime<Utc>,
    starts: Vec<(u32, DateTime<Utc>)>,
    returns: Vec<(u32, DateTime<Utc>)>,
}

/// `MM-DD HH:MM` of 2026 in UTC.
fn at(text: &str) -> DateTime<Utc> {
    format!("2026-{}:00Z", text.replace(' ', "T")).parse().expect("a moment")
}

fn date(text: &str) -> NaiveDate {
    format!("2026-{text}").parse().expect("a date")
}

impl Story {
    fn new(zone: &str, as_of: &str, starts: &[(u32, &str)], returns: &[(u32, &str)]) -> Self {
        let as_of = at(as_of);
        let moments = |events: &[(u32, &str)]| {
            events.iter().map(|&(user, time)| (user, at(time))).filter(|(_, time)| *time < as_of).collect()
        };
        Self {
            zone: rules::zone(zone).expect("a zone"),
            as_of,
            starts: moments(starts),
            returns: moments(returns),
        }
    }

    /// One kind of event starts and returns.
    fn of_one_kind(as_of: &str, events: &[(u32, &str)]) -> Self {
        Self::new("UTC", as_of, events, events)
    }

    fn day(&self, time: DateTime<Utc>) -> NaiveDate {
        self.zone.local(time).date()
    }

    fn by_hour(&self, events: &[(u32, DateTime<Utc>)]) -> HourlyUsers {
        let mut hours = HourlyUsers::new();
        for &(user, time) in events {
            hours.entry(self.zone.hour(time)).or_default().insert(user);
        }
        hours
    }

    fn by_day(&self, events: &[(u32, DateTime<Utc>)]) -> DailyUsers {
        let mut days = DailyUsers::new();
        for &(user, time) in events {
            days.entry(self.day(time)).or_default().insert(user);
        }
        days
    }

    fn same_day(&self) -> DailyUsers {
        let found = same_day::by_hours(&self.by_hour(&self.starts), &self.by_hour(&self.returns));
        let mut same_day = found.returned;
        for (hour, users) in found.open {
            let of = |events: &[(u32, DateTime<Utc>)], user| -> Vec<DateTime<Utc>> {
                let there =
                    |&&(one, time): &&(u32, DateTime<Utc>)| one == user && self.day(time) == hour.date();
                events.iter().filter(there).map(|(_, time)| *time).collect()
            };
            for user in users {
                if of(&self.starts, user).iter().min() <= of(&self.returns, user).iter().max() {
                    same_day.entry(hour.date()).or_default().insert(user);
                }
            }
        }
        same_day
    }

    fn cohorts(&self, question: &Question) -> Cohorts {
        let starts = self.by_day(&self.starts);
        let before = starts.range(..question.from).fold(RoaringBitmap::new(), |all, (_, users)| all | users);
        cohorts::first_time(question.unit, question.from, question.to, before, &starts)
    }

    fn calendar(&self, question: &Question, cohorts: &Cohorts) -> Retention {
        let calendar = Calendar {
            unit: question.unit,
            today: self.day(self.as_of),
            returns: &self.by_day(&self.returns),
            same_day: &self.same_day(),
        };
        calendar.answer(question, cohorts)
    }

    fn first_time(&self, question: &Question) -> Retention {
        self.calendar(question, &self.cohorts(question))
    }

    fn recurring(&self, question: &Question) -> Retention {
        let starts = self.by_day(&self.starts);
        self.calendar(question, &cohorts::recurring(question.unit, question.from, question.to, &starts))
    }

    fn elapsed(&self, question: &Question) -> Retention {
        let cohorts = self.cohorts(question);
        let first = |user| self.starts.iter().filter(|(one, _)| *one == user).map(|(_, time)| *time).min();
        let starts = cohorts.iter().flat_map(|(&cohort, joined)| {
            let members = cohorts::members(joined).into_iter();
            members.map(move |user_no| Start { cohort, user_no, t0: first(user_no).expect("a start") })
        });
        let mut elapsed = Elapsed::new(question, starts);
        for &(user, time) in &self.returns {
            elapsed.came_back(user, time);
        }
        elapsed.answer(question, self.as_of)
    }
}

fn question(unit: Unit, from: &str, to: &str, columns: Vec<RetentionColumn>) -> Question {
    Question { unit, from: date(from), to: date(to), columns }
}

/// Of each cohort its date, size and cells; a star marks an incomplete cell.
fn table(retention: &Retention) -> Vec<String> {
    let row = |cohort: &super::Cohort| {
        let cells = cohort.cells.iter();
        let cells = cells.map(|cell| format!("{}{}", cell.users, if cell.complete { "" } else { "*" }));
        format!("{} {}: {}", cohort.cohort.format("%m-%d"), cohort.size, cells.collect::<Vec<_>>().join(" "))
    };
    retention.cohorts.iter().map(row).collect()
}

/// Users of size of each column over all cohorts.
fn overall(retention: &Retention) -> Vec<String> {
    retention.overall.iter().map(|total| format!("{}/{}", total.users, total.size)).collect()
}

const A: u32 = 1;
const B: u32 = 2;
const C: u32 = 3;
const D: u32 = 4;
const E: u32 = 5;

/// Signup, then open; as of 03-06 12:00.
fn signup_to_open(zone: &str) -> Story {
    Story::new(
        zone,
        "03-06 12:00",
        &[(A, "03-02 10:00"), (B, "03-02 23:50"), (C, "03-02 08:00"), (D, "03-03 13:00"), (E, "03-03 20:00")],
        &[(A, "03-03 09:00"), (A, "03-05 11:00"), (B, "03-03 00:10"), (D, "03-04 14:00"), (E, "03-06 08:00")],
    )
}

#[test]
fn n_day_calendar_utc() {
    let retention =
        signup_to_open("UTC").first_time(&question(Unit::Day, "03-02", "03-03", RetentionColumn::on(4)));
    assert_eq!(table(&retention), ["03-02 3: 0 2 0 1 0*", "03-03 2: 0 1 0 1* 0*"]);
    // Day 3 is one of three: with the open cell it would be two of five.
    assert_eq!(overall(&retention), ["0/5", "3/5", "0/5", "1/3", "0/0"]);
}

#[test]
fn unbounded_calendar_utc() {
    let retention = signup_to_open("UTC").first_time(&question(
        Unit::Day,
        "03-02",
        "03-03",
        RetentionColumn::on_or_after(4),
    ));
    assert_eq!(table(&retention), ["03-02 3: 2 2 1 1 0*", "03-03 2: 2 2 1 1* 0*"]);
    assert_eq!(overall(&retention)[1..4], ["4/5", "2/5", "1/3"]);
}

#[test]
fn elapsed_days() {
    let retention =
        signup_to_open("UTC").elapsed(&question(Unit::Day, "03-02", "03-03", RetentionColumn::on(3)));
    // Of 03-02, A came after 23 and 73 hours and B after 20 minutes. B is three days old only at 03-06 23:50.
    assert_eq!(table(&retention), ["03-02 3: 2 0 0 1*", "03-03 2: 0 1 1* 0*"]);
    assert_eq!(overall(&retention)[1], "1/5");
}

#[test]
fn brackets_calendar() {
    let columns = RetentionColumn::brackets(&[1, 2, 4]);
    assert_eq!(columns[2], RetentionColumn { first: 3, last: Some(6) });
    let retention = signup_to_open("UTC").first_time(&question(Unit::Day, "03-02", "03-03", columns));
    assert_eq!(table(&retention), ["03-02 3: 0 2 1*", "03-03 2: 0 1 1*"]);
    assert_eq!(overall(&retention)[1], "3/5");
}

#[test]
fn time_zone_america_new_york() {
    let story = signup_to_open("America/New_York");
    let retention = story.first_time(&question(Unit::Day, "03-02", "03-02", RetentionColumn::on(1)));
    // B signs up at 18:50 and opens at 19:10 of the same local day.
    assert_eq!(table(&retention), ["03-02 3: 1 1"]);
}

#[test]
fn daylight_saving_by_calendar_and_by_elapsed_time() {
    // Signup 03-07 12:00 EST, open 03-08 12:30 EDT: 23.5 hours.
    let story = Story::new("America/New_York", "04-01 00:00", &[(A, "03-07 17:00")], &[(A, "03-08 16:30")]);
    let question = question(Unit::Day, "03-07", "03-07", RetentionColumn::on(1));
    assert_eq!(table(&story.first_time(&question)), ["03-07 1: 0 1"]);
    assert_eq!(table(&story.elapsed(&question)), ["03-07 1: 1 0"]);
}

#[test]
fn a_day_of_23_hours_is_one_day() {
    // From local midnight to local midnight: 03-08 05:00 UTC to 03-09 04:00 UTC.
    let story = Story::new("America/New_York", "04-01 00:00", &[(A, "03-08 05:00")], &[(A, "03-09 04:00")]);
    let retention = story.first_time(&question(Unit::Day, "03-08", "03-08", RetentionColumn::on(1)));
    assert_eq!(table(&retention), ["03-08 1: 0 1"]);
}

#[test]
fn weeks_by_their_first_day_and_by_elapsed_time() {
    let story = Story::new("UTC", "04-01 00:00", &[(A, "03-07 12:00")], &[(A, "03-08 12:00")]);
    let weeks = |unit| question(unit, "03-07", "03-07", RetentionColumn::on(1));
    assert_eq!(table(&story.first_time(&weeks(SUNDAY))), ["03-01 1: 0 1"]);
    assert_eq!(table(&story.first_time(&weeks(MONDAY))), ["03-02 1: 1 0"]);
    assert_eq!(table(&story.elapsed(&weeks(SUNDAY))), ["03-01 1: 1 0"]);
}

#[test]
fn months_by_calendar_and_by_elapsed_time() {
    let months = |from| question(Unit::Month, from, from, RetentionColumn::on(1));
    let story = Story::new("UTC", "06-01 00:00", &[(A, "02-25 12:00")], &[(A, "03-03 12:00")]);
    assert_eq!(table(&story.first_time(&months("02-25"))), ["02-01 1: 0 1"]);
    assert_eq!(table(&story.elapsed(&months("02-25"))), ["02-01 1: 1 0"]);
    let story = Story::new("UTC", "06-01 00:00", &[(A, "01-31 12:00")], &[(A, "02-28 12:00")]);
    assert_eq!(table(&story.first_time(&months("01-31"))), ["01-01 1: 0 1"]);
    assert_eq!(table(&story.elapsed(&months("01-31"))), ["01-01 1: 1 0"]);
}

const G: [(u32, &str); 3] = [(7, "03-02 12:00"), (7, "03-03 12:00"), (7, "03-05 12:00")];

#[test]
fn recurring_and_first_time_cohorts() {
    let story = Story::of_one_kind("04-01 00:00", &G);
    let question = question(Unit::Day, "03-02", "03-05", RetentionColumn::on(3));
    assert_eq!(
        table(&story.first_time(&question)),
        ["03-02 1: 1 1 0 1", "03-03 0: 0 0 0 0", "03-04 0: 0 0 0 0", "03-05 0: 0 0 0 0"]
    );
    assert_eq!(
        table(&story.recurring(&question)),
        ["03-02 1: 1 1 0 1", "03-03 1: 1 0 1 0", "03-04 0: 0 0 0 0", "03-05 1: 1 0 0 0"]
    );
}

#[test]
fn who_started_long_before_the_range_is_in_no_first_time_cohort() {
    let mut events = vec![(7, "01-10 12:00")];
    events.extend(G);
    let story = Story::of_one_kind("04-01 00:00", &events);
    let retention = story.first_time(&question(Unit::Day, "03-02", "03-05", RetentionColumn::on(0)));
    assert!(retention.cohorts.iter().all(|cohort| cohort.size == 0), "{retention:?}");
}

#[test]
fn a_level_filter_tells_first_time_from_first_ever() {
    // Plays level 1 on 03-02 and level 5 for the first time on 03-05; the filter takes level 5.
    let story = Story::of_one_kind("04-01 00:00", &[(7, "03-05 12:00")]);
    let question = question(Unit::Day, "03-02", "03-05", RetentionColumn::on(0));
    let sizes = |retention: Retention| retention.cohorts.iter().map(|row| row.size).collect::<Vec<_>>();
    assert_eq!(sizes(story.first_time(&question)), [0, 0, 0, 1]);
    // The first play ever does not pass the filter, so nobody is left.
    let first_ever =
        cohorts::first_time(Unit::Day, question.from, question.to, RoaringBitmap::new(), &DailyUsers::new());
    assert_eq!(sizes(story.calendar(&question, &first_ever)), [0, 0, 0, 0]);
}

#[test]
fn pooled_and_simple_averages() {
    // 500 of 1000, 400 of 500, and a cohort of 700 whose day is not over.
    let cell = |users, complete| vec![super::Cell { users, complete }];
    let cohort = |day, size, cells| super::Cohort { cohort: date(day), size, cells };
    let rows = vec![
        cohort("03-02", 1000, cell(500, true)),
        cohort("03-03", 500, cell(400, true)),
        cohort("03-04", 700, cell(650, false)),
    ];
    let total = Retention::of(rows, 1).overall[0];
    assert_eq!((total.users, total.size), (900, 1500)); // 60 %
    let mean = total.mean_rate.expect("a mean");
    assert!((mean - 0.65).abs() < 1e-12, "{mean}");
}

#[test]
fn a_range_that_begins_within_a_week_takes_only_who_came_first_from_then_on() {
    let story = Story::of_one_kind(
        "04-01 00:00",
        &[(1, "03-02 12:00"), (1, "03-04 12:00"), (2, "03-04 12:00"), (1, "03-09 12:00"), (2, "03-09 12:00")],
    );
    let retention = story.first_time(&question(MONDAY, "03-04", "03-04", RetentionColumn::on(1)));
    assert_eq!(table(&retention), ["03-02 1: 1 1"]);
}

#[test]
fn a_return_before_the_start_is_none_on_the_same_day_too() {
    // 1 opens before signing up and 2 after, on the day and within the hour; 3 does both, 4 comes back later in the week.
    let story = Story::new(
        "UTC",
        "04-01 00:00",
        &[(1, "03-03 10:30"), (2, "03-03 10:30"), (3, "03-03 10:30"), (4, "03-03 10:30")],
        &[(1, "03-03 10:29"), (2, "03-03 10:31"), (3, "03-03 10:00"), (3, "03-03 23:00"), (4, "03-05 00:00")],
    );
    let days = story.first_time(&question(Unit::Day, "03-03", "03-03", RetentionColumn::on(0)));
    assert_eq!(table(&days), ["03-03 4: 2"]);
    let weeks = story.first_time(&question(MONDAY, "03-03", "03-03", RetentionColumn::on(0)));
    assert_eq!(table(&weeks), ["03-02 4: 3"]);
}
