//! What a transaction adds to activity: a delta per project, event type and hour, and one of all types together.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use roaring::RoaringBitmap;
use sqlx::PgConnection;

use crate::{
    project::ProjectId,
    store::{StoreError, activity::TOGETHER},
};

/// Deltas that are being summed up.
#[derive(Default)]
pub struct Deltas<'a> {
    of: BTreeMap<(ProjectId, &'a str, NaiveDateTime), (RoaringBitmap, i64)>,
}

impl<'a> Deltas<'a> {
    /// An event of an hour, and its user.
    pub fn add(
        &mut self,
        project_id: ProjectId,
        event_type: &'a str,
        hour: NaiveDateTime,
        user_no: Option<i32>,
    ) {
        let (users, events) = self.of.entry((project_id, event_type, hour)).or_default();
        users.extend(user_no.map(i32::cast_unsigned));
        *events += 1;
    }

    /// Takes back an event of an hour; its user stays.
    pub fn remove(&mut self, project_id: ProjectId, event_type: &'a str, hour: NaiveDateTime) {
        let (_, events) = self.of.entry((project_id, event_type, hour)).or_default();
        *events -= 1;
    }

    fn add_totals(&mut self) {
        let mut totals: BTreeMap<_, (RoaringBitmap, i64)> = BTreeMap::new();
        for (&(project_id, _, hour), (users, events)) in &self.of {
            let total = totals.entry((project_id, TOGETHER, hour)).or_default();
            total.0 |= users;
            total.1 += events;
        }
        self.of.append(&mut totals);
    }

    /// Writes them, and their totals.
    pub async fn insert(mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        if self.of.is_empty() {
            return Ok(());
        }
        self.add_totals();
        let (mut project_ids, mut event_types, mut hours) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bitmaps, mut counts) = (Vec::new(), Vec::new());
        for ((project_id, event_type, hour), (mut users, events)) in self.of {
            users.optimize();
            let mut bitmap = Vec::with_capacity(users.serialized_size());
            users.serialize_into(&mut bitmap).expect("a vector takes all bytes");
            project_ids.push(project_id.get());
            event_types.push(event_type);
            hours.push(hour);
            bitmaps.push(bitmap);
            counts.push(events);
        }
        sqlx::query(
            "insert into activity (project_id, event_type, local_hour, users, events)
             select project_id, event_type, local_hour, users::roaringbitmap, events
             from unnest($1::int[], $2::text[], $3::timestamp[], $4::bytea[], $5::bigint[])
                  as delta (project_id, event_type, local_hour, users, events)",
        )
        .bind(project_ids)
        .bind(event_types)
        .bind(hours)
        .bind(bitmaps)
        .bind(counts)
        .execute(connection)
        .await?;
        Ok(())
    }
}
