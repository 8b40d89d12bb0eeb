//! How many events or users were there in each hour, day, week or month; in all, or by the values of a property?

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

use super::plan::Plan;
use crate::work;
use crate::{
    model::{project::Project, range::DayRange},
    stats::{
        filter::Filter,
        label::{Breakdown, Label},
        period::Unit,
        timeseries::{ByPeriod, Measure, top},
    },
    store::{
        StoreError,
        read::{
            activity::{self, Grain},
            occurrences,
            snapshot::Reader,
            source::{QueryPart, Source},
        },
    },
};

#[derive(Clone, Debug)]
pub struct Query {
    /// Weeks and months in which one of these days lies are whole.
    pub days: DayRange,
    pub interval: PeriodLength,
    pub measure: Measure,
    pub filter: Filter,
    pub breakdown: Option<Breakdown>,
    /// Most series with a value of their own.
    pub limit: usize,
}

/// The length of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeriodLength {
    /// Of the wall clock: one that it skips is not there, one that it repeats is one.
    Hour,
    Whole(Unit),
}

/// What happened to events with one value, or to all.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub label: Label,
    pub points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The first moment of the period, on the project's wall clock.
    pub period: NaiveDateTime,
    pub count: u64,
    /// Whether the period is over.
    pub complete: bool,
}

struct Period {
    start: NaiveDateTime,
    begins: DateTime<Utc>,
    ends: DateTime<Utc>,
}

impl Query {
    /// Without a breakdown one series; else those with the most first, and the rest last.
    pub async fn answer(&self, reader: &Reader, project: &Project) -> Result<Vec<Series>, StoreError> {
        let now = Utc::now();
        let periods = self.periods(project);
        let values = self.values(reader, project, &periods).await?;
        let measure = self.measure;
        let ranked = work::long(|| {
            if self.breakdown.is_some() {
                top(values, measure, self.limit)
            } else {
                vec![(Label::NONE, values.into_values().next().unwrap_or_default())]
            }
        });
        let series = ranked.into_iter().map(|(label, happened)| {
            let point = |period: &Period| Point {
                period: period.start,
                count: happened.get(&period.start).map_or(0, |happened| happened.measured(measure)),
                complete: period.ends <= now,
            };
            Series { label, points: periods.iter().map(point).collect() }
        });
        Ok(series.collect())
    }

    /// What happened, by value; without a breakdown all under none.
    async fn values(
        &self,
        reader: &Reader,
        project: &Project,
        periods: &[Period],
    ) -> Result<BTreeMap<Label, ByPeriod>, StoreError> {
        let Some((first, last)) = periods.first().zip(periods.last()) else { return Ok(BTreeMap::new()) };
        let (filter, breakdown) = (&self.filter, self.breakdown.as_ref());
        let Plan { mut snapshot, sources: [source] } =
            Plan::new(reader, project.id, [QueryPart { filter, breakdown }], false).await?;
        if let Source::Activity(rows) = source {
            let (grain, end) = match self.interval {
                PeriodLength::Hour => (Grain::Hour, last.start + TimeDelta::hours(1)),
                PeriodLength::Whole(unit) => (Grain::Day, midnight(unit.after(last.start.date(), 1))),
            };
            let time = first.start..end;
            let found =
                activity::happened(&mut snapshot, project.id, &rows, grain, time, breakdown, self.measure)
                    .await?;
            return Ok(found.into_iter().map(|(value, days)| (value, self.in_periods(days))).collect());
        }
        let starts: Vec<DateTime<Utc>> = periods.iter().map(|period| period.begins).collect();
        let dated = |found: BTreeMap<usize, _>| -> ByPeriod {
            found.into_iter().map(|(index, happened)| (periods[index].start, happened)).collect()
        };
        match breakdown {
            None => {
                let found =
                    occurrences::by_period(&mut snapshot, project.id, filter, &starts, last.ends).await?;
                Ok([(Label::NONE, dated(found))].into())
            }
            Some(breakdown) => {
                let property = breakdown.property();
                let found =
                    occurrences::by_value(&mut snapshot, project.id, filter, property, &starts, last.ends)
                        .await?;
                Ok(found.into_iter().map(|(value, periods)| (value, dated(periods))).collect())
            }
        }
    }

    /// The periods in which the days lie.
    fn periods(&self, project: &Project) -> Vec<Period> {
        let period = |start: NaiveDateTime, end: NaiveDateTime| Period {
            start,
            begins: project.first_instant(start),
            ends: project.first_instant(end),
        };
        let DayRange { from, to } = self.days;
        match self.interval {
            PeriodLength::Whole(unit) => {
                let whole = |start| period(midnight(start), midnight(unit.after(start, 1)));
                unit.periods(from, to).map(whole).collect()
            }
            PeriodLength::Hour => {
                let hour = TimeDelta::hours(1);
                let hours = std::iter::successors(Some(midnight(from)), |start| Some(*start + hour));
                let hours =
                    hours.take_while(|start| start.date() <= to).map(|start| period(start, start + hour));
                hours.filter(|hour| hour.begins < hour.ends).collect() // without those that the clock skips
            }
        }
    }

    /// Puts days together to periods; hours are as they are.
    fn in_periods(&self, days: ByPeriod) -> ByPeriod {
        let PeriodLength::Whole(unit) = self.interval else { return days };
        let mut periods = ByPeriod::new();
        for (day, happened) in days {
            periods.entry(midnight(unit.period_of(day.date()))).or_default().merge(&happened);
        }
        periods
    }
}

fn midnight(day: NaiveDate) -> NaiveDateTime {
    day.and_time(NaiveTime::MIN)
}
