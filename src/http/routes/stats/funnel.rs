//! How many users get from step to step.

use chrono::TimeDelta;
use poem_openapi::{Enum, Object, OpenApi, types::Example};

use super::{
    narrow::Cost,
    rate, timezone,
    users::{PageRequest, UserList},
};
use crate::{
    http::{
        extract::{
            auth::{Caller, Read},
            json_body::JsonBody,
            parameters::{Checks, ParameterValue, days},
            text::{Date, Text},
        },
        openapi::Tag,
        respond::{
            problem::{AskingInBody, Problem, Refusal},
            table::{AnswerFormat, FormattedAnswer, Tabular, field},
        },
    },
    model::range::DayRange,
    query::funnel::{self, StepEnd},
    stats::{
        funnel::{MOST_STEPS, StepReached},
        label::{Breakdown, Label},
    },
    store::read::snapshot::Reader,
};

/// How long a conversion may take at most.
const MAX_WINDOW: TimeDelta = TimeDelta::days(366);
const DEFAULT_WINDOW: &str = "14days";
/// Values that have a funnel of their own.
const DEFAULT_LIMIT: u32 = 10;
const MAX_LIMIT: u32 = 100;

pub struct FunnelApi {
    pub reader: Reader,
}

/// Steps in order. A user enters with an event of the first one from `from` to `to`, and converts with one of the last at
/// most `window` later.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(crate) struct FunnelQuestion {
    /// The first day on which users enter.
    from: Date,
    /// The last such day.
    to: Date,
    /// 2 to 20 steps.
    #[oai(validator(min_items = 2, max_items = 20))]
    steps: Vec<FunnelStep>,
    /// How long after the first step the last one counts, such as `30min`, `1h` or `14days`; default 14days, at most a year.
    #[oai(skip_serializing_if_is_none)]
    window: Option<Text>,
    /// A funnel for each value of this property of the first event, such as `properties.platform`.
    #[oai(skip_serializing_if_is_none)]
    breakdown: Option<Text>,
    /// Most values with a funnel of their own; default 10.
    #[oai(skip_serializing_if_is_none, validator(minimum(value = "1"), maximum(value = "100")))]
    limit: Option<u32>,
}

#[derive(Object)]
#[oai(deny_unknown_fields)]
struct FunnelStep {
    /// 1 to 200 characters.
    event_type: Text,
    /// Only events for which all of these hold, such as `properties.country:UA,PL`.
    #[oai(default, skip_serializing_if_is_empty, validator(max_items = 50))]
    segment: Vec<Text>,
}

impl Example for FunnelQuestion {
    fn example() -> Self {
        let step = |event_type: &str| FunnelStep { event_type: Text(event_type.into()), segment: Vec::new() };
        let (from, to) = ("2024-03-01", "2024-03-31");
        Self {
            from: Date(from.into()),
            to: Date(to.into()),
            steps: ["product_view", "add_to_cart", "payment_details"].map(step).into(),
            window: Some(Text("7days".into())),
            breakdown: Some(Text("properties.platform".into())),
            limit: None,
        }
    }
}

/// A funnel, and which of its users.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(crate) struct FunnelUsersQuestion {
    /// The funnel. Its breakdown and limit are of no use here.
    funnel: FunnelQuestion,
    /// The step, from 1.
    #[oai(validator(minimum(value = "1"), maximum(value = "20")))]
    step: u32,
    /// Who got to the step (`reached`), or no further than that (`dropped`).
    who: FunnelUsers,
    /// The `next` of the page before.
    #[oai(skip_serializing_if_is_none)]
    cursor: Option<Text>,
    /// Most users of a page; default 100.
    #[oai(skip_serializing_if_is_none, validator(minimum(value = "1"), maximum(value = "1000")))]
    limit: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum FunnelUsers {
    Reached,
    Dropped,
}

impl Example for FunnelUsersQuestion {
    fn example() -> Self {
        let funnel = FunnelQuestion { breakdown: None, ..FunnelQuestion::example() };
        Self { funnel, step: 2, who: FunnelUsers::Dropped, cursor: None, limit: None }
    }
}

#[derive(Object)]
struct FunnelAnswer {
    timezone: String,
    /// False: the window of users who entered last is not over, and numbers may still grow.
    complete: bool,
    #[oai(validator(max_items = 20))]
    steps: Vec<StepUsers>,
    /// With a breakdown: the same by value, those with most users first, then by value.
    #[oai(skip_serializing_if_is_none, validator(max_items = 101))]
    breakdown: Option<Vec<ValueSteps>>,
}

#[derive(Object)]
struct ValueSteps {
    /// Null: the first event has no such property. `$other`: all values without a funnel of their own.
    value: Option<String>,
    /// True of all values without a funnel of their own together: those behind `limit`, and lists, objects and texts of more
    /// than 200 bytes. An event may have the value `$other`, too.
    other: bool,
    #[oai(validator(max_items = 20))]
    steps: Vec<StepUsers>,
}

#[derive(Object)]
struct StepUsers {
    /// From 1.
    step: u32,
    event_type: String,
    /// Users who got here.
    users: u64,
    /// Of the users who entered, rounded to three decimals; null if nobody did.
    rate: Option<f64>,
    /// Of the users of the step before, likewise.
    step_rate: Option<f64>,
    /// The median time from the step before, in seconds, to the millisecond; null if nobody got here, or came from nowhere.
    median_seconds: Option<f64>,
}

/// A question whose parts are valid.
pub(crate) struct ValidFunnel {
    query: funnel::Query,
    /// Of the steps.
    event_types: Vec<String>,
}

#[OpenApi(prefix_path = "/stats", tag = "Tag::Statistics")]
impl FunnelApi {
    /// Funnel
    ///
    /// How many users did one thing after the other: each step with another event, none earlier than the one before it, the
    /// last at most the window after the first. A user counts once, as far as they got; who enters several times has several
    /// tries.
    #[oai(path = "/funnel", method = "post", operation_id = "funnel")]
    async fn funnel(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        question: JsonBody<FunnelQuestion>,
    ) -> Result<FormattedAnswer<FunnelAnswer>, Refusal<AskingInBody>> {
        let ValidFunnel { query, event_types } = question.0.validate(Checks::default(), "")?;
        let funnel = query.answer(&self.reader, &caller.project).await;
        let funnel = funnel.map_err(|error| cost(&query).problem(error, &self.reader))?;
        let by_value =
            |values: Vec<_>| values.into_iter().map(|of| ValueSteps::new(&event_types, of)).collect();
        let answer = FunnelAnswer {
            timezone: timezone(&caller.project),
            complete: funnel.complete,
            steps: step_users(&event_types, funnel.steps),
            breakdown: funnel.by_value.map(by_value),
        };
        Ok(FormattedAnswer { answer, format })
    }

    /// Funnel, by name
    ///
    /// Who got to a step, or no further than that, in pages.
    #[oai(path = "/funnel/users", method = "post", operation_id = "funnel_list")]
    async fn list(
        &self,
        caller: Caller<Read>,
        format: AnswerFormat,
        question: JsonBody<FunnelUsersQuestion>,
    ) -> Result<FormattedAnswer<UserList>, Refusal<AskingInBody>> {
        let FunnelUsersQuestion { funnel, step, who, cursor, limit } = question.0;
        let mut checks = Checks::default();
        let page = PageRequest::of_body(&mut checks, cursor.as_ref().map(|cursor| cursor.0.as_str()), limit);
        let index = (step as usize).checked_sub(1).filter(|index| *index < funnel.steps.len());
        if index.is_none() {
            checks.refuse(
                "step",
                "out_of_range",
                format!("expected a number from 1 to {}", funnel.steps.len()),
            );
        }
        let who = match who {
            FunnelUsers::Reached => StepEnd::Reached,
            FunnelUsers::Dropped => StepEnd::Dropped,
        };
        let ValidFunnel { query, .. } = funnel.validate(checks, "funnel.")?;
        let users = query.users(&self.reader, &caller.project, index.unwrap_or_default(), who).await;
        let users = users.map_err(|error| cost(&query).problem(error, &self.reader))?;
        let answer = page.list(&self.reader, &caller.project, &users).await?;
        Ok(FormattedAnswer { answer, format })
    }
}

impl FunnelQuestion {
    /// `within` is the place of the funnel in the body.
    fn validate(self, mut checks: Checks, within: &str) -> Result<ValidFunnel, Problem> {
        let place = |field: &str| format!("{within}{field}");
        let range = checks.date(&place("from"), self.from).zip(checks.date(&place("to"), self.to));
        let range = range.map(|(from, to)| DayRange::new(from, to));
        if let Some(range) = range {
            days(&mut checks, range);
        }
        if !(2..=MOST_STEPS).contains(&self.steps.len()) {
            checks.refuse(&place("steps"), "out_of_range", format!("expected 2 to {MOST_STEPS} steps"));
        }
        let mut steps = Vec::new();
        let mut event_types = Vec::new();
        for (index, FunnelStep { event_type, segment }) in self.steps.into_iter().enumerate() {
            let place = |field: &str| place(&format!("steps[{index}].{field}"));
            let event_type = checks.text(&place("event_type"), event_type).unwrap_or_default();
            let segment = segment.into_iter().map(|text| text.0).collect();
            steps.push(checks.texts(&place("segment"), segment).of_type(&event_type));
            event_types.push(event_type);
        }
        let sent = self.window.as_ref().map_or(DEFAULT_WINDOW, |window| &window.0);
        let window = humantime::parse_duration(sent).ok().and_then(|window| TimeDelta::from_std(window).ok());
        let window = window.filter(|window| (TimeDelta::zero()..=MAX_WINDOW).contains(window));
        if window.is_none() {
            let expected = "expected a duration of at most a year, such as 30min, 1h or 14days";
            checks.refuse(&place("window"), "invalid_duration", format!("{expected}, got '{sent}'"));
        }
        let breakdown = self.breakdown.map(|Text(text)| {
            let parsed = match Breakdown::parse(&text) {
                Some(Breakdown::Property(property)) => Some(property),
                Some(Breakdown::EventType) | None => None,
            };
            if parsed.is_none() {
                checks.refuse(
                    &place("breakdown"),
                    Breakdown::INVALID,
                    format!("expected properties.NAME, got '{text}'"),
                );
            }
            parsed
        });
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            checks.refuse(
                &place("limit"),
                "out_of_range",
                format!("expected a number from 1 to {MAX_LIMIT}"),
            );
        }
        let (window, days) = checks.finish(window.zip(range))?;
        let breakdown = breakdown.flatten();
        let query = funnel::Query { days, steps, window, breakdown, limit: limit as usize };
        Ok(ValidFunnel { query, event_types })
    }
}

fn cost(query: &funnel::Query) -> Cost {
    let shorter = "a shorter window reads fewer events";
    Cost::of_days(query.days).with_choice(query.window > TimeDelta::days(1), "window", shorter)
}

impl ValueSteps {
    fn new(event_types: &[String], (label, steps): (Label, Vec<StepReached>)) -> Self {
        let (value, other) = label.shown();
        Self { value, other, steps: step_users(event_types, steps) }
    }
}

fn step_users(event_types: &[String], reached: Vec<StepReached>) -> Vec<StepUsers> {
    let entered = reached.first().map_or(0, |first| first.users.len());
    let mut before = None;
    let steps = (1..).zip(event_types).zip(reached);
    let steps = steps.map(|((step, event_type), mut reached)| {
        let users = reached.users.len();
        let step_rate = rate(users, before.replace(users).unwrap_or(users));
        StepUsers {
            step,
            event_type: event_type.clone(),
            users,
            rate: rate(users, entered),
            step_rate,
            median_seconds: reached.median_time().map(seconds),
        }
    });
    steps.collect()
}

/// In milliseconds, half rounded up.
fn seconds(time: TimeDelta) -> f64 {
    let milliseconds = (time + TimeDelta::microseconds(500)).num_milliseconds();
    #[allow(clippy::cast_precision_loss, reason = "a year has fewer than 2^53 milliseconds")]
    let milliseconds = milliseconds as f64;
    milliseconds / 1_000.0
}

impl Tabular for FunnelAnswer {
    fn header(&self) -> Vec<String> {
        ["value", "step", "event_type", "users", "rate", "step_rate", "median_seconds", "other"]
            .map(Into::into)
            .into()
    }

    /// Those of all values come first; their value is `$all`, if there is a breakdown.
    fn rows(&self) -> Vec<Vec<String>> {
        let rows = |value: Option<&str>, other: bool, steps: &[StepUsers]| -> Vec<Vec<String>> {
            let row = |step: &StepUsers| {
                vec![
                    field(value),
                    step.step.to_string(),
                    step.event_type.clone(),
                    step.users.to_string(),
                    field(step.rate),
                    field(step.step_rate),
                    field(step.median_seconds),
                    other.to_string(),
                ]
            };
            steps.iter().map(row).collect()
        };
        let all = self.breakdown.as_ref().map(|_| "$all");
        let mut table = rows(all, false, &self.steps);
        for of_value in self.breakdown.iter().flatten() {
            table.extend(rows(of_value.value.as_deref(), of_value.other, &of_value.steps));
        }
        table
    }
}
