//! What is asked before events are published: may the project send so many, and which of their ids are known? Redis says
//! both at once. Without it, this instance's buckets bound the rate, and stream and store remove duplicates.

use std::num::NonZeroU32;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Ingest,
    dedup::{Charge, Reservation},
};
use crate::{
    limits::rate::{Allowance, OverRate, Rate},
    model::{event::Copies, project::Project},
    telemetry::metrics,
};

/// What is known of a request's events before they are published.
pub(super) struct Checked {
    pub allowance: Allowance,
    /// For each id whether it is durable. Empty: none is.
    pub known: Vec<bool>,
    pub copies: Copies,
    pub taken: Option<Reservation>,
}

impl Ingest {
    /// Takes the token of a request that has no events, because it cannot be read: it costs as much as one.
    pub async fn charge(&self, project: &Project) -> Result<Allowance, OverRate> {
        let charge = self.charge_of(project, 1)?;
        Ok(self.check(charge, Vec::new(), Utc::now()).await?.allowance)
    }

    /// What so many events cost; none cost as much as one.
    pub(super) fn charge_of(&self, project: &Project, events: usize) -> Result<Charge, OverRate> {
        let rate = Rate::of(project, &self.rates);
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let events = NonZeroU32::new(events).unwrap_or(NonZeroU32::MIN);
        if events > rate.burst {
            return Err(OverRate::ExceedsBurst { events: events.get(), burst: rate.burst.get() });
        }
        Ok(Charge { project_id: project.id, rate, events })
    }

    /// Takes tokens, and asks which ids are known. Without Redis this instance's bucket gives the tokens, and no id is.
    pub(super) async fn check(
        &self,
        charge: Charge,
        ids: Vec<Uuid>,
        now: DateTime<Utc>,
    ) -> Result<Checked, OverRate> {
        let (verdict, known, copies, taken) = match self.deduplicator.check(charge, ids, now).await {
            Some((checked, taken)) => (checked.verdict, checked.known, checked.copies, Some(taken)),
            None => (None, Vec::new(), Copies::Unknown, None),
        };
        let here = || self.buckets.take(charge.project_id, charge.rate, charge.events);
        match verdict.unwrap_or_else(here) {
            Ok(allowance) => Ok(Checked { allowance, known, copies, taken }),
            Err(error) => {
                metrics::rate_limit_exceeded("project");
                taken.into_iter().for_each(Reservation::release);
                Err(error)
            }
        }
    }
}
