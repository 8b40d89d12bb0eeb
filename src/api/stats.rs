//! The questions of product teams: parameters in, bitmaps fetched, answered by [`crate::stats`].

use chrono::{DateTime, Days, NaiveDate, SubsecRound, Utc};
use poem_openapi::{Object, OpenApi, param::Query, payload::Json, registry::MetaSchema};
use sqlx::PgPool;

use super::{
    Tag,
    auth::{Caller, Read},
    instant::Instant,
    parameters::{Checks, Param, Required, UpTo, Value, range},
    problem::{Asking, Problem, Refusal},
};
use crate::{
    project::Project,
    stats::{
        active_users,
        period::Unit,
        retention::{self, Question, Retention},
    },
    store::activity,
};

/// Cells in a table of retention: a year of daily cohorts over two months, or two years of weeks.
const MAX_CELLS: usize = 20_000;

pub struct StatsApi {
    pub pool: PgPool,
}

#[derive(Object)]
struct DailyActiveUsers {
    /// The project's time zone, in which the days are.
    timezone: String,
    data: Vec<DayUsers>,
}

#[derive(Object)]
struct DayUsers {
    date: NaiveDate,
    active_users: u64,
}

#[derive(Object)]
struct TopEvents {
    timezone: String,
    /// Most events first, then by name.
    data: Vec<EventTypeCount>,
}

#[derive(Object)]
struct EventTypeCount {
    event_type: String,
    events: i64,
    /// Different users.
    users: i64,
}

#[derive(Object)]
struct RetentionTable {
    timezone: String,
    window_type: String,
    /// The moment for which periods are complete or not.
    as_of: Instant,
    cohorts: Vec<CohortRow>,
    /// Each period over the cohorts for which it is complete.
    overall: Vec<OverallCell>,
}

#[derive(Object)]
struct CohortRow {
    /// The first day of the period in which these users came first.
    cohort: NaiveDate,
    /// Users in the cohort.
    size: u64,
    periods: Vec<CohortCell>,
}

#[derive(Object)]
struct CohortCell {
    /// Periods after the cohort's own.
    period: u32,
    /// Users of the cohort who were active in this period.
    users: u64,
    /// `users` of `size`, rounded to three decimals; null if the cohort is empty.
    rate: Option<f64>,
    /// False: the period is not over, and the number may still grow.
    complete: bool,
}

#[derive(Object)]
struct OverallCell {
    period: u32,
    users: u64,
    size: u64,
    /// Null if no cell of this period is complete.
    rate: Option<f64>,
}

#[OpenApi(prefix_path = "/stats", tag = "Tag::Statistics")]
impl StatsApi {
    /// Daily active users
    ///
    /// Different users with any event, for each day.
    #[oai(path = "/dau", method = "get", operation_id = "daily_active_users")]
    async fn dau(
        &self,
        caller: Caller<Read>,
        /// The first day.
        #[oai(example = "example_from::<true>")]
        from: Query<Required<NaiveDate>>,
        /// The last day.
        #[oai(example = "example_to::<true>")]
        to: Query<Required<NaiveDate>>,
    ) -> Result<Json<DailyActiveUsers>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let range = range(&mut checks, from.0, to.0);
        let (from, to) = checks.finish(range)?;
        let counts = activity::daily_active_users(&self.pool, caller.project.id, from, to).await?;
        let data = active_users::daily(&counts, from, to)
            .map(|(date, active_users)| DayUsers { date, active_users })
            .collect();
        Ok(Json(DailyActiveUsers { timezone: timezone(&caller.project), data }))
    }

    /// Top events
    ///
    /// The event types of a range, with their events and different users.
    #[oai(path = "/top-events", method = "get", operation_id = "top_events")]
    async fn top_events(
        &self,
        caller: Caller<Read>,
        /// The first day.
        #[oai(example = "example_from::<true>")]
        from: Query<Required<NaiveDate>>,
        /// The last day.
        #[oai(example = "example_to::<true>")]
        to: Query<Required<NaiveDate>>,
        /// Most event types; default 10.
        limit: Query<Param<UpTo<1000>>>,
    ) -> Result<Json<TopEvents>, Refusal<Asking>> {
        let mut checks = Checks::default();
        let range = range(&mut checks, from.0, to.0);
        let limit = checks.optional("limit", limit.0).map_or(10, |limit| limit.0);
        let (from, to) = checks.finish(range)?;
        let data = activity::top_events(&self.pool, caller.project.id, from, to, limit)
            .await?
            .into_iter()
            .map(|top| EventTypeCount { event_type: top.event_type, events: top.events, users: top.users })
            .collect();
        Ok(Json(TopEvents { timezone: timezone(&caller.project), data }))
    }

    /// Retention
    ///
    /// Of the users whose first event ever lies in a period, how many were active in the periods after it. Periods are
    /// those of the calendar in the project's time zone. A period that is not over is marked, and left out of the
    /// overall row.
    #[oai(path = "/retention", method = "get", operation_id = "retention")]
    async fn retention(
        &self,
        caller: Caller<Read>,
        /// The first day on which users of the cohorts came first.
        #[oai(example = "example_from::<false>")]
        from: Query<Param<NaiveDate>>,
        /// The last such day.
        #[oai(example = "example_to::<false>")]
        to: Query<Param<NaiveDate>>,
        /// Instead of `from` and `to`: the cohorts are the first `windows` periods from this day on.
        start_date: Query<Param<NaiveDate>>,
        /// Columns: periods 0 to this one; default 7.
        windows: Query<Param<UpTo<366>>>,
        /// The length of periods; default daily.
        window_type: Query<Param<WindowType>>,
    ) -> Result<Json<RetentionTable>, Refusal<Asking>> {
        let as_of = Utc::now().trunc_subsecs(3);
        let mut checks = Checks::default();
        let windows = checks.optional("windows", windows.0).map_or(7, |windows| windows.0);
        let window_type = checks.optional("window_type", window_type.0).unwrap_or(WindowType::Daily);
        let unit = window_type.unit(&caller.project);
        let range = match checks.optional("start_date", start_date.0) {
            None => range(&mut checks, from.0, to.0),
            Some(start) => {
                if checks.optional("from", from.0).is_some() || checks.optional("to", to.0).is_some() {
                    let message = "expected either start_date, or from and to".into();
                    checks.refuse("start_date", "not_both", message);
                }
                Some((start, unit.after(unit.period_of(start), windows) - Days::new(1)))
            }
        };
        let question = range.map(|(from, to)| Question {
            unit,
            from,
            to,
            windows,
            today: caller.project.local_date(as_of),
        });
        if let Some(cells) = question.map(|question| question.cells()).filter(|cells| *cells > MAX_CELLS) {
            let message =
                format!("expected at most {MAX_CELLS} cells, got {cells}: ask for fewer cohorts or windows");
            checks.refuse("windows", "too_large", message);
        }
        let question = checks.finish(question)?;

        let before = activity::users_before(&self.pool, caller.project.id, question.from);
        let users = activity::daily_users(&self.pool, caller.project.id, question.from, question.last_day());
        let (before, users) = futures::try_join!(before, users)?;
        // Set algebra over many large bitmaps: not on a thread that serves requests.
        let answer = tokio::task::spawn_blocking(move || retention::first_time(&question, before, &users))
            .await
            .map_err(Problem::internal)?;
        Ok(Json(table(&caller.project, window_type, as_of, answer)))
    }
}

/// The length of a retention period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WindowType {
    Daily,
    Weekly,
    Monthly,
}

impl WindowType {
    const ALL: [Self; 3] = [Self::Daily, Self::Weekly, Self::Monthly];

    fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    fn unit(self, project: &Project) -> Unit {
        match self {
            Self::Daily => Unit::Day,
            Self::Weekly => Unit::Week(project.week_start),
            Self::Monthly => Unit::Month,
        }
    }
}

impl Value for WindowType {
    const INVALID: &'static str = "invalid_choice";

    fn expected() -> String {
        "daily, weekly or monthly".into()
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window_type| window_type.name() == text)
    }

    fn schema() -> MetaSchema {
        let enum_items = Self::ALL.map(|window_type| window_type.name().into()).into();
        MetaSchema { enum_items, ..MetaSchema::new("string") }
    }
}

fn example_from<const REQUIRED: bool>() -> Param<NaiveDate, REQUIRED> {
    Param::example("2024-03-01")
}

fn example_to<const REQUIRED: bool>() -> Param<NaiveDate, REQUIRED> {
    Param::example("2024-03-31")
}

fn table(
    project: &Project,
    window_type: WindowType,
    as_of: DateTime<Utc>,
    answer: Retention,
) -> RetentionTable {
    let cohorts = answer.cohorts.into_iter().map(|cohort| CohortRow {
        cohort: cohort.cohort,
        size: cohort.size,
        periods: cohort
            .periods
            .iter()
            .map(|cell| CohortCell {
                period: cell.period,
                users: cell.users,
                rate: rate(cell.users, cohort.size),
                complete: cell.complete,
            })
            .collect(),
    });
    let overall = answer.overall.iter().map(|total| OverallCell {
        period: total.period,
        users: total.users,
        size: total.size,
        rate: rate(total.users, total.size),
    });
    RetentionTable {
        timezone: timezone(project),
        window_type: window_type.name().into(),
        as_of: Instant(as_of),
        cohorts: cohorts.collect(),
        overall: overall.collect(),
    }
}

fn timezone(project: &Project) -> String {
    project.timezone.name().into()
}

/// The share in thousandths, half rounded up, by whole numbers: so it is the same everywhere.
fn rate(users: u64, size: u64) -> Option<f64> {
    let thousandths = (users * 2_000 + size).checked_div(size * 2)?;
    #[allow(clippy::cast_precision_loss, reason = "a share is at most 1,000 thousandths")]
    Some(thousandths as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_rounded_half_up_and_of_nobody_there_is_none() {
        assert_eq!(rate(2, 3), Some(0.667));
        assert_eq!(rate(1, 16), Some(0.063)); // 0.0625
        assert_eq!(rate(5, 5), Some(1.0));
        assert_eq!(rate(0, 5), Some(0.0));
        assert_eq!(rate(0, 0), None);
    }
}
