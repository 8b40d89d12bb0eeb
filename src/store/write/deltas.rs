//! What a transaction adds to activity: a delta per project, event type and hour, and one of all types together; beside
//! those of all values together the same for each value of a promoted property.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use roaring::RoaringBitmap;
use sqlx::PgConnection;

use crate::{
    model::project::ProjectId,
    store::{
        StoreError,
        read::source::{ALL_TYPES, ALL_VALUES},
    },
};

/// Deltas that are being summed up.
#[derive(Default)]
pub struct Deltas<'a> {
    of: BTreeMap<DeltaKey<'a>, (RoaringBitmap, i64)>,
}

/// Project, event type, number of a value, hour.
type DeltaKey<'a> = (ProjectId, &'a str, i32, NaiveDateTime);

impl<'a> Deltas<'a> {
    /// An event of an hour, its values of promoted properties, and its user.
    pub fn add(
        &mut self,
        project_id: ProjectId,
        event_type: &'a str,
        value_nos: &[i32],
        hour: NaiveDateTime,
        user_no: Option<i32>,
    ) {
        for value_no in std::iter::once(ALL_VALUES).chain(value_nos.iter().copied()) {
            let (users, events) = self.of.entry((project_id, event_type, value_no, hour)).or_default();
            users.extend(user_no.map(i32::cast_unsigned));
            *events += 1;
        }
    }

    /// Takes back an event of an hour; its user stays.
    pub fn remove(
        &mut self,
        project_id: ProjectId,
        event_type: &'a str,
        value_nos: &[i32],
        hour: NaiveDateTime,
    ) {
        for value_no in std::iter::once(ALL_VALUES).chain(value_nos.iter().copied()) {
            let (_, events) = self.of.entry((project_id, event_type, value_no, hour)).or_default();
            *events -= 1;
        }
    }

    fn add_totals(&mut self) {
        let mut totals: BTreeMap<_, (RoaringBitmap, i64)> = BTreeMap::new();
        for (&(project_id, _, value_no, hour), (users, events)) in &self.of {
            let total = totals.entry((project_id, ALL_TYPES, value_no, hour)).or_default();
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
        let (mut value_nos, mut bitmaps, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for ((project_id, event_type, value_no, hour), (mut users, events)) in self.of {
            users.optimize();
            let mut bitmap = Vec::with_capacity(users.serialized_size());
            users.serialize_into(&mut bitmap).expect("a vector takes all bytes");
            project_ids.push(project_id.get());
            event_types.push(event_type);
            value_nos.push(value_no);
            hours.push(hour);
            bitmaps.push(bitmap);
            counts.push(events);
        }
        sqlx::query(
            "insert into activity (project_id, event_type, value_no, local_hour, users, events)
             select project_id, event_type, value_no, local_hour, users::roaringbitmap, events
             from unnest($1::int[], $2::text[], $3::int[], $4::timestamp[], $5::bytea[], $6::bigint[])
                  as delta (project_id, event_type, value_no, local_hour, users, events)",
        )
        .bind(project_ids)
        .bind(event_types)
        .bind(value_nos)
        .bind(hours)
        .bind(bitmaps)
        .bind(counts)
        .execute(connection)
        .await?;
        Ok(())
    }
}
