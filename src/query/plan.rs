//! Where the parts of a query are read from: decided once, in the first round trip of its snapshot.

use crate::{
    model::project::ProjectId,
    store::{
        StoreError,
        read::{
            snapshot::{Reader, Snapshot},
            source::{QueryPart, Source, sources},
        },
    },
};

/// A snapshot, and where in it each part of a query is read from.
pub(super) struct Plan<const N: usize> {
    pub snapshot: Snapshot,
    /// In the order of the parts.
    pub sources: [Source; N],
}

impl<const N: usize> Plan<N> {
    /// With a permit to read events if a part needs one, or if the query `reads_events` whatever activity knows.
    pub(super) async fn new(
        reader: &Reader,
        project_id: ProjectId,
        parts: [QueryPart<'_>; N],
        reads_events: bool,
    ) -> Result<Self, StoreError> {
        if reads_events || parts.iter().any(|part| part.needs_events()) {
            return Self::of(reader.snapshot_with_permit(project_id).await?, project_id, parts).await;
        }
        let Self { snapshot, sources } = Self::of(reader.snapshot().await?, project_id, parts).await?;
        if !sources.contains(&Source::Events) {
            return Ok(Self { snapshot, sources });
        }
        // Whoever waits for a permit holds no connection.
        drop(snapshot);
        let snapshot = reader.snapshot_with_permit(project_id).await?;
        if sources.iter().all(|source| *source == Source::Events) {
            return Ok(Self { snapshot, sources }); // events know every answer
        }
        Self::of(snapshot, project_id, parts).await // this is another moment
    }

    async fn of(
        mut snapshot: Snapshot,
        project_id: ProjectId,
        parts: [QueryPart<'_>; N],
    ) -> Result<Self, StoreError> {
        let sources = sources(&mut snapshot, project_id, parts).await?;
        Ok(Self { snapshot, sources })
    }
}
