//! How many users did one thing after the other?

use chrono::{TimeDelta, Utc};
use roaring::RoaringBitmap;

use crate::work;
use crate::{
    model::{project::Project, range::DayRange},
    stats::{
        filter::{Filter, Property},
        funnel::{Funnel, StepReached},
        label::{Label, MOST_VALUES},
    },
    store::{
        self, StoreError,
        read::{funnel::Span, snapshot::Reader},
    },
};

/// Events of a user, times steps, that take milliseconds to count.
const MUCH: usize = 5_000;

#[derive(Clone, Debug)]
pub struct Query {
    /// When users enter.
    pub days: DayRange,
    /// Each of one or more event types.
    pub steps: Vec<Filter>,
    /// The time from the first step to the last.
    pub window: TimeDelta,
    pub breakdown: Option<Property>,
    /// Most values with a funnel of their own.
    pub limit: usize,
}

#[derive(Debug)]
pub struct Answer {
    pub steps: Vec<StepReached>,
    /// If there is a breakdown, those first by which most users entered.
    pub by_value: Option<Vec<(Label, Vec<StepReached>)>>,
    /// Whether nobody can get further any more.
    pub complete: bool,
}

/// Which users of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepEnd {
    /// Who got there.
    Reached,
    /// Who got there, and no further.
    Dropped,
}

impl Query {
    pub async fn answer(&self, reader: &Reader, project: &Project) -> Result<Answer, StoreError> {
        let now = Utc::now();
        let funnel = self.count(reader, project).await?;
        let complete = self.span(project).end <= now;
        Ok(work::long(|| {
            let steps = funnel.overall();
            let by_value = self.breakdown.is_some().then(|| funnel.by_value(self.limit));
            Answer { steps, by_value, complete }
        }))
    }

    /// The users of a step, by its index.
    pub async fn users(
        &self,
        reader: &Reader,
        project: &Project,
        step: usize,
        who: StepEnd,
    ) -> Result<RoaringBitmap, StoreError> {
        let funnel = self.count(reader, project).await?;
        let steps = work::long(|| funnel.overall());
        let reached = |step: usize| steps.get(step).map(|step| step.users.clone()).unwrap_or_default();
        Ok(match who {
            StepEnd::Reached => reached(step),
            StepEnd::Dropped => reached(step) - reached(step + 1),
        })
    }

    fn span(&self, project: &Project) -> Span {
        let entering = project.time_of(self.days);
        Span { begin: entering.begin, enter_before: entering.end, end: entering.end + self.window }
    }

    async fn count(&self, reader: &Reader, project: &Project) -> Result<Funnel, StoreError> {
        let mut funnel = Funnel::new(self.steps.len(), self.window);
        let mut snapshot = reader.snapshot_with_permit(project.id).await?;
        store::read::funnel::each_user(
            &mut snapshot,
            project.id,
            &self.steps,
            self.breakdown.as_ref(),
            self.span(project),
            |user_no, events| {
                let is_much = events.len() * self.steps.len() >= MUCH;
                work::long_if(is_much, || funnel.count(user_no, events));
                if funnel.values() > MOST_VALUES { Err(StoreError::TooManyRows(MOST_VALUES)) } else { Ok(()) }
            },
        )
        .await?;
        Ok(funnel)
    }
}
