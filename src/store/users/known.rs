//! The users of names, remembered between transactions. A name that is new gets a user, and an id from before a login
//! becomes an alias when an event says whose it is.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use sqlx::PgConnection;

use super::{dictionary, identities, people::LinkRefusal};
use crate::{
    model::project::ProjectId,
    store::{StoreError, incarnation::Generation},
};

/// Names remembered between transactions, about 400 bytes each.
const REMEMBERED: u64 = 300_000;
/// Moved users that are remembered; with more, all names are looked up again.
const MOST_MOVED: usize = 200_000;

/// Users, remembered.
#[derive(Clone)]
pub struct Users {
    names: Cache<(ProjectId, Box<str>), Remembered>,
    state: Arc<RwLock<Arc<KnownUsers>>>,
}

/// What is known of the users in the database, as it was last seen.
#[derive(Default)]
struct KnownUsers {
    /// It grows when users are deleted or merged.
    generation: Generation,
    /// What was remembered in earlier ones is looked up again.
    since: Generation,
    /// Who is meant by the numbers of users that were merged since then.
    moved: HashMap<(ProjectId, i32), i32>,
}

/// What the dictionary says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub user_no: i32,
    /// Who had this name before was deleted then, and what was received under it until then is not this user's.
    pub since: Option<DateTime<Utc>>,
    pub standing: Standing,
}

/// What a name is to its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// An id from before a login, and all that is known of the user.
    Anonymous,
    /// The user's own id.
    Known,
    Alias,
}

#[derive(Clone, Copy)]
struct Remembered {
    user: User,
    since: Generation,
}

/// What an event says of who its user is.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    pub user_id: &'a str,
    /// Whether that is an id from before a login.
    pub is_anonymous: bool,
    /// The user's id from before the login.
    pub anonymous_id: Option<&'a str>,
    pub received_at: DateTime<Utc>,
}

/// The users of events, by each of the names in them.
#[derive(Debug, Default)]
pub struct FoundUsers<'a> {
    pub users: HashMap<&'a str, User>,
    /// Links that were not made.
    pub refused: Vec<LinkRefusal>,
}

impl Default for Users {
    fn default() -> Self {
        Self { names: Cache::new(REMEMBERED), state: Arc::default() }
    }
}

impl Users {
    /// The generation whose users [`Users::find_or_add`] gives. Whoever uses their numbers must make sure, in the
    /// transaction in which they are used, that it is still that of the database.
    pub(crate) fn generation(&self) -> Generation {
        self.state().generation
    }

    fn state(&self) -> Arc<KnownUsers> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Learns what has become of the users. It may be an earlier generation: of an older copy of the database.
    pub(crate) async fn catch_up(
        &self,
        connection: &mut PgConnection,
        generation: Generation,
    ) -> Result<(), StoreError> {
        let state = self.state();
        let mut next = KnownUsers { generation, since: generation, moved: HashMap::new() };
        if state.generation.0 == generation.0
            && let Some(moves) = moves_between(connection, state.generation.1, generation.1).await?
            && state.moved.len() + moves.len() <= MOST_MOVED
        {
            next.since = state.since;
            next.moved = state.moved.iter().map(|(&from, &into)| (from, into)).chain(moves).collect();
        }
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    /// The users of names in events, told in the order of the events. Who is new gets a number, and what is said of who is who
    /// is carried out. What is known costs no statement.
    pub async fn find_or_add<'a>(
        &self,
        connection: &mut PgConnection,
        project_id: ProjectId,
        said: &[Said<'a>],
    ) -> Result<FoundUsers<'a>, StoreError> {
        let state = self.state();
        let mut users = HashMap::with_capacity(said.len());
        let mut unknown = HashSet::new();
        for name in said.iter().flat_map(|said| [Some(said.user_id), said.anonymous_id]).flatten() {
            if users.contains_key(name) || unknown.contains(name) {
                continue;
            }
            match self.names.get(&(project_id, name.into())).filter(|known| known.since == state.since) {
                Some(known) => drop(users.insert(name, state.present(project_id, known.user))),
                None => drop(unknown.insert(name)),
            }
        }
        if !unknown.is_empty() {
            let unknown: Vec<&str> = unknown.into_iter().collect();
            for (name, user) in dictionary::find(connection, project_id, &unknown).await? {
                self.remember(project_id, name, user, &state);
                users.insert(name, user);
            }
        }
        let (open, mut refused) = identities::open(&users, said);
        if !open.is_empty() {
            let decided = identities::decide(connection, project_id, &open).await?;
            for (name, user) in decided.users {
                self.remember(project_id, name, user, &state);
                users.insert(name, user);
            }
            refused.extend(decided.refused);
        }
        Ok(FoundUsers { users, refused })
    }

    fn remember(&self, project_id: ProjectId, name: &str, user: User, state: &KnownUsers) {
        self.names.insert((project_id, name.into()), Remembered { user, since: state.since });
    }
}

impl KnownUsers {
    /// A user who may have been merged since the name was looked up.
    fn present(&self, project_id: ProjectId, mut user: User) -> User {
        while let Some(&into_no) = self.moved.get(&(project_id, user.user_no)) {
            user.user_no = into_no;
        }
        user
    }
}

/// The users who were merged between generations; nothing, if something else has happened, too.
async fn moves_between(
    connection: &mut PgConnection,
    before: i64,
    now: i64,
) -> Result<Option<Vec<((ProjectId, i32), i32)>>, StoreError> {
    let rows: Vec<(i64, i32, i32, i32)> = sqlx::query_as(
        "select generation, project_id, from_no, into_no from present_users where generation > $1 and generation <= $2",
    )
    .bind(before)
    .bind(now)
    .fetch_all(connection)
    .await?;
    let generations: HashSet<i64> = rows.iter().map(|row| row.0).collect();
    if i64::try_from(generations.len()).ok() != Some(now - before) {
        return Ok(None);
    }
    let moves = rows
        .into_iter()
        .map(|(_, project_id, from_no, into_no)| ((ProjectId::from_stored(project_id), from_no), into_no));
    Ok(Some(moves.collect()))
}
