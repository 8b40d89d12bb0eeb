//! Random histories of people with devices, against a definition of who is who.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::json;

use super::{deletions::differences, identities::send, merges::settled};
use crate::support::Weir;

/// Who is who, as [docs/identities.md] says it: one event after the other.
#[derive(Default)]
struct Definition {
    person_of: HashMap<String, String>,
    known: HashSet<String>,
}

impl Definition {
    fn person(&self, name: &str) -> String {
        self.person_of.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    fn hear(&mut self, user_id: Option<&str>, anonymous_id: Option<&str>) {
        let Some(user_id) = user_id else { return };
        let person = self.person(user_id);
        self.known.insert(person.clone());
        let Some(anonymous_id) = anonymous_id else { return };
        let is_free = !self.known.contains(anonymous_id) && !self.person_of.contains_key(anonymous_id);
        if is_free && anonymous_id != person {
            self.person_of.insert(anonymous_id.to_owned(), person);
        }
    }
}

/// `user_id`, `anonymous_id`, and the day.
type Told = (Option<String>, Option<String>, u32);

/// Histories of people with devices, some of which several people use, and some of whose names are somebody's own id.
#[tokio::test]
async fn a_thousand_random_histories_end_as_they_are_defined() {
    const HISTORIES: usize = 1_000;
    let seed =
        std::env::var("WEIR_ORACLE_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    // One transaction after the other: of conflicting links the first holds.
    let mut weir = Weir::start_with(&[("WEIR_WRITERS", "1")]).await;
    let project = weir.project("p", "UTC").await;
    let mut histories: Vec<Vec<Told>> = Vec::new();
    for n in 0..HISTORIES {
        let (people, devices) = (rng.random_range(1..4), rng.random_range(1..5));
        let has_conflicts = n % 2 == 0;
        let mut history = Vec::new();
        for _ in 0..rng.random_range(1..16) {
            let device = rng.random_range(0..devices);
            let owner = if has_conflicts { rng.random_range(0..people) } else { device % people };
            let mut device = format!("h{n}-device-{device}");
            let mut person = format!("h{n}-person-{owner}");
            if has_conflicts && rng.random_bool(0.2) {
                std::mem::swap(&mut device, &mut person);
            }
            let (user_id, anonymous_id) = match rng.random_range(0..4) {
                0 => (Some(person), None),
                1 => (Some(person), Some(device)),
                _ => (None, Some(device)),
            };
            history.push((user_id, anonymous_id, rng.random_range(0..30)));
        }
        histories.push(history);
    }
    // Side by side, each in its order: first those with conflicts, whose order must be that of the stream, and then those that
    // may come in any.
    let mut waiting: Vec<usize> =
        histories.iter().enumerate().flat_map(|(n, history)| vec![n; history.len()]).collect();
    waiting.shuffle(&mut rng);
    waiting.sort_by_key(|n| n % 2);
    let with_conflicts = waiting.iter().filter(|n| *n % 2 == 0).count();
    let mut next = vec![0; HISTORIES];
    let mut definition = Definition::default();
    let mut told: Vec<(String, u32)> = Vec::new();
    let mut events = Vec::new();
    for n in waiting {
        let (user_id, anonymous_id, day) = histories[n][next[n]].clone();
        next[n] += 1;
        definition.hear(user_id.as_deref(), anonymous_id.as_deref());
        told.push((user_id.clone().or_else(|| anonymous_id.clone()).unwrap(), day));
        let at = format!("2024-04-{:02}T{:02}:00:00Z", day + 1, rng.random_range(0..24));
        events.push(json!({"event_id": format!("e-{}", told.len()), "user_id": user_id, "occurred_at": at,
                           "anonymous_id": anonymous_id, "event_type": format!("t{}", n % 3)}));
    }
    let number = events.len();
    let mut sent = 0;
    while sent < number {
        let end = if sent < with_conflicts { with_conflicts } else { number };
        let size = rng.random_range(1..120).min(end - sent);
        send(&weir, &project, &events[sent..sent + size]).await;
        sent += size;
        if sent == with_conflicts {
            weir.wait_until_drained().await;
        }
        if sent > with_conflicts && rng.random_bool(0.05) {
            weir.worker.kill().await;
            weir.start_worker().await;
        }
    }
    weir.wait_for_events(i64::try_from(number).unwrap()).await;
    settled(&weir).await;
    assert_eq!(differences(&weir).await, [], "seed {seed}");

    let names: Vec<(String, String)> = sqlx::query_as(
        "select user_names.user_id, users.user_id from user_names join users using (project_id, user_no)",
    )
    .fetch_all(&weir.pool)
    .await
    .unwrap();
    let expected: BTreeSet<(String, String)> = histories
        .iter()
        .flatten()
        .flat_map(|(user_id, anonymous_id, _)| [user_id, anonymous_id])
        .flatten()
        .map(|name| (name.clone(), definition.person(name)))
        .collect();
    // A name of a link that was refused has never had an event: nobody needs to have it.
    let found: BTreeSet<(String, String)> = names.into_iter().collect();
    let missing: Vec<_> = expected.difference(&found).filter(|(name, person)| name != person).collect();
    assert!(missing.is_empty() && found.is_subset(&expected), "seed {seed}: {missing:?}");

    let mut of_days: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for (name, day) in &told {
        of_days.entry(*day).or_default().insert(definition.person(name));
    }
    let answer = weir.ask(&project, "/stats/dau?from=2024-04-01&to=2024-04-30").await;
    for day in 0..30_u32 {
        let users = answer["data"][day as usize]["active_users"].as_u64().unwrap();
        let expected = of_days.get(&day).map_or(0, BTreeSet::len);
        assert_eq!(usize::try_from(users).unwrap(), expected, "seed {seed}, day {day}");
    }
    weir.stop().await;
}
