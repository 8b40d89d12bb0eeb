//! The wall clock and the calendar of a project: which hour and date an instant is, and when days begin. Weeks
//! and months are in [`crate::stats::period`].

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};

use super::{
    project::Project,
    range::{DayRange, TimeRange},
};

impl Project {
    /// The hour of the project's wall clock in which `instant` lies.
    pub fn local_hour(&self, instant: DateTime<Utc>) -> NaiveDateTime {
        self.timezone.hour(instant)
    }

    /// The first instant of a day on the project's calendar. Where clocks skip midnight the day begins later, and a day
    /// that they skip begins, and ends, with the next.
    pub fn start_of(&self, date: NaiveDate) -> DateTime<Utc> {
        self.first_instant(date.and_time(NaiveTime::MIN))
    }

    /// From the beginning of the first day to the end of the last.
    pub fn time_of(&self, days: DayRange) -> TimeRange {
        TimeRange::new(self.start_of(days.from), self.start_of(days.to.succ_opt().unwrap_or(days.to)))
    }

    /// The first instant at which the project's wall clock shows this time, or a later one if it skips this.
    pub fn first_instant(&self, local: NaiveDateTime) -> DateTime<Utc> {
        const STEP: TimeDelta = TimeDelta::minutes(15); // offsets differ by multiples of it
        (0..=4 * 26).find_map(|step| self.timezone.earliest(local + STEP * step)).unwrap_or(local.and_utc())
    }

    /// When the wall clock shows which hour of a day: instants in order, each with the hour that it shows from then on, or with
    /// nothing if that is none of the day's. Before the first and from the last on it shows none of them. An hour may come in
    /// several pieces, where clocks are set back over midnight.
    pub fn hours_of(&self, date: NaiveDate) -> Vec<(DateTime<Utc>, Option<NaiveDateTime>)> {
        // A day that clocks have had twice is 48 hours long.
        const SPARE: TimeDelta = TimeDelta::hours(2);
        const LONGEST: TimeDelta = TimeDelta::hours(50);
        let start = self.start_of(date);
        let mut hours: Vec<(DateTime<Utc>, Option<NaiveDateTime>)> = Vec::new();
        let mut at = start - SPARE;
        while at < start + LONGEST {
            let hour = Some(self.local_hour(at)).filter(|hour| hour.date() == date);
            if hours.last().map_or(hour.is_some(), |(_, last)| *last != hour) {
                hours.push((at, hour));
            }
            at = self.next_hour(at);
        }
        hours
    }

    /// The next instant at which the wall clock begins an hour or is set. `at` is a whole second.
    fn next_hour(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        let offset = |at| self.timezone.offset(at);
        let left = 3_600 - i64::from(self.timezone.local(at).num_seconds_from_midnight() % 3_600);
        let (mut same, mut other) = (0, left);
        if offset(at + TimeDelta::seconds(left - 1)) == offset(at) {
            return at + TimeDelta::seconds(left);
        }
        while other - same > 1 {
            let middle = i64::midpoint(same, other);
            if offset(at + TimeDelta::seconds(middle)) == offset(at) { same = middle } else { other = middle }
        }
        at + TimeDelta::seconds(other)
    }

    /// The date on the project's calendar at `instant`.
    pub fn local_date(&self, instant: DateTime<Utc>) -> NaiveDate {
        self.timezone.local(instant).date()
    }
}

#[cfg(test)]
mod tests {
    use chrono::Weekday;

    use super::*;
    use crate::model::{
        project::{Overrides, ProjectId},
        zone::rules,
    };

    fn project(timezone: &str) -> Project {
        Project {
            id: ProjectId::from_stored(1),
            name: "p".into(),
            timezone: rules::zone(timezone).expect("a zone"),
            week_start: Weekday::Mon,
            overrides: Overrides::default(),
        }
    }

    fn hour(timezone: &str, instant: &str) -> String {
        project(timezone).local_hour(instant.parse().expect("an instant")).to_string()
    }

    #[test]
    fn hours_are_those_of_the_wall_clock() {
        assert_eq!(hour("Asia/Kolkata", "2024-03-09T18:29:59Z"), "2024-03-09 23:00:00");
        assert_eq!(hour("Asia/Kolkata", "2024-03-09T18:30:00Z"), "2024-03-10 00:00:00");
        // Clocks in New York went from 2 to 3 on 2024-03-10, and twice through 1 on 2024-11-03.
        assert_eq!(hour("America/New_York", "2024-03-10T06:59:59Z"), "2024-03-10 01:00:00");
        assert_eq!(hour("America/New_York", "2024-03-10T07:00:00Z"), "2024-03-10 03:00:00");
        assert_eq!(hour("America/New_York", "2024-11-03T05:30:00Z"), "2024-11-03 01:00:00");
        assert_eq!(hour("America/New_York", "2024-11-03T06:30:00Z"), "2024-11-03 01:00:00");
    }

    #[test]
    fn a_day_begins_when_its_date_does() {
        for (timezone, date, start) in [
            ("Asia/Kolkata", "2024-03-10", "2024-03-09T18:30:00Z"),
            ("America/New_York", "2024-03-10", "2024-03-10T05:00:00Z"),
            ("America/New_York", "2024-03-11", "2024-03-11T04:00:00Z"),
            ("Africa/Cairo", "2024-04-26", "2024-04-25T22:00:00Z"), // from 0 to 1
            ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"), // there was no such day
            ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"),
        ] {
            let start: DateTime<Utc> = start.parse().unwrap();
            assert_eq!(project(timezone).start_of(date.parse().unwrap()), start, "{timezone} {date}");
        }
    }

    #[test]
    fn each_instant_of_a_day_lies_in_the_hour_that_the_clock_shows() {
        for (timezone, date) in [
            ("UTC", "2024-03-10"),
            ("Asia/Kathmandu", "2024-03-10"),
            ("America/New_York", "2024-03-10"),
            ("America/New_York", "2024-11-03"),
            ("Australia/Lord_Howe", "2024-04-07"), // half an hour back
            ("Africa/Cairo", "2024-04-26"),        // from 0 to 1
            ("America/Sao_Paulo", "2018-02-17"),   // from 0 back to 23
            ("America/St_Johns", "2010-11-06"),    // a minute past midnight back to 23
            ("America/St_Johns", "2010-11-07"),
            ("Pacific/Apia", "2011-12-31"),
        ] {
            let project = project(timezone);
            let date = date.parse().unwrap();
            let hours = project.hours_of(date);
            assert!(
                hours.is_sorted_by_key(|(at, _)| at) && hours.last().unwrap().1.is_none(),
                "{timezone} {date}"
            );
            let mut seen = 0;
            for minute in -120..60 * 49 {
                let at = project.start_of(date) + TimeDelta::minutes(minute) + TimeDelta::seconds(59);
                let index = hours.partition_point(|(begin, _)| *begin <= at);
                let told = index.checked_sub(1).and_then(|index| hours[index].1);
                let shown = Some(project.local_hour(at)).filter(|hour| hour.date() == date);
                assert_eq!(told, shown, "{timezone} {at}");
                seen += u32::from(shown.is_some());
            }
            assert!(seen >= 23 * 60, "{timezone} {date}");
        }
        assert_eq!(project("Pacific/Apia").hours_of("2011-12-30".parse().unwrap()), [], "no such day");
    }
}
