//! Who is who, as events say it: one after the other, so that the first link that is stored holds, and told again it
//! changes nothing. Two users who are both known never become one by an event.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};

use super::{
    dictionary,
    known::{FoundUsers, Said, Standing, User},
    merges,
    people::{Changes, LinkRefusal, NameBefore, People, is_of_former},
};
use crate::{
    model::project::ProjectId,
    store::{BEGIN, StoreError, projects},
};

/// What must be decided in the database, because it changes something; and what is refused for sure.
pub(super) fn open<'a>(users: &HashMap<&str, User>, said: &[Said<'a>]) -> (Vec<Said<'a>>, Vec<LinkRefusal>) {
    let (mut open, mut refused) = (Vec::new(), Vec::new());
    for &said in said {
        let Some(user) = users.get(said.user_id) else {
            open.push(said);
            continue;
        };
        if said.is_anonymous || is_of_former(user.since, &said) {
            continue;
        }
        let linked = said.anonymous_id.map(|anonymous_id| users.get(anonymous_id));
        match linked {
            _ if user.standing == Standing::Anonymous => open.push(said),
            None => {}
            Some(Some(linked)) if linked.user_no == user.user_no || is_of_former(linked.since, &said) => {}
            Some(Some(User { standing: Standing::Known, .. })) => refused.push(LinkRefusal::KnownUser),
            Some(Some(User { standing: Standing::Alias, .. })) => refused.push(LinkRefusal::AliasOfAnother),
            Some(_) => open.push(said),
        }
    }
    (open, refused)
}

/// Decides it in a short transaction of its own: it holds the project's row, and two writers with new users must not wait for
/// each other's events. If the events fail afterwards, a user without events remains, which counts nowhere, or a link that the
/// events will find when they come again.
pub(super) async fn decide<'a>(
    connection: &mut PgConnection,
    project_id: ProjectId,
    said: &[Said<'a>],
) -> Result<FoundUsers<'a>, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let last = projects::lock(&mut transaction, project_id).await?;
    let mut people = People::new(names(&mut transaction, project_id, said).await?);
    let refused = said.iter().filter_map(|said| people.hear(said)).collect();
    let (users, changes) = people.settle(last.user_no);
    apply(&mut transaction, project_id, &changes).await?;
    transaction.commit().await?;
    Ok(FoundUsers { users, refused })
}

/// The names, and whose they are: as the holder of the project's lock before us has left them.
async fn names<'a>(
    transaction: &mut PgConnection,
    project_id: ProjectId,
    said: &[Said<'a>],
) -> Result<Vec<(&'a str, NameBefore)>, StoreError> {
    let mut asked: Vec<&'a str> =
        said.iter().flat_map(|said| [Some(said.user_id), said.anonymous_id]).flatten().collect();
    asked.sort_unstable();
    asked.dedup();
    let hashes: Vec<Vec<u8>> = asked.iter().map(|name| dictionary::hash(project_id, name)).collect();
    let rows: Vec<AskedName> = sqlx::query_as(
        "with known as materialized (
             select user_id, user_no, is_known, is_alias, since,
                    (select count(*) from user_aliases as alias
                     where alias.project_id = $1 and alias.user_no = user_names.user_no) as aliases
             from user_names
             where project_id = $1 and user_id = any($2)
         ), deleted as materialized (
             select user_hash, deleted_at from deleted_users where project_id = $1 and user_hash = any($3)
         )
         select user_no, is_known, is_alias, case when user_no is null then deleted_at else since end as since,
                coalesce(aliases, 0) as aliases
         from unnest($2::text[], $3::bytea[]) with ordinality as asked (user_id, user_hash, index)
              left join known using (user_id)
              left join deleted using (user_hash)
         order by index",
    )
    .bind(project_id.get())
    .bind(&asked)
    .bind(hashes)
    .fetch_all(transaction)
    .await?;
    Ok(asked.into_iter().zip(rows.into_iter().map(AskedName::into_name)).collect())
}

/// A name as the database has it.
#[derive(sqlx::FromRow)]
struct AskedName {
    user_no: Option<i32>,
    is_known: Option<bool>,
    is_alias: Option<bool>,
    since: Option<DateTime<Utc>>,
    /// Of the user.
    aliases: i64,
}

impl AskedName {
    fn into_name(self) -> NameBefore {
        let standing = dictionary::standing(self.is_known == Some(true), self.is_alias == Some(true));
        NameBefore {
            user: self.user_no.map(|user_no| (user_no, standing)),
            since: self.since,
            aliases: usize::try_from(self.aliases).unwrap_or(usize::MAX),
        }
    }
}

async fn apply(
    transaction: &mut PgConnection,
    project_id: ProjectId,
    changes: &Changes<'_>,
) -> Result<(), StoreError> {
    let Changes { new_users, new_aliases, known, merged } = changes;
    if !new_users.is_empty() {
        sqlx::query(
            "with added as (
                 insert into users (project_id, user_no, user_id, since, is_known)
                 select $1, * from unnest($2::int[], $3::text[], $4::timestamptz[], $5::bool[])
             )
             update projects set last_user_no = last_user_no + cardinality($2) where project_id = $1",
        )
        .bind(project_id.get())
        .bind(new_users.iter().map(|user| user.user_no).collect::<Vec<_>>())
        .bind(new_users.iter().map(|user| user.user_id).collect::<Vec<_>>())
        .bind(new_users.iter().map(|user| user.since).collect::<Vec<_>>())
        .bind(new_users.iter().map(|user| user.is_known).collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await?;
    }
    if !known.is_empty() {
        sqlx::query("update users set is_known = true where project_id = $1 and user_no = any($2)")
            .bind(project_id.get())
            .bind(known)
            .execute(&mut *transaction)
            .await?;
    }
    if !new_aliases.is_empty() {
        sqlx::query(
            "insert into user_aliases (project_id, user_no, user_id, since)
             select $1, * from unnest($2::int[], $3::text[], $4::timestamptz[])",
        )
        .bind(project_id.get())
        .bind(new_aliases.iter().map(|alias| alias.user_no).collect::<Vec<_>>())
        .bind(new_aliases.iter().map(|alias| alias.name).collect::<Vec<_>>())
        .bind(new_aliases.iter().map(|alias| alias.since).collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await?;
    }
    if !merged.is_empty() {
        let (from_nos, into_nos): (Vec<i32>, Vec<i32>) = merged.iter().copied().unzip();
        merges::merge_known(transaction, project_id, &from_nos, &into_nos).await?;
    }
    Ok(())
}
