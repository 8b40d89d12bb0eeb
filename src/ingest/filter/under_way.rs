//! Which ids are under way: a request has taken them, and has not yet said what became of them. Who takes an id that another
//! request has under way cannot know which of the two the store will meet first.
//!
//! Redis has one entry for each such request, and not one for each id: an entry costs a thirtieth of what its ids would. The
//! entries of a project are read whole with each check, so they must be few. An entry goes when its request ends; if that cannot
//! say what became of its ids, they go into a set of those in doubt, and so do the ids of a request that died, after a while.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use redis::Pipeline;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Ask, Check};
use crate::project::ProjectId;

/// A request that is under way for longer is taken for dead; far longer than any takes, since instances need not have the same
/// time. If it lives, it loses nothing: what it marks as durable afterwards is found among the durable.
const LONGEST: TimeDelta = TimeDelta::minutes(10);

/// What stands for ids, 8 bytes for each. Two ids with one print are taken for the same, which costs the store a look and nothing
/// else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prints(Vec<u64>);

/// A request that is under way, as Redis knows it.
pub(super) struct Entry {
    number: Uuid,
    since: DateTime<Utc>,
    prints: Prints,
}

/// A request that ends.
pub(super) struct Release {
    pub(super) project_id: ProjectId,
    pub(super) bucket: i64,
    pub(super) number: Uuid,
    pub(super) prints: Prints,
    /// Those of its ids that are durable. They are marked so with the end of their request and not apart from it: else the one
    /// could get lost without the other, and an id would be nowhere.
    pub(super) durable: Vec<Uuid>,
    pub(super) fate: Fate,
}

/// What became of the ids of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// All are durable.
    Durable {
        contested: bool,
    },
    /// None was published.
    Unused,
    Unknown,
}

/// The ids that a request has taken. If it is dropped before that is said, nobody knows what became of them.
pub struct Taken {
    asking: mpsc::UnboundedSender<Ask>,
    /// Until it is said.
    release: Option<Release>,
    pub(super) contested: bool,
}

impl Taken {
    pub(super) fn new(asking: mpsc::UnboundedSender<Ask>, release: Release) -> Self {
        let release = Some(release).filter(|release| !release.prints.is_empty());
        Self { asking, release, contested: false }
    }

    /// Some of them are durable, and are marked so at the end.
    pub fn mark(&mut self, ids: Vec<Uuid>) {
        if let Some(release) = &mut self.release {
            release.durable = ids;
        }
    }

    /// All of them are durable: those that were marked now, and those that were before.
    pub fn are_durable(mut self) {
        self.end(Fate::Durable { contested: self.contested });
    }

    /// None of them was published.
    pub fn are_unused(mut self) {
        self.end(Fate::Unused);
    }

    fn end(&mut self, fate: Fate) {
        if let Some(release) = self.release.take() {
            self.asking.send(Ask::Release(Release { fate, ..release })).ok();
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.end(Fate::Unknown);
    }
}

impl Prints {
    pub(super) fn of(ids: &[Uuid]) -> Self {
        Self(ids.iter().map(print).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a command about a set of prints, whose answer does not matter.
    pub(super) fn command(&self, pipeline: &mut Pipeline, name: &str, key: &str) {
        self.add_to(pipeline.cmd(name).arg(key));
        pipeline.ignore();
    }

    pub(super) fn add_to(&self, command: &mut Pipeline) {
        for print in &self.0 {
            command.arg(&print.to_le_bytes());
        }
    }

    /// What Redis keeps of a request.
    pub(super) fn entry(&self, now: DateTime<Utc>) -> Vec<u8> {
        let numbers = std::iter::once(now.timestamp().cast_unsigned()).chain(self.0.iter().copied());
        numbers.flat_map(u64::to_le_bytes).collect()
    }
}

/// Ids are often random in one half, and count up in the other.
fn print(id: &Uuid) -> u64 {
    let (high, low) = id.as_u64_pair();
    high.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ low
}

impl Entry {
    /// Nobody will say what became of it.
    pub(super) fn ends_unknown(self, project_id: ProjectId, bucket: i64) -> Release {
        let Self { number, prints, .. } = self;
        Release { project_id, bucket, number, prints, durable: Vec::new(), fate: Fate::Unknown }
    }
}

/// Reads the entries of a project: numbers, and what [`Prints::entry`] has made.
pub(super) fn read(entries: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<Entry> {
    let read = |(number, entry): (Vec<u8>, Vec<u8>)| {
        let mut numbers = entry.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let since = DateTime::from_timestamp(numbers.next()?.cast_signed(), 0)?;
        Some(Entry { number: Uuid::from_slice(&number).ok()?, since, prints: Prints(numbers.collect()) })
    };
    entries.into_iter().filter_map(read).collect()
}

/// The numbers of the checks of which another request, or another of these checks, has an id under way.
pub(super) fn contested(checks: &[Check], under_way: &[Entry]) -> HashSet<Uuid> {
    let mut contested = HashSet::new();
    let own: HashSet<Uuid> = checks.iter().map(|check| check.number).collect();
    let mut others = under_way.iter().filter(|entry| !own.contains(&entry.number)).peekable();
    if checks.len() == 1 && others.peek().is_none() {
        return contested;
    }
    let prints = checks.iter().map(|check| check.prints.len()).sum();
    let mut takers: HashMap<u64, Uuid> = HashMap::with_capacity(prints);
    for Check { number, prints, .. } in checks {
        for print in &prints.0 {
            if let Some(taker) = takers.insert(*print, *number).filter(|taker| taker != number) {
                contested.extend([taker, *number]);
            }
        }
    }
    contested.extend(others.flat_map(|entry| &entry.prints.0).filter_map(|print| takers.get(print)));
    contested
}

/// Those whose requests are dead.
pub(super) fn orphans(under_way: Vec<Entry>, now: DateTime<Utc>) -> impl Iterator<Item = Entry> {
    under_way.into_iter().filter(move |entry| now - entry.since > LONGEST)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use tokio::sync::oneshot;

    use super::*;
    use crate::ingest::{filter::Charge, rate::Rate};

    fn check(number: u128, ids: &[u128]) -> Check {
        let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from_u128).collect();
        let rate = Rate { limit: NonZeroU32::MIN, burst: NonZeroU32::MIN };
        let charge = Charge { project_id: ProjectId::from_stored(1), rate, events: NonZeroU32::MIN };
        let prints = Prints::of(&ids);
        Check {
            charge,
            ids,
            prints,
            number: Uuid::from_u128(number),
            bucket: 0,
            answer: oneshot::channel().0,
        }
    }

    fn entry(of: &Check, since: DateTime<Utc>) -> (Vec<u8>, Vec<u8>) {
        (of.number.as_bytes().to_vec(), of.prints.entry(since))
    }

    #[test]
    fn who_shares_an_id_with_another_request_is_told_so() {
        let now = Utc::now();
        let checks = [check(1, &[10, 11]), check(2, &[12, 13]), check(3, &[13, 14]), check(4, &[15])];
        let mut entries: Vec<_> = checks.iter().map(|check| entry(check, now)).collect();
        let of = |numbers: &[u128]| numbers.iter().copied().map(Uuid::from_u128).collect::<HashSet<_>>();
        assert_eq!(contested(&checks, &read(entries.clone())), of(&[2, 3]), "each stands beside itself");
        assert_eq!(contested(&checks[..1], &read(entries.clone())), of(&[]));
        entries.push(entry(&check(5, &[9, 11]), now));
        assert_eq!(contested(&checks, &read(entries)), of(&[1, 2, 3]));
    }

    #[test]
    fn what_is_under_way_for_too_long_is_an_orphan() {
        let now = Utc::now();
        let (young, old) = (check(1, &[10]), check(2, &[11, 12]));
        let entries = vec![entry(&young, now), entry(&old, now - LONGEST - TimeDelta::seconds(2))];
        let orphans: Vec<_> = orphans(read(entries), now).map(|entry| (entry.number, entry.prints)).collect();
        assert_eq!(orphans, [(old.number, old.prints)]);
    }
}
