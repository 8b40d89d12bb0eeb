//! Who is who by what is said, one after the other: pure, of the names as they are.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{
    known::{Said, Standing, User},
    merges::MOST_ALIASES,
};

/// Why an id from before a login does not become an alias. The event is stored all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkRefusal {
    /// Somebody came with it as their own id.
    KnownUser,
    AliasOfAnother,
    /// The user would have more than [`MOST_ALIASES`].
    TooManyAliases,
}

impl LinkRefusal {
    /// A stable name; metrics count by it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::KnownUser => "known_user",
            Self::AliasOfAnother => "alias_of_another",
            Self::TooManyAliases => "too_many_aliases",
        }
    }
}

/// A name that something is said of, as it was before.
pub(super) struct NameBefore {
    /// Whose it is; nothing: nobody's.
    pub user: Option<(i32, Standing)>,
    /// When the user was deleted who had it before.
    pub since: Option<DateTime<Utc>>,
    /// Of the user.
    pub aliases: usize,
}

/// The people behind names.
#[derive(Default)]
pub(super) struct People<'a> {
    /// In the order in which they were first heard of, which is that of new numbers.
    people: Vec<Individual<'a>>,
    names: HashMap<&'a str, Heard>,
}

struct Individual<'a> {
    /// Nothing: the user is new.
    user_no: Option<i32>,
    user_id: &'a str,
    becomes_known: bool,
    aliases: usize,
    merged_into: Option<usize>,
}

/// What is heard of a name.
struct Heard {
    /// The index of the individual, and what it is to them.
    of: Option<(usize, Standing)>,
    since: Option<DateTime<Utc>>,
    is_new: bool,
}

/// What is to be changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes<'a> {
    pub new_users: Vec<NewUser<'a>>,
    pub new_aliases: Vec<NewAlias<'a>>,
    /// Users of whom only an id from before a login was known.
    pub known: Vec<i32>,
    /// Users who are others.
    pub merged: Vec<(i32, i32)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewUser<'a> {
    pub user_no: i32,
    pub user_id: &'a str,
    pub since: Option<DateTime<Utc>>,
    pub is_known: bool,
}

/// A name that nobody had.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewAlias<'a> {
    pub name: &'a str,
    pub user_no: i32,
    pub since: Option<DateTime<Utc>>,
}

/// Whether it was said of somebody who was deleted since.
pub(super) fn is_of_former(since: Option<DateTime<Utc>>, said: &Said<'_>) -> bool {
    since.is_some_and(|since| said.received_at <= since)
}

impl<'a> People<'a> {
    pub fn new(names: Vec<(&'a str, NameBefore)>) -> Self {
        let mut people = Self::default();
        let mut by_number = HashMap::new();
        for (user_id, NameBefore { user, since, aliases }) in names {
            let of = user.map(|(user_no, standing)| {
                let individual = *by_number.entry(user_no).or_insert_with(|| {
                    people.add(Individual { user_no: Some(user_no), aliases, ..Individual::new(user_id) })
                });
                (individual, standing)
            });
            people.names.insert(user_id, Heard { of, since, is_new: user.is_none() });
        }
        people
    }

    fn add(&mut self, individual: Individual<'a>) -> usize {
        self.people.push(individual);
        self.people.len() - 1
    }

    /// Hears what an event says, all of whose names are among those that were given; why its link is refused, if it is.
    pub fn hear(&mut self, said: &Said<'a>) -> Option<LinkRefusal> {
        let is_unheard_of = self.names[said.user_id].of.is_none();
        let new = is_unheard_of.then(|| (self.add(Individual::new(said.user_id)), Standing::Anonymous));
        let heard = self.names.get_mut(said.user_id)?;
        heard.of = heard.of.or(new);
        let (individual, standing) = heard.of.as_mut()?;
        if said.is_anonymous || is_of_former(heard.since, said) {
            return None;
        }
        let individual = *individual;
        if *standing == Standing::Anonymous {
            *standing = Standing::Known;
            self.people[individual].becomes_known = true;
        }

        let heard = self.names.get_mut(said.anonymous_id?)?;
        match heard.of {
            _ if is_of_former(heard.since, said) => return None,
            Some((other, _)) if other == individual => return None,
            Some((_, Standing::Known)) => return Some(LinkRefusal::KnownUser),
            Some((_, Standing::Alias)) => return Some(LinkRefusal::AliasOfAnother),
            _ if self.people[individual].aliases >= MOST_ALIASES => return Some(LinkRefusal::TooManyAliases),
            None => {}
            Some((other, Standing::Anonymous)) => self.people[other].merged_into = Some(individual),
        }
        heard.of = Some((individual, Standing::Alias));
        self.people[individual].aliases += 1;
        None
    }

    /// The users of all names that anybody has, and what must be changed for that. New numbers follow `last_no`.
    pub fn settle(self, mut last_no: i32) -> (HashMap<&'a str, User>, Changes<'a>) {
        let Self { people, names } = self;
        let mut changes = Changes::default();
        let mut numbers = Vec::with_capacity(people.len());
        for individual in &people {
            let user_no = individual.user_no.unwrap_or_else(|| {
                last_no += i32::from(individual.merged_into.is_none());
                last_no
            });
            numbers.push(user_no);
            match individual {
                Individual { merged_into: Some(_), .. } => {}
                Individual { user_no: None, user_id, becomes_known, .. } => changes.new_users.push(NewUser {
                    user_no,
                    user_id,
                    since: names[user_id].since,
                    is_known: *becomes_known,
                }),
                Individual { becomes_known: true, .. } => changes.known.push(user_no),
                Individual { .. } => {}
            }
        }
        for individual in &people {
            if let (Some(from_no), Some(into)) = (individual.user_no, individual.merged_into) {
                changes.merged.push((from_no, numbers[into]));
            }
        }
        let mut users = HashMap::with_capacity(names.len());
        for (name, Heard { of, since, is_new }) in names {
            let Some((individual, standing)) = of else { continue };
            let user_no = numbers[individual];
            if is_new && standing == Standing::Alias {
                changes.new_aliases.push(NewAlias { name, user_no, since });
            }
            users.insert(name, User { user_no, since, standing });
        }
        (users, changes)
    }
}

impl<'a> Individual<'a> {
    /// Somebody who was never heard of.
    fn new(user_id: &'a str) -> Self {
        Self { user_no: None, user_id, becomes_known: false, aliases: 0, merged_into: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODYS: Option<(i32, Standing)> = None;

    fn said<'a>(user_id: &'a str, anonymous_id: Option<&'a str>, received_at: i64) -> Said<'a> {
        let received_at = DateTime::from_timestamp(received_at, 0).expect("a time");
        Said { user_id, is_anonymous: false, anonymous_id, received_at }
    }

    fn before(user: Option<(i32, Standing)>, since: Option<i64>) -> NameBefore {
        let since = since.and_then(|since| DateTime::from_timestamp(since, 0));
        NameBefore { user, since, aliases: 0 }
    }

    #[test]
    fn a_visitor_who_logs_in_within_a_transaction_is_never_moved() {
        let mut people =
            People::new(vec![("alice", before(NOBODYS, None)), ("phone", before(NOBODYS, None))]);
        assert_eq!(people.hear(&Said { is_anonymous: true, ..said("phone", None, 1) }), None);
        assert_eq!(people.hear(&said("alice", Some("phone"), 1)), None);
        assert_eq!(people.hear(&said("alice", Some("phone"), 1)), None, "told again");
        let (users, changes) = people.settle(7);
        assert_eq!((users["phone"].user_no, users["phone"].standing), (8, Standing::Alias));
        let alice = NewUser { user_no: 8, user_id: "alice", since: None, is_known: true };
        let phone = NewAlias { name: "phone", user_no: 8, since: None };
        let expected = Changes { new_users: vec![alice], new_aliases: vec![phone], ..Changes::default() };
        assert_eq!(changes, expected);
    }

    #[test]
    fn the_first_link_holds_and_known_users_stay_apart() {
        let names = vec![
            ("alice", before(Some((1, Standing::Known)), None)),
            ("ben", before(Some((2, Standing::Anonymous)), None)),
            ("phone", before(Some((3, Standing::Anonymous)), None)),
        ];
        let mut people = People::new(names);
        assert_eq!(people.hear(&said("alice", Some("phone"), 1)), None);
        assert_eq!(people.hear(&said("ben", Some("phone"), 1)), Some(LinkRefusal::AliasOfAnother));
        assert_eq!(people.hear(&said("alice", Some("ben"), 1)), Some(LinkRefusal::KnownUser));
        let (_, changes) = people.settle(7);
        assert_eq!(changes, Changes { known: vec![2], merged: vec![(3, 1)], ..Changes::default() });
    }

    #[test]
    fn what_was_said_before_a_deletion_links_nobody() {
        let names =
            vec![("alice", before(Some((1, Standing::Known)), None)), ("phone", before(NOBODYS, Some(5)))];
        let mut people = People::new(names);
        assert_eq!(people.hear(&said("alice", Some("phone"), 5)), None);
        assert_eq!(people.settle(7).1, Changes::default());
    }
}
