//! The number of events of one type.

use chrono::{DateTime, Utc};
use poem_openapi::{Object, OpenApi, param::Query};

use super::narrow::Cost;
use crate::{
    http::{
        extract::{
            auth::{Caller, Read},
            parameters::{Checks, Param, Required, Segments},
        },
        openapi::Tag,
        respond::{
            problem::{Asking, Refusal},
            table::{AnswerFormat, FormattedAnswer, Tabular, field},
        },
    },
    model::range::{DayRange, TimeRange},
    query::count,
    store::read::snapshot::Reader,
};

pub struct CountApi {
    pub reader: Reader,
}

#[derive(Object)]
struct EventCount {
    #[oai(skip_serializing_if_is_none)]
    event_type: Option<String>,
    /// Instead of `event_type`, if that is how it was asked.
    #[oai(skip_serializing_if_is_none)]
    event_name: Option<String>,
    count: i64,
}

#[OpenApi]
impl CountApi {
    /// Count
    ///
    /// The events of one type, from an instant until before another.
    #[oai(path = "/stats/count", method = "get", operation_id = "count", tag = "Tag::Statistics")]
    #[allow(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn count(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        /// Required, under this name or as `event_name`.
        #[oai(example = "example_event_type")]
        event_type: Query<Param<String>>,
        /// The same as `event_type`.
        event_name: Query<Param<String>>,
        /// The first instant.
        #[oai(example = "example_from")]
        from: Query<Required<DateTime<Utc>>>,
        /// The instant behind the last.
        #[oai(example = "example_to")]
        to: Query<Required<DateTime<Utc>>>,
        /// Only events for which this holds, such as `properties.country:UA,PL`.
        segment: Query<Segments>,
    ) -> Result<FormattedAnswer<EventCount>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let event_name = checks.optional("event_name", event_name.0);
        let event_type = match &event_name {
            None => checks.required("event_type", event_type.0),
            Some(_) => checks.optional("event_type", event_type.0),
        };
        if event_name.is_some() && event_type.is_some() {
            checks.refuse("event_name", "not_both", "expected either event_type or event_name".into());
        }
        let (from, to) = (checks.required("from", from.0), checks.required("to", to.0));
        if from.zip(to).is_some_and(|(from, to)| to < from) {
            checks.refuse("to", "before_from", "expected `from` or later".into());
        }
        let name = event_type.clone().or_else(|| event_name.clone());
        let filter = checks.segments("segment", segment.0);
        let (name, (begin, end)) = checks.finish(name.zip(from.zip(to)))?;
        let query = count::Query { time: TimeRange::new(begin, end), filter: filter.of_type(&name) };
        let count = query.answer(&self.reader, &caller.project).await;
        let count = count.map_err(|error| cost(&query).problem(error, &self.reader))?;
        Ok(FormattedAnswer { answer: EventCount { event_type, event_name, count }, format })
    }
}

fn cost(query: &count::Query) -> Cost {
    Cost::of_days(DayRange::new(query.time.begin.date_naive(), query.time.end.date_naive()))
}

impl Tabular for EventCount {
    fn header(&self) -> Vec<String> {
        let name = if self.event_name.is_some() { "event_name" } else { "event_type" };
        [name, "count"].map(Into::into).into()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let name = self.event_name.as_ref().or(self.event_type.as_ref());
        vec![vec![field(name), self.count.to_string()]]
    }
}

fn example_event_type() -> Param<String> {
    Param::example("page_view")
}

fn example_from() -> Required<DateTime<Utc>> {
    Param::example("2024-03-01T00:00:00Z")
}

fn example_to() -> Required<DateTime<Utc>> {
    Param::example("2024-04-01T00:00:00Z")
}
