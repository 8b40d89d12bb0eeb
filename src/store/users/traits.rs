//! What is known of users besides their names: of everything that was said of a trait, the value that wins. It does not
//! matter in which order it comes, nor how often.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::PgConnection;

use crate::{
    model::{event::AboutUser, project::ProjectId},
    store::StoreError,
};

/// Traits of a user.
pub const MOST_TRAITS: i64 = 100;
/// Bytes of a trait's name.
const LONGEST_NAME: usize = 200;
/// Bytes of a value, as it was sent.
const LONGEST_VALUE: usize = 1_024;

/// What a transaction says of users, as columns.
#[derive(Default)]
pub(crate) struct Told {
    project_ids: Vec<i32>,
    user_nos: Vec<i32>,
    names: Vec<String>,
    values: Vec<String>,
    times: Vec<DateTime<Utc>>,
    are_initial: Vec<bool>,
    pub refused: RefusedTraits,
}

/// Traits that are not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedTraits {
    /// Because name or value is too long.
    pub too_long: usize,
    /// Because the user has [`MOST_TRAITS`] others.
    pub too_many: usize,
}

impl Told {
    /// What an event says of its user.
    pub fn add(&mut self, project_id: ProjectId, user_no: i32, about: &AboutUser<'_>, at: DateTime<Utc>) {
        for (traits, is_initial) in [(&about.traits, false), (&about.initial_traits, true)] {
            let Some(traits) = traits else { continue };
            // Of several values under one name the last is taken, as jsonb does. Validation has read it before.
            let traits: BTreeMap<String, &RawValue> = serde_json::from_str(traits).unwrap_or_default();
            for (name, value) in traits {
                let value = value.get();
                if is_initial && value == "null" {
                    continue;
                }
                if name.len() > LONGEST_NAME || value.len() > LONGEST_VALUE {
                    self.refused.too_long += 1;
                    continue;
                }
                self.project_ids.push(project_id.get());
                self.user_nos.push(user_no);
                self.names.push(name);
                self.values.push(value.to_owned());
                self.times.push(at);
                self.are_initial.push(is_initial);
            }
        }
    }

    /// Keeps what wins, in the transaction that has agreed on the numbers of users.
    pub async fn keep(
        mut self,
        transaction: &mut PgConnection,
        deleted_projects: &[i32],
    ) -> Result<RefusedTraits, StoreError> {
        if self.names.is_empty() {
            return Ok(self.refused);
        }
        // In the order of the key: writers with the same users meet them in the same order.
        let too_many: i64 = sqlx::query_scalar(
            "with told as materialized (
                 select project_id, user_no, name, value::jsonb, set_at, is_initial
                 from unnest($1::int[], $2::int[], $3::text[], $4::text[], $5::timestamptz[], $6::bool[])
                      as told (project_id, user_no, name, value, set_at, is_initial)
                 where project_id <> all($8)
             ), winning as (
                 select distinct on (project_id, user_no, name) told.*
                 from told
                 order by project_id, user_no, name, is_initial, case when is_initial then set_at end,
                          set_at desc, value::text collate \"C\" desc
             ), placed as (
                 select winning.*, known.name is not null or (
                            select count(*) from user_traits as other
                            where other.project_id = winning.project_id and other.user_no = winning.user_no
                        ) + row_number() over (
                            partition by project_id, user_no order by known.name is not null, name
                        ) <= $7 as has_room
                 from winning left join user_traits as known using (project_id, user_no, name)
             ), kept as (
                 insert into user_traits as kept (project_id, user_no, name, value, set_at, is_initial)
                 select project_id, user_no, name, value, set_at, is_initial from placed where has_room
                 order by project_id, user_no, name
                 on conflict (project_id, user_no, name) do update
                 set value = excluded.value, set_at = excluded.set_at, is_initial = excluded.is_initial
                 where trait_wins(excluded, kept)
             )
             select count(*) from placed where not has_room",
        )
        .bind(self.project_ids)
        .bind(self.user_nos)
        .bind(self.names)
        .bind(self.values)
        .bind(self.times)
        .bind(self.are_initial)
        .bind(MOST_TRAITS)
        .bind(deleted_projects)
        .fetch_one(transaction)
        .await?;
        self.refused.too_many += usize::try_from(too_many).unwrap_or(0);
        Ok(self.refused)
    }
}

/// Gives the traits of merged users to those they became: what wins, as if it had been said of them.
pub(super) async fn merge(
    transaction: &mut PgConnection,
    project_id: ProjectId,
    from_nos: &[i32],
    into_nos: &[i32],
) -> Result<(), StoreError> {
    let moved: Vec<(i32, String, String, DateTime<Utc>, bool)> = sqlx::query_as(
        "delete from user_traits using unnest($2::int[], $3::int[]) as merge (from_no, into_no)
         where project_id = $1 and user_no = merge.from_no
         returning merge.into_no, name, value::text, set_at, is_initial",
    )
    .bind(project_id.get())
    .bind(from_nos)
    .bind(into_nos)
    .fetch_all(&mut *transaction)
    .await?;
    let mut told = Told::default();
    for (user_no, name, value, set_at, is_initial) in moved {
        told.project_ids.push(project_id.get());
        told.user_nos.push(user_no);
        told.names.push(name);
        told.values.push(value);
        told.times.push(set_at);
        told.are_initial.push(is_initial);
    }
    told.keep(transaction, &[]).await?;
    Ok(())
}

/// The traits of a user, as a JSON object: also those of users who are about to become this one.
pub async fn of_user(
    connection: &mut PgConnection,
    project_id: ProjectId,
    user_no: i32,
) -> Result<String, StoreError> {
    let query = sqlx::query_scalar(
        "select coalesce(jsonb_object_agg(name, value) filter (where value <> 'null'), '{}')::text
         from (
             select distinct on (name) name, value
             from user_traits
             where project_id = $1 and user_no = any(
                 array(select $2 union all select from_no from user_merges where project_id = $1 and into_no = $2)
             )
             order by name, is_initial, case when is_initial then set_at end, set_at desc,
                      value::text collate \"C\" desc
         ) as winning",
    );
    Ok(query.bind(project_id.get()).bind(user_no).fetch_one(connection).await?)
}
