//! Events or users of each period, by the values of a property.

use poem_openapi::{Object, OpenApi, param::Query};

use super::{
    choices::{Choice, FineInterval, Interval},
    narrow::Cost,
    parameters::{DayParameters, SegmentParameter},
    timezone,
};
use crate::{
    http::{
        extract::{
            auth::{Caller, Read},
            parameters::{Checks, Param, UpTo},
        },
        openapi::Tag,
        respond::{
            problem::{Asking, Refusal},
            table::{AnswerFormat, FormattedAnswer, Tabular, field},
        },
    },
    query::timeseries,
    stats::{label::Breakdown, timeseries::Measure},
    store::read::snapshot::Reader,
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

#[OpenApi(prefix_path = "/stats", tag = "Tag::Statistics")]
impl TimeseriesApi {
    /// Time series
    ///
    /// Events, or unique users, of each hour, day, week or month; as one series, or one for each value of a property.
    /// Periods are whole: the week or month in which `from` or `to` lies is counted in full. Hours are those of the wall clock:
    /// one that is skipped is not there, one that is repeated is one.
    #[oai(path = "/timeseries", method = "get", operation_id = "timeseries")]
    #[allow(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn timeseries(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        days: DayParameters,
        /// The length of a period; default day. Weeks begin on the project's first day of the week.
        interval: Query<Param<FineInterval>>,
        /// What is counted; default events.
        measure: Query<Param<Measure>>,
        /// One series for each value: `event_type`, or a property such as `properties.platform`.
        breakdown: Query<Param<Breakdown>>,
        /// Most series with a value of their own; default 10.
        limit: Query<Param<UpTo<100>>>,
        segment: SegmentParameter,
    ) -> Result<FormattedAnswer<Timeseries>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let range = days.check(&mut checks);
        let interval = checks.optional("interval", interval.0).unwrap_or(FineInterval::Whole(Interval::Day));
        let measure = checks.optional("measure", measure.0).unwrap_or(Measure::Events);
        let breakdown = checks.optional("breakdown", breakdown.0);
        let limit = checks.optional("limit", limit.0).map_or(10, |limit| limit.0 as usize);
        let filter = segment.check(&mut checks);
        let hours = if interval == FineInterval::Hour { 24 } else { 1 };
        if let Some(range) = range {
            let days = usize::try_from(range.length()).unwrap_or(0);
            let points = days * hours * breakdown.as_ref().map_or(1, |_| limit + 1);
            if points > MAX_POINTS {
                let message =
                    format!("expected at most {MAX_POINTS} points, got up to {points}: ask for fewer days");
                checks.refuse("to", "too_large", message);
            }
        }
        let query = timeseries::Query {
            days: checks.finish(range)?,
            interval: interval.of(&caller.project),
            measure,
            filter,
            breakdown,
            limit,
        };
        let series = query.answer(&self.reader, &caller.project).await;
        let series = series.map_err(|error| cost(&query).problem(error, &self.reader))?;
        let series = series.into_iter().map(|timeseries::Series { label, points }| {
            let (value, other) = label.shown();
            Series { value, other, data: points.iter().map(|point| Point::of(point, interval)).collect() }
        });
        let answer = Timeseries {
            timezone: timezone(&caller.project),
            interval: interval.word().into(),
            measure: measure.word().into(),
            series: series.collect(),
        };
        Ok(FormattedAnswer { answer, format })
    }
}

impl Point {
    fn of(point: &timeseries::Point, interval: FineInterval) -> Self {
        let period = match interval {
            FineInterval::Hour => point.period.format("%Y-%m-%dT%H:%M:%S").to_string(),
            FineInterval::Whole(_) => point.period.date().to_string(),
        };
        Self { period, count: point.count, complete: point.complete }
    }
}

fn cost(query: &timeseries::Query) -> Cost {
    let property = query.breakdown.as_ref().and_then(Breakdown::property);
    Cost::of_days(query.days).with_filter("segment", &query.filter).with_breakdown(property)
}

impl Tabular for Timeseries {
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
