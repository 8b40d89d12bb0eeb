//! Merging users: at once in the dictionary, then in events and activity, step by step and safe to interrupt.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection, PgPool};

use super::{dictionary, traits};
use crate::model::project::ProjectId;
use crate::store::{BEGIN, StoreError, projects, read::events, to_its_end, upkeep::roll_up};

/// Aliases of a user: what one merge changes is bounded, and a name that gathers thousands of others is no person.
pub const MOST_ALIASES: usize = 1_000;

/// Merges that are carried out together: each pass looks at all bitmaps of the project.
const MERGES: i64 = 1_000;

/// What became of a request to merge. Names of users are their own, not aliases.
#[derive(Debug, PartialEq, Eq)]
pub enum Merge {
    Accepted {
        into: String,
    },
    /// Nothing is left to do: it is an alias of this user already.
    Known {
        into: String,
    },
    /// Both are this user, who cannot become their own alias.
    Same {
        user_id: String,
    },
    /// It is an alias of this user already, and not of the one asked for.
    AliasOf {
        user_id: String,
    },
    /// The user would have more than [`MOST_ALIASES`].
    TooManyAliases {
        into: String,
    },
}

/// Makes `from` an alias of the user `into`. When this returns, whatever comes under the name is `into`'s; what is stored
/// becomes theirs by [`carry_out`].
pub async fn request(
    pool: &PgPool,
    project_id: ProjectId,
    from: &str,
    into: &str,
) -> Result<Merge, StoreError> {
    to_its_end(request_owned(pool.clone(), project_id, from.to_owned(), into.to_owned())).await
}

async fn request_owned(
    pool: PgPool,
    project_id: ProjectId,
    from: String,
    into: String,
) -> Result<Merge, StoreError> {
    if from == into {
        return Ok(Merge::Same { user_id: into });
    }
    let mut transaction = pool.begin_with(BEGIN).await?;
    let last = projects::lock(&mut transaction, project_id).await?;
    let earlier = dictionary::person(&mut transaction, project_id, &from).await?;
    let mut person = dictionary::person(&mut transaction, project_id, &into).await?;
    match (&earlier, &person) {
        (Some(earlier), Some(person)) if earlier.user_no == person.user_no => {
            let user_id = person.user_id.clone();
            let same = user_id == from;
            return Ok(if same { Merge::Same { user_id } } else { Merge::Known { into: user_id } });
        }
        (Some(earlier), _) if earlier.user_id != from => {
            return Ok(Merge::AliasOf { user_id: earlier.user_id.clone() });
        }
        _ => {}
    }
    if person.is_none() {
        dictionary::add_after(&mut transaction, project_id, last.user_no, &[&into]).await?;
        person = dictionary::person(&mut transaction, project_id, &into).await?;
    }
    let person = person.ok_or(StoreError::NoUserNumber)?;
    // Whoever is somebody else by name is no visitor without one.
    sqlx::query("update users set is_known = true where project_id = $1 and user_no = $2 and not is_known")
        .bind(project_id.get())
        .bind(person.user_no)
        .execute(&mut *transaction)
        .await?;
    let aliases = person.aliases.len() + 1 + earlier.as_ref().map_or(0, |earlier| earlier.aliases.len());
    if aliases > MOST_ALIASES {
        return Ok(Merge::TooManyAliases { into: person.user_id });
    }
    match earlier {
        Some(earlier) => {
            merge_known(&mut transaction, project_id, &[earlier.user_no], &[person.user_no]).await?;
        }
        None => add_alias(&mut transaction, project_id, &from, person.user_no).await?,
    }
    transaction.commit().await?;
    Ok(Merge::Accepted { into: person.user_id })
}

/// Makes a name that nobody has an alias.
async fn add_alias(
    transaction: &mut PgConnection,
    project_id: ProjectId,
    alias: &str,
    user_no: i32,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into user_aliases (project_id, user_id, user_no, since)
         values ($1, $2, $3, (select deleted_at from deleted_users where project_id = $1 and user_hash = $4))",
    )
    .bind(project_id.get())
    .bind(alias)
    .bind(user_no)
    .bind(dictionary::hash(project_id, alias))
    .execute(transaction)
    .await?;
    Ok(())
}

/// Makes all names of users aliases of others, and notes what is to be moved. The numbers stand beside each other; nobody is
/// merged and merged into at once.
pub(super) async fn merge_known(
    transaction: &mut PgConnection,
    project_id: ProjectId,
    from_nos: &[i32],
    into_nos: &[i32],
) -> Result<(), StoreError> {
    for statement in [
        "update user_aliases set user_no = merge.into_no
         from unnest($2::int[], $3::int[]) as merge (from_no, into_no)
         where project_id = $1 and user_no = merge.from_no",
        "with gone as (
             delete from users using unnest($2::int[], $3::int[]) as merge (from_no, into_no)
             where project_id = $1 and user_no = merge.from_no
             returning user_id, merge.into_no, since
         )
         insert into user_aliases (project_id, user_id, user_no, since) select $1, gone.* from gone",
        "update user_merges set into_no = merge.into_no
         from unnest($2::int[], $3::int[]) as merge (from_no, into_no)
         where project_id = $1 and user_merges.into_no = merge.from_no",
        "update former_users set into_no = merge.into_no
         from unnest($2::int[], $3::int[]) as merge (from_no, into_no)
         where project_id = $1 and former_users.into_no = merge.from_no",
        "insert into user_merges (project_id, from_no, into_no, requested_at)
         select $1, from_no, into_no, now() from unnest($2::int[], $3::int[]) as merge (from_no, into_no)",
    ] {
        sqlx::query(statement)
            .bind(project_id.get())
            .bind(from_nos)
            .bind(into_nos)
            .execute(&mut *transaction)
            .await?;
    }
    Ok(())
}

/// Moves what merged users have stored; their number, or nothing if someone else is at it.
pub async fn carry_out(pool: &PgPool) -> Result<Option<usize>, StoreError> {
    // Without activity being rolled up, which moves the rows that are changed here.
    roll_up::alone(pool, async |connection| carry_out_on(connection).await).await
}

/// Users of one project who become others: the numbers stand beside each other, `from_nos` in their order.
#[derive(Default)]
struct Moves {
    from_nos: Vec<i32>,
    into_nos: Vec<i32>,
}

async fn carry_out_on(connection: &mut PgConnection) -> Result<usize, StoreError> {
    let rows: Vec<(i32, i32, i32)> = sqlx::query_as(
        "select project_id, from_no, into_no
         from (select project_id, from_no, into_no from user_merges order by requested_at limit $1) as oldest
         order by from_no",
    )
    .bind(MERGES)
    .fetch_all(&mut *connection)
    .await?;
    let merges = rows.len();
    if merges == 0 {
        return Ok(0);
    }
    // Until now writers may have known these users by their former numbers, which costs nothing: what they wrote is moved.
    // Once for all, so that many merges do not keep writers busy with looking users up.
    sqlx::query(
        "with next as (
             update upkeep set users_generation = users_generation + 1 returning users_generation
         )
         update user_merges set generation = users_generation
         from next, unnest($1::int[], $2::int[]) as begun (project_id, from_no)
         where user_merges.project_id = begun.project_id and user_merges.from_no = begun.from_no",
    )
    .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1).collect::<Vec<_>>())
    .execute(&mut *connection)
    .await?;
    sqlx::query("select wait_for_writers()").execute(&mut *connection).await?;
    let mut of_projects: BTreeMap<i32, Moves> = BTreeMap::new();
    for (project_id, from_no, into_no) in rows {
        let moves = of_projects.entry(project_id).or_default();
        moves.from_nos.push(from_no);
        moves.into_nos.push(into_no);
    }
    for (project_id, moves) in of_projects {
        while !carry_out_some(connection, ProjectId::from_stored(project_id), &moves).await? {}
    }
    Ok(merges)
}

/// Moves some events; with the last of them the bits, so that a reader sees few moved users by halves and most never. True
/// if nothing is left.
async fn carry_out_some(
    connection: &mut PgConnection,
    project_id: ProjectId,
    moves: &Moves,
) -> Result<bool, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let done = move_events(&mut transaction, project_id, moves).await?;
    if done {
        // Of times whose events are not kept any more, too.
        sqlx::query("call merge_users($1, $2, $3)")
            .bind(project_id.get())
            .bind(&moves.from_nos)
            .bind(&moves.into_nos)
            .execute(&mut *transaction)
            .await?;
        traits::merge(&mut transaction, project_id, &moves.from_nos, &moves.into_nos).await?;
        // One that was merged further meanwhile stays, for what has been moved only so far.
        sqlx::query(
            "with moved as (
                 delete from user_merges using unnest($2::int[], $3::int[]) as done (from_no, into_no)
                 where project_id = $1 and user_merges.from_no = done.from_no and user_merges.into_no = done.into_no
                 returning user_merges.from_no, user_merges.into_no, generation
             )
             insert into former_users (project_id, from_no, into_no, generation)
             select $1, moved.* from moved
             on conflict (project_id, from_no) do update
             set into_no = excluded.into_no, generation = excluded.generation, moved_at = excluded.moved_at",
        )
        .bind(project_id.get())
        .bind(&moves.from_nos)
        .bind(&moves.into_nos)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(done)
}

/// Moves some events, the newest first; true if these were all.
async fn move_events(
    transaction: &mut PgConnection,
    project_id: ProjectId,
    moves: &Moves,
) -> Result<bool, StoreError> {
    let begin = events::begin_of_step(transaction, project_id, &moves.from_nos).await?;
    sqlx::query(
        "update events set user_no = merge.into_no
         from unnest($2::int[], $3::int[]) as merge (from_no, into_no)
         where project_id = $1 and user_no = merge.from_no and occurred_at >= coalesce($4, '-infinity')",
    )
    .bind(project_id.get())
    .bind(&moves.from_nos)
    .bind(&moves.into_nos)
    .bind(begin)
    .execute(transaction)
    .await?;
    Ok(begin.is_none())
}

/// Forgets who users were who were moved before the last roll-up and longer ago than any question takes.
pub(crate) async fn forget(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("delete from former_users where moved_at < now() - interval '2 minutes'")
        .execute(connection)
        .await?;
    Ok(())
}

/// Merges that are not complete, and since when the oldest waits.
pub async fn waiting(pool: &PgPool) -> Result<(i64, Option<DateTime<Utc>>), StoreError> {
    Ok(sqlx::query_as("select count(*), min(requested_at) from user_merges").fetch_one(pool).await?)
}
