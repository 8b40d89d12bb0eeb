//! The event types with the most events.

use poem_openapi::{Object, OpenApi, param::Query};

use super::{narrow::Cost, parameters::DayParameters, timezone};
use crate::{
    http::{
        extract::{
            auth::{Caller, Read},
            parameters::{Checks, Param, Segments, UpTo},
        },
        openapi::Tag,
        respond::{
            problem::{Asking, Refusal},
            table::{AnswerFormat, FormattedAnswer, Tabular},
        },
    },
    query::top_events,
    store::read::{activity::EventTypeCount, snapshot::Reader},
};

pub struct TopEventsApi {
    pub reader: Reader,
}

#[derive(Object)]
struct TopEvents {
    timezone: String,
    /// Most events first, then by name.
    #[oai(validator(max_items = 1000))]
    data: Vec<TopEvent>,
}

#[derive(Object)]
struct TopEvent {
    event_type: String,
    events: i64,
    /// Unique users.
    users: i64,
}

#[OpenApi(prefix_path = "/stats", tag = "Tag::Statistics")]
impl TopEventsApi {
    /// Top events
    ///
    /// The event types of a range, with their events and unique users.
    #[oai(path = "/top-events", method = "get", operation_id = "top_events")]
    async fn top_events(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        days: DayParameters,
        /// Most event types; default 10.
        limit: Query<Param<UpTo<1000>>>,
        /// Only events for which this holds, such as `event_type:!page_view` or `properties.country:UA,PL`.
        segment: Query<Segments>,
    ) -> Result<FormattedAnswer<TopEvents>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let range = days.check(&mut checks);
        let limit = checks.optional("limit", limit.0).map_or(10, |limit| limit.0);
        let filter = checks.segments("segment", segment.0);
        let query = top_events::Query { days: checks.finish(range)?, filter, limit };
        let top = query.answer(&self.reader, &caller.project).await.map_err(|error| {
            Cost::of_days(query.days).with_filter("segment", &query.filter).problem(error, &self.reader)
        })?;
        let row = |top: EventTypeCount| TopEvent {
            event_type: top.event_type,
            events: top.events,
            users: top.users,
        };
        let data = top.into_iter().map(row).collect();
        Ok(FormattedAnswer { answer: TopEvents { timezone: timezone(&caller.project), data }, format })
    }
}

impl Tabular for TopEvents {
    fn header(&self) -> Vec<String> {
        ["event_type", "events", "users"].map(Into::into).into()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let row =
            |top: &TopEvent| vec![top.event_type.clone(), top.events.to_string(), top.users.to_string()];
        self.data.iter().map(row).collect()
    }
}
