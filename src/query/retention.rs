//! Of the users who began in a period, how many came back in the periods after it?

use chrono::{DateTime, Days, NaiveDate, Utc};
use roaring::RoaringBitmap;

use super::plan::Plan;
use crate::work;
use crate::{
    model::{project::Project, range::DayRange},
    stats::{
        DailyUsers,
        filter::Filter,
        label::Breakdown,
        retention::{
            Question, Retention, RetentionColumn,
            calendar::Calendar,
            cohorts::{self, Cohorts, members},
            elapsed::{Elapsed, Start, length},
        },
    },
    store::{
        StoreError,
        read::{
            active,
            retention::{self, Both},
            snapshot::{Reader, Snapshot},
            source::{QueryPart, Selection, Source},
        },
        users::present::FormerUsers,
    },
};

/// Events lie at most a day ahead of weir's clock, and a project's date at most one ahead of UTC's.
const AHEAD: Days = Days::new(2);

#[derive(Clone, Debug)]
pub struct Query {
    /// Of whole periods.
    pub question: Question,
    pub window: Window,
    pub cohort: CohortKind,
    /// The events with which users begin.
    pub start: Filter,
    /// The events that are a return.
    pub back: Filter,
    /// Periods that had ended by then are complete.
    pub as_of: DateTime<Utc>,
    /// Only events before; nothing: whatever is stored.
    pub until: Option<DateTime<Utc>>,
}

/// How the period of a return is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// By dates.
    Calendar,
    /// By the exact time from each user's own beginning.
    Elapsed,
}

/// When a user begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CohortKind {
    /// With the first start over all history.
    FirstTime,
    /// With the first event of the type, if it passes the segments.
    FirstEver,
    /// In every period with a start.
    Recurring,
}

/// Which users of a cell's cohort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CohortUsers {
    Returned,
    Missing,
    All,
}

/// What cells are counted from.
enum CellUsers {
    Calendar {
        cohorts: Cohorts,
        returns: DailyUsers,
        /// Who came back on the day of a start; nothing: who started, since a start is a return.
        same_day: Option<DailyUsers>,
    },
    Elapsed(Elapsed),
}

impl Query {
    /// The whole table.
    pub async fn answer(&self, reader: &Reader, project: &Project) -> Result<Retention, StoreError> {
        let counted = self.count(reader, project).await?;
        let (question, as_of, today) = (&self.question, self.as_of, project.local_date(self.as_of));
        Ok(work::long(|| match counted {
            CellUsers::Calendar { cohorts, returns, same_day } => {
                let unit = question.unit;
                Calendar { unit, today, returns: &returns, same_day: same_day.as_ref().unwrap_or(&returns) }
                    .answer(question, &cohorts)
            }
            CellUsers::Elapsed(elapsed) => elapsed.answer(question, as_of),
        }))
    }

    /// The users behind a cell.
    pub async fn users(
        &self,
        reader: &Reader,
        project: &Project,
        (cohort, column): (NaiveDate, RetentionColumn),
        who: CohortUsers,
    ) -> Result<RoaringBitmap, StoreError> {
        let counted = self.count(reader, project).await?;
        let (unit, today) = (self.question.unit, project.local_date(self.as_of));
        Ok(work::long(|| {
            let (members, returned) = match counted {
                CellUsers::Calendar { cohorts, returns, same_day } => {
                    let joined = cohorts.get(&cohort).cloned().unwrap_or_default();
                    let same_day = same_day.as_ref().unwrap_or(&returns);
                    let calendar = Calendar { unit, today, returns: &returns, same_day };
                    (members(&joined), calendar.users(cohort, &joined, column))
                }
                CellUsers::Elapsed(elapsed) => elapsed.users(cohort, column),
            };
            match who {
                CohortUsers::Returned => returned,
                CohortUsers::Missing => members - returned,
                CohortUsers::All => members,
            }
        }))
    }

    /// Whether the order of events within a day matters: if one kind of event starts and returns, a start is a return.
    fn order_matters(&self) -> bool {
        self.start != self.back && self.question.columns.iter().any(|column| column.holds(0))
    }

    /// Whether the first event of a type is asked for its properties: then the order of events within an hour may matter.
    fn first_event_matters(&self) -> bool {
        self.cohort == CohortKind::FirstEver && !self.start.is_of_types_alone()
    }

    /// Whether events are read, whatever activity knows.
    fn reads_events(&self) -> bool {
        self.window == Window::Elapsed || self.order_matters() || self.first_event_matters()
    }

    /// All events of the types that start, by the values of the only property that is asked for.
    fn first_events(&self) -> Option<(Filter, Breakdown)> {
        let property = self.start.only_property().filter(|_| self.first_event_matters())?.clone();
        Some((Filter { properties: Vec::new(), ..self.start.clone() }, Breakdown::Property(property)))
    }

    /// The last day on which a return counts.
    fn last_day(&self, project: &Project) -> NaiveDate {
        let latest = project.local_date(self.as_of) + AHEAD;
        if self.question.columns.iter().any(|column| column.last.is_none()) {
            return latest;
        }
        let Question { unit, to, .. } = self.question;
        let last = unit.after(unit.period_of(to), self.question.last_period());
        unit.last_day(last).min(latest)
    }

    async fn count(&self, reader: &Reader, project: &Project) -> Result<CellUsers, StoreError> {
        let first_events = self.first_events();
        let of_types = first_events.as_ref().map_or(QueryPart::of(&self.start), |(filter, breakdown)| {
            QueryPart { filter, breakdown: Some(breakdown) }
        });
        let parts = [QueryPart::of(&self.start), QueryPart::of(&self.back), of_types];
        let Plan { snapshot, sources: [start, back, of_types] } =
            Plan::new(reader, project.id, parts, self.reads_events()).await?;
        let until = self.until;
        let mut reading = Reading {
            query: self,
            project,
            snapshot,
            starts: Selection { project, filter: &self.start, source: &start, until },
            returns: Selection { project, filter: &self.back, source: &back, until },
            of_types: &of_types,
        };
        let Question { from, to, .. } = self.question;
        // If one kind of event starts and returns, it is read once.
        let once = self.window == Window::Calendar && self.start == self.back;
        let last_day = if once { self.last_day(project).max(to) } else { to };
        let days = DayRange::new(from, last_day);
        let starts = active::daily_users(&mut reading.snapshot, &reading.starts, days).await?;
        let cohorts = reading.cohorts(&starts).await?;
        match self.window {
            Window::Calendar => reading.calendar(starts, cohorts).await,
            Window::Elapsed => reading.elapsed(cohorts).await,
        }
    }
}

/// What a query reads from, and the rest of what it reads.
struct Reading<'a> {
    query: &'a Query,
    project: &'a Project,
    snapshot: Snapshot,
    starts: Selection<'a>,
    returns: Selection<'a>,
    /// All events of the types that start, whatever their properties, by value.
    of_types: &'a Source,
}

impl Reading<'_> {
    /// The cohorts of those who started on the days of the range.
    async fn cohorts(&mut self, starts: &DailyUsers) -> Result<Cohorts, StoreError> {
        let Question { unit, from, to, .. } = self.query.question;
        let cohorts = match self.query.cohort {
            CohortKind::Recurring => cohorts::recurring(unit, from, to, starts),
            CohortKind::FirstEver if self.query.first_event_matters() => {
                let days = DayRange::new(from, to);
                let first =
                    retention::first_ever(&mut self.snapshot, &self.starts, self.of_types, days).await?;
                cohorts::first_time(unit, from, to, RoaringBitmap::new(), &first)
            }
            CohortKind::FirstTime | CohortKind::FirstEver => {
                let before = active::users_before(&mut self.snapshot, &self.starts, from).await?;
                cohorts::first_time(unit, from, to, before, starts)
            }
        };
        Ok(cohorts)
    }

    async fn calendar(&mut self, starts: DailyUsers, cohorts: Cohorts) -> Result<CellUsers, StoreError> {
        let query = self.query;
        if query.start == query.back {
            return Ok(CellUsers::Calendar { cohorts, returns: starts, same_day: None });
        }
        let Question { from, to, .. } = query.question;
        let days = DayRange::new(from, query.last_day(self.project).max(from));
        let returns = active::daily_users(&mut self.snapshot, &self.returns, days).await?;
        let same_day = if query.order_matters() {
            let both = Both { starts: self.starts, returns: self.returns };
            Some(retention::same_day(&mut self.snapshot, &both, DayRange::new(from, to)).await?)
        } else {
            None
        };
        Ok(CellUsers::Calendar { cohorts, returns, same_day })
    }

    async fn elapsed(&mut self, cohorts: Cohorts) -> Result<CellUsers, StoreError> {
        let (question, project) = (&self.query.question, self.project);
        let Question { unit, from, to, .. } = *question;
        let periods: Vec<NaiveDate> = cohorts.keys().copied().collect();
        let bounds: Vec<DateTime<Utc>> =
            periods.iter().map(|period| project.start_of(from.max(*period))).collect();
        let end = project.time_of(DayRange::new(from, to)).end;
        let mut of_cohorts: Vec<RoaringBitmap> = cohorts.values().map(members).collect();
        let moves = FormerUsers::of(&mut self.snapshot, project.id).await?;
        for cohort in &mut of_cohorts {
            moves.add_present(cohort);
        }
        let first = retention::first_in_periods(&mut self.snapshot, &self.starts, &bounds, end).await?;
        let starts: Vec<Start> = first
            .into_iter()
            .filter(|(index, user_no, _)| of_cohorts[*index].contains(*user_no))
            .map(|(index, user_no, t0)| Start { cohort: periods[index], user_no, t0 })
            .collect();
        let begin = starts.iter().map(|start| start.t0).min();
        let mut elapsed = Elapsed::new(question, starts);
        if let Some(begin) = begin {
            let all = of_cohorts.iter().fold(RoaringBitmap::new(), |all, cohort| all | cohort);
            let end = question.columns.iter().all(|column| column.last.is_some()).then(|| {
                let periods = i32::try_from(question.last_period() + 1).unwrap_or(i32::MAX);
                end + length(unit) * periods
            });
            retention::each(&mut self.snapshot, &self.returns, &all, (begin, end), |user_no, at| {
                elapsed.came_back(user_no, at);
            })
            .await?;
        }
        Ok(CellUsers::Elapsed(elapsed))
    }
}
