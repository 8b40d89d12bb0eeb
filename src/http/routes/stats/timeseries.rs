//! Events or users of each period, by the values of a property.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use poem_openapi::{Object, OpenApi, param::Query};

use super::{
    breakdown::Breakdown,
    choices::{Choice, FineInterval, Interval},
    example_from, example_to,
    narrow::Cost,
    timezone,
};
use crate::http::respond::table::{Format, Table, Told, field};
use crate::{
    http::{
        extract::{
            auth::{Caller, Read},
            parameters::{Checks, Param, Required, Segments, UpTo, range},
        },
        openapi::Tag,
        respond::problem::{Asking, Problem, Refusal},
    },
    model::project::Project,
    stats::{
        filter::Filter,
        label::Label,
        timeseries::{ByPeriod, Measure, top},
    },
    store::{
        StoreError,
        read::{
            activity::{self, Grain},
            occurrences,
            series::{self, Apart},
            snapshot::Reader,
        },
    },
};

/// Points of an answer: a month of hours in ten series and the rest.
const MAX_POINTS: usize = 20_000;

pub struct TimeseriesApi {
    pub reader: Reader,
}

#[derive(Object)]
struct Timeseries {
    timezone: String,
    interval: String,
    measure: String,
    /// Without breakdown one; else those with the most over the whole range first, then by value, `$other` last.
    #[oai(validator(max_items = 101))]
    series: Vec<Series>,
}

#[derive(Object)]
struct Series {
    /// The value that these events have in common; null: they have none. `$other`: all values without a series of their
    /// own.
    value: Option<String>,
    /// True of all values without a series of their own together: those behind `limit`, and lists, objects and texts of more than
    /// 200 bytes. An event may have the value `$other`, too.
    other: bool,
    #[oai(validator(max_items = 20000))]
    data: Vec<Point>,
}

#[derive(Object)]
struct Point {
    /// The first day of the period, or the hour of the project's wall clock.
    period: String,
    count: u64,
    /// False: the period is not over, and the number may still grow.
    complete: bool,
}

/// A period that is asked for.
struct Period {
    start: NaiveDateTime,
    begins: DateTime<Utc>,
    ends: DateTime<Utc>,
}

/// What is asked.
struct Question<'a> {
    project: &'a Project,
    filter: &'a Filter,
    breakdown: Option<&'a Breakdown>,
    interval: FineInterval,
    periods: &'a [Period],
    measure: Measure,
}

#[OpenApi(prefix_path = "/stats", tag = "Tag::Statistics")]
impl TimeseriesApi {
    /// Time series
    ///
    /// Events, or different users, of each hour, day, week or month; as one series, or one for each value of a property.
    /// Periods are whole: the week or month in which `from` or `to` lies is told in full. Hours are those of the wall clock:
    /// one that is skipped is not there, one that is repeated is one.
    #[oai(path = "/timeseries", method = "get", operation_id = "timeseries")]
    #[allow(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn timeseries(
        &self,
        caller: Caller<Read>,
        format: Format,
        /// The first day.
        #[oai(example = "example_from::<true>")]
        from: Query<Required<NaiveDate>>,
        /// The last day.
        #[oai(example = "example_to::<true>")]
        to: Query<Required<NaiveDate>>,
        /// The length of a period; default day. Weeks begin on the project's first day of the week.
        interval: Query<Param<FineInterval>>,
        /// What is counted; default events.
        measure: Query<Param<Measure>>,
        /// One series for each value: `event_type`, or a property such as `properties.platform`.
        breakdown: Query<Param<Breakdown>>,
        /// Most series with a value of their own; default 10.
        limit: Query<Param<UpTo<100>>>,
        /// Only events for which this holds, such as `event_type:purchase` or `properties.country:UA,PL`.
        segment: Query<Segments>,
    ) -> Result<Told<Timeseries>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let range = range(&mut checks, from.0, to.0);
        let interval = checks.optional("interval", interval.0).unwrap_or(FineInterval::Whole(Interval::Day));
        let measure = checks.optional("measure", measure.0).unwrap_or(Measure::Events);
        let breakdown = checks.optional("breakdown", breakdown.0);
        let limit = checks.optional("limit", limit.0).map_or(10, |limit| limit.0 as usize);
        let filter = checks.segments("segment", segment.0);
        let hours = if interval == FineInterval::Hour { 24 } else { 1 };
        if let Some((from, to)) = range {
            let days = usize::try_from((to - from).num_days() + 1).unwrap_or(0);
            let points = days * hours * breakdown.as_ref().map_or(1, |_| limit + 1);
            if points > MAX_POINTS {
                let message =
                    format!("expected at most {MAX_POINTS} points, got up to {points}: ask for fewer days");
                checks.refuse("to", "too_large", message);
            }
        }
        let (from, to) = checks.finish(range)?;
        let now = Utc::now();
        let periods = periods(&caller.project, interval, from, to);
        let question = Question {
            project: &caller.project,
            filter: &filter,
            breakdown: breakdown.as_ref(),
            interval,
            periods: &periods,
            measure,
        };
        let values = self.values(&question).await.map_err(|error| {
            let property = breakdown.as_ref().and_then(Breakdown::property);
            let cost = Cost::of_days(from, to).with_filter("segment", &filter).with_breakdown(property);
            cost.problem(error, &self.reader)
        })?;
        // Many large sets: not on a thread that serves requests.
        let broken_down = breakdown.is_some();
        let ranked = tokio::task::spawn_blocking(move || {
            if broken_down {
                top(values, measure, limit)
            } else {
                vec![(Label::NONE, values.into_values().next().unwrap_or_default())]
            }
        });
        let ranked = ranked.await.map_err(Problem::internal)?;
        let series = ranked.into_iter().map(|(label, happened)| {
            let (value, other) = label.told();
            Series { value, other, data: points(&periods, &happened, measure, interval, now) }
        });
        let answer = Timeseries {
            timezone: timezone(&caller.project),
            interval: interval.word().into(),
            measure: measure.word().into(),
            series: series.collect(),
        };
        Ok(Told { answer, format })
    }

    /// What happened, by value; without breakdown all under none.
    async fn values(&self, question: &Question<'_>) -> Result<BTreeMap<Label, ByPeriod>, StoreError> {
        let Question { project, filter, breakdown, interval, periods, measure } = *question;
        let Some((first, last)) = periods.first().zip(periods.last()) else { return Ok(BTreeMap::new()) };
        let apart = match breakdown {
            None => Apart::Nothing,
            Some(Breakdown::EventType) => Apart::EventTypes,
            Some(Breakdown::Property(property)) => Apart::Values(property),
        };
        let mut snapshot = self.reader.snapshot_about(project.id, &[filter], apart).await?;
        if let Some(series) = series::Series::of(&mut snapshot, project.id, filter, apart).await? {
            let (grain, end) = match interval {
                FineInterval::Hour => (Grain::Hour, last.start + TimeDelta::hours(1)),
                FineInterval::Whole(whole) => {
                    (Grain::Day, whole.unit(project).after(last.start.date(), 1).and_time(NaiveTime::MIN))
                }
            };
            let range = (first.start, end);
            let found =
                activity::happened(&mut snapshot, project.id, &series, grain, range, apart, measure).await?;
            return Ok(found
                .into_iter()
                .map(|(value, days)| (value, in_periods(days, project, interval)))
                .collect());
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
}

/// The periods in which the days from `from` to `to` lie.
fn periods(project: &Project, interval: FineInterval, from: NaiveDate, to: NaiveDate) -> Vec<Period> {
    let period = |start: NaiveDateTime, end: NaiveDateTime| Period {
        start,
        begins: project.first_instant(start),
        ends: project.first_instant(end),
    };
    match interval {
        FineInterval::Whole(interval) => {
            let unit = interval.unit(project);
            let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN);
            let whole = |start| period(midnight(start), midnight(unit.after(start, 1)));
            unit.periods(from, to).map(whole).collect()
        }
        FineInterval::Hour => {
            let hour = TimeDelta::hours(1);
            let begin = from.and_time(NaiveTime::MIN);
            let hours = std::iter::successors(Some(begin), |start| Some(*start + hour));
            let hours = hours.take_while(|start| start.date() <= to).map(|start| period(start, start + hour));
            hours.filter(|hour| hour.begins < hour.ends).collect() // without those that the clock skips
        }
    }
}

/// Puts days together to periods; hours are as they are.
fn in_periods(days: ByPeriod, project: &Project, interval: FineInterval) -> ByPeriod {
    let FineInterval::Whole(whole) = interval else { return days };
    let unit = whole.unit(project);
    let mut periods = ByPeriod::new();
    for (day, happened) in days {
        let period = unit.period_of(day.date()).and_time(NaiveTime::MIN);
        periods.entry(period).or_default().merge(&happened);
    }
    periods
}

fn points(
    periods: &[Period],
    happened: &ByPeriod,
    measure: Measure,
    interval: FineInterval,
    now: DateTime<Utc>,
) -> Vec<Point> {
    let point = |period: &Period| Point {
        period: match interval {
            FineInterval::Hour => period.start.format("%Y-%m-%dT%H:%M:%S").to_string(),
            FineInterval::Whole(_) => period.start.date().to_string(),
        },
        count: happened.get(&period.start).map_or(0, |happened| happened.measured(measure)),
        complete: period.ends <= now,
    };
    periods.iter().map(point).collect()
}

impl Table for Timeseries {
    fn header(&self) -> Vec<String> {
        ["value", "period", "count", "complete", "other"].map(Into::into).into()
    }

    fn len(&self) -> usize {
        self.series.iter().map(|series| series.data.len()).sum()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let of_series = |series: &Series| {
            let value = field(series.value.as_ref());
            let row = move |point: &Point| {
                vec![
                    value.clone(),
                    point.period.clone(),
                    point.count.to_string(),
                    point.complete.to_string(),
                    series.other.to_string(),
                ]
            };
            series.data.iter().map(row).collect::<Vec<_>>()
        };
        self.series.iter().flat_map(of_series).collect()
    }
}
