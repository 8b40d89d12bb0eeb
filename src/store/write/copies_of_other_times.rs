//! Other copies of events: one id of a project is one event, whatever its time, and the first that is stored counts. The
//! unique index recognises only copies of the same time.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::rows::EventRow;
use crate::{
    model::{event::Copies, project::ProjectId},
    store::StoreError,
};

/// How much longer a project is known as unfiltered than its newest event asks for, so that not every transaction says so
/// anew.
const SPARE: TimeDelta = TimeDelta::minutes(5);

/// What identifies an event.
type Id = (ProjectId, Uuid);

/// Takes out the events of which a copy is stored that was received within `window`. Writers with events whose copies are
/// unknown must go alone in their lane.
pub(super) async fn take_out(
    transaction: &mut PgConnection,
    rows: &mut Vec<EventRow<'_>>,
    window: TimeDelta,
) -> Result<(), StoreError> {
    // Rows are sorted by id and time.
    rows.dedup_by_key(|row| row.id());
    let doubts = Doubts::of(transaction, rows).await?;
    let doubtful: Vec<&EventRow<'_>> = rows.iter().filter(|row| doubts.applies_to(row)).collect();
    if doubtful.is_empty() {
        return Ok(());
    }
    let stored = stored(transaction, &doubtful, window).await?;
    note_contested(transaction, rows).await?;
    note_unfiltered(transaction, rows, window).await?;
    rows.retain(|row| !stored.contains(&row.id()));
    Ok(())
}

/// What is in doubt beyond what the filter has said of each event.
struct Doubts {
    unfiltered_until: BTreeMap<ProjectId, DateTime<Utc>>,
    contested: HashSet<Id>,
}

impl Doubts {
    async fn of(transaction: &mut PgConnection, rows: &[EventRow<'_>]) -> Result<Self, StoreError> {
        let mut projects: Vec<i32> = rows.iter().map(|row| row.project.id.get()).collect();
        projects.dedup();
        let found: Vec<(i32, Option<DateTime<Utc>>, bool)> = sqlx::query_as(
            "select project_id, until, exists (select from contested_ids where project_id = asked.project_id)
             from unnest($1::int[]) as asked (project_id) left join unfiltered_projects using (project_id)",
        )
        .bind(projects)
        .fetch_all(&mut *transaction)
        .await?;
        let unfiltered_until = found
            .iter()
            .filter_map(|&(project, until, _)| Some((ProjectId::from_stored(project), until?)))
            .collect();
        let with_contested: HashSet<i32> =
            found.iter().filter(|found| found.2).map(|&(project, ..)| project).collect();
        let (project_ids, event_ids) =
            ids(rows.iter().filter(|row| with_contested.contains(&row.project.id.get())));
        let contested = if event_ids.is_empty() {
            Vec::new()
        } else {
            sqlx::query_as(
                "select project_id, event_id
                 from contested_ids join unnest($1::int[], $2::uuid[]) as sent (project_id, event_id)
                      using (project_id, event_id)",
            )
            .bind(project_ids)
            .bind(event_ids)
            .fetch_all(transaction)
            .await?
        };
        Ok(Self { unfiltered_until, contested: id_set(contested) })
    }

    fn applies_to(&self, row: &EventRow<'_>) -> bool {
        row.copies != Copies::None
            || self.unfiltered_until.get(&row.project.id).is_some_and(|until| row.received_at <= *until)
            || self.contested.contains(&row.id())
    }
}

/// The ids of these rows of which an event is stored that was received within `window`.
async fn stored(
    transaction: &mut PgConnection,
    rows: &[&EventRow<'_>],
    window: TimeDelta,
) -> Result<HashSet<Id>, StoreError> {
    let oldest = rows.iter().map(|row| row.received_at).min().unwrap_or_default();
    let (project_ids, event_ids) = ids(rows.iter().copied());
    let found = sqlx::query_as(
        "select project_id, event_id
         from events join unnest($1::int[], $2::uuid[]) as sent (project_id, event_id) using (project_id, event_id)
         where received_at >= $3",
    )
    .bind(project_ids)
    .bind(event_ids)
    .bind(oldest - window)
    .fetch_all(transaction)
    .await?;
    Ok(id_set(found))
}

/// A copy of these may be stored later whose writer has no doubt.
async fn note_contested(transaction: &mut PgConnection, rows: &[EventRow<'_>]) -> Result<(), StoreError> {
    let contested = || rows.iter().filter(|row| row.copies == Copies::Beside);
    let Some(newest) = contested().map(|row| row.received_at).max() else { return Ok(()) };
    let (project_ids, event_ids) = ids(contested());
    sqlx::query(
        "insert into contested_ids (project_id, event_id, received_at)
         select project_id, event_id, $3 from unnest($1::int[], $2::uuid[]) as sent (project_id, event_id)
         on conflict (project_id, event_id) do update set received_at = excluded.received_at",
    )
    .bind(project_ids)
    .bind(event_ids)
    .bind(newest)
    .execute(transaction)
    .await?;
    Ok(())
}

/// The filter knows nothing of these, and will say of a copy within `window` that there is no other.
async fn note_unfiltered(
    transaction: &mut PgConnection,
    rows: &[EventRow<'_>],
    window: TimeDelta,
) -> Result<(), StoreError> {
    let mut until: BTreeMap<i32, DateTime<Utc>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.copies == Copies::Unknown) {
        let known = until.entry(row.project.id.get()).or_default();
        *known = (*known).max(row.received_at + window);
    }
    if until.is_empty() {
        return Ok(());
    }
    let (project_ids, until): (Vec<_>, Vec<_>) = until.into_iter().unzip();
    sqlx::query(
        "insert into unfiltered_projects (project_id, until)
         select project_id, until + $3 from unnest($1::int[], $2::timestamptz[]) as sent (project_id, until)
         on conflict (project_id) do update set until = excluded.until
         where unfiltered_projects.until < excluded.until - $3::interval",
    )
    .bind(project_ids)
    .bind(until)
    .bind(SPARE)
    .execute(transaction)
    .await?;
    Ok(())
}

fn ids<'r, 'a: 'r>(rows: impl Iterator<Item = &'r EventRow<'a>>) -> (Vec<i32>, Vec<Uuid>) {
    rows.map(|row| (row.project.id.get(), row.event.event_id)).unzip()
}

fn id_set(found: Vec<(i32, Uuid)>) -> HashSet<Id> {
    found.into_iter().map(|(project, event_id)| (ProjectId::from_stored(project), event_id)).collect()
}
