//! Which ids are reserved: a request has taken them, and has not yet said what became of them. Who takes an id that another
//! request has reserved cannot know which of the two the store will meet first.
//!
//! What this instance has reserved it knows itself. For the others Redis has one entry for each request, and not one for each id:
//! an entry costs a thirtieth of what its ids would. An entry goes when its request ends; if that cannot say what became of its ids,
//! they go into a set of those in doubt, and so do the ids of a request that died, after a while.

use std::{
    collections::{HashMap, HashSet, hash_map},
    fmt,
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use foldhash::fast::RandomState;
use redis::Pipeline;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Ask, Check};
use crate::model::project::ProjectId;

/// A request that has a reservation for longer is taken for dead; far longer than any takes, since instances need not have the same
/// time. If it lives, it loses nothing: what it marks as durable afterwards is found among the durable.
const LONGEST: TimeDelta = TimeDelta::minutes(10);

/// Small enough to be sent each time.
const BESIDE: &str = include_str!("beside.lua");

/// A hash whose values have up to 64 bytes is looked through from its beginning, up to 128 of them. So few prints are written
/// repeatedly.
const SMALL: usize = 8;

/// One process of the API. The numbers of its requests begin with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Instance(u64);

/// What stands for ids, 8 bytes for each. Two ids with one print are taken for the same, which costs the store a look and nothing
/// else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prints(Arc<[u64]>);

/// The requests of this instance that have reservations, and of which Redis knows.
#[derive(Default)]
pub(crate) struct OwnRequests {
    /// By number, whether it shares an id with another one, or has had one that was in doubt.
    requests: HashMap<Uuid, bool>,
    /// How many of them have an id of this print, of whichever project.
    prints: HashMap<u64, u32, RandomState>,
}

/// The reservation of another instance's request, as Redis has it.
pub(crate) struct Reserved {
    number: Uuid,
    since: DateTime<Utc>,
    prints: Prints,
}

/// A request that ends.
pub(crate) struct Release {
    pub(crate) project_id: ProjectId,
    pub(crate) bucket: i64,
    pub(crate) number: Uuid,
    pub(crate) prints: Prints,
    /// Those of its ids that are durable. They are marked so with the end of their request and not apart from it: else the one
    /// could get lost without the other, and an id would be nowhere.
    pub(crate) durable: Vec<Uuid>,
    pub(crate) fate: Fate,
}

/// What became of the ids of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// All are durable.
    Durable,
    /// None was published.
    Unused,
    Unknown,
}

/// The ids that a request has taken. If it is dropped once it goes on, and before that is said, nobody knows what became of them.
pub struct Reservation {
    asking: mpsc::UnboundedSender<Ask>,
    /// Until it is said.
    release: Option<Release>,
}

impl Instance {
    pub(crate) fn new() -> Self {
        Self(rand::random())
    }

    /// Whose request has a number.
    pub(crate) fn of(number: Uuid) -> Self {
        Self(number.as_u64_pair().0)
    }

    /// A number for a request.
    pub(crate) fn number(self) -> Uuid {
        Uuid::from_u64_pair(self.0, rand::random())
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl OwnRequests {
    /// A request has a reservation from now on; true, if it shares an id with another one here, or `is_contested` already.
    pub(crate) fn take(&mut self, check: &Check, mut is_contested: bool) -> bool {
        for &print in &*check.prints.0 {
            let takers = self.prints.entry(print).or_default();
            is_contested |= *takers > 0;
            *takers += 1;
        }
        self.requests.insert(check.number, is_contested);
        is_contested
    }

    pub(crate) fn is_contested(&self, number: Uuid) -> bool {
        self.requests.get(&number).is_some_and(|is_contested| *is_contested)
    }

    /// Redis knows what became of a request.
    pub(crate) fn end(&mut self, release: &Release) {
        if self.requests.remove(&release.number).is_none() {
            return; // it had no answer, and was never taken
        }
        for &print in &*release.prints.0 {
            if let hash_map::Entry::Occupied(mut takers) = self.prints.entry(print) {
                *takers.get_mut() -= 1;
                if *takers.get() == 0 {
                    takers.remove();
                }
            }
        }
    }
}

impl Release {
    /// What is said again, if Redis may not have heard it. Then it may have lost what was durable, too.
    pub(crate) fn again(self) -> Self {
        let fate = if matches!(self.fate, Fate::Unused) { Fate::Unused } else { Fate::Unknown };
        Self { durable: Vec::new(), fate, ..self }
    }
}

impl Reservation {
    pub(super) fn new(asking: mpsc::UnboundedSender<Ask>, release: Release) -> Self {
        let release = Some(release).filter(|release| !release.prints.is_empty());
        Self { asking, release }
    }

    /// From now on they may be published.
    pub(crate) fn may_publish(&mut self) {
        if let Some(release) = &mut self.release {
            release.fate = Fate::Unknown;
        }
    }

    /// Some of them are durable, and are marked so at the end.
    pub fn mark(&mut self, ids: Vec<Uuid>) {
        if let Some(release) = &mut self.release {
            release.durable = ids;
        }
    }

    /// All of them are durable: those that were marked now, and those that were before.
    pub fn mark_durable(mut self) {
        self.end(Fate::Durable);
    }

    /// None of them was published.
    pub fn release(mut self) {
        self.end(Fate::Unused);
    }

    fn end(&mut self, fate: Fate) {
        if let Some(release) = self.release.take() {
            self.asking.send(Ask::Release(Release { fate, ..release })).ok();
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(Release { fate, .. }) = self.release {
            self.end(fate);
        }
    }
}

impl Prints {
    pub(crate) fn of(ids: &[Uuid]) -> Self {
        Self(ids.iter().map(print).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn any_of(&self, others: &HashSet<u64, RandomState>) -> bool {
        !others.is_empty() && self.0.iter().any(|print| others.contains(print))
    }

    /// Adds a command about a set of prints, whose answer does not matter.
    pub(crate) fn command(&self, pipeline: &mut Pipeline, name: &str, key: &str) {
        let command = pipeline.cmd(name).arg(key);
        for print in &*self.0 {
            command.arg(&print.to_le_bytes());
        }
        pipeline.ignore();
    }

    /// What Redis keeps of a request.
    pub(crate) fn entry(&self, now: DateTime<Utc>) -> Vec<u8> {
        let mut entry = Vec::with_capacity(8 * (1 + self.0.len().max(SMALL)));
        entry.extend(now.timestamp().cast_unsigned().to_le_bytes());
        for print in self.0.iter().cycle().take(self.0.len().max(SMALL)) {
            entry.extend(print.to_le_bytes());
        }
        entry
    }
}

/// Ids are often random in one half, and count up in the other.
fn print(id: &Uuid) -> u64 {
    let (high, low) = id.as_u64_pair();
    high.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ low
}

impl Reserved {
    /// Nobody will say what became of it.
    pub(crate) fn ends_unknown(self, project_id: ProjectId, bucket: i64) -> Release {
        let Self { number, prints, .. } = self;
        Release { project_id, bucket, number, prints, durable: Vec::new(), fate: Fate::Unknown }
    }
}

/// Asks which of these prints are in doubt, and which reservations other instances have. The keys are those of the instances, which
/// is kept for so many seconds, and of the prints in doubt.
pub(crate) fn ask_beside<'p>(
    pipeline: &mut Pipeline,
    keys: &[String; 3],
    instance: Instance,
    kept: i64,
    prints: impl Iterator<Item = &'p Prints>,
) {
    let prints: Vec<u8> =
        prints.flat_map(|prints| &*prints.0).flat_map(|print| print.to_le_bytes()).collect();
    let command = pipeline.cmd("EVAL").arg(BESIDE).arg(keys.len()).arg(keys);
    command.arg(instance.to_string()).arg(kept).arg(prints);
}

/// Reads the reservations that it answers: numbers, and what [`Prints::entry`] has made.
pub(crate) fn read(entries: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<Reserved> {
    let read = |(number, entry): (Vec<u8>, Vec<u8>)| {
        let mut numbers = numbers(&entry);
        let since = DateTime::from_timestamp(numbers.next()?.cast_signed(), 0)?;
        Some(Reserved { number: Uuid::from_slice(&number).ok()?, since, prints: Prints(numbers.collect()) })
    };
    entries.into_iter().filter_map(read).collect()
}

/// Reads numbers, such as prints, that stand one after the other.
pub(crate) fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}

pub(crate) fn prints(entries: &[Reserved]) -> HashSet<u64, RandomState> {
    entries.iter().flat_map(|entry| &*entry.prints.0).copied().collect()
}

/// Those whose requests are dead.
pub(crate) fn orphans(entries: Vec<Reserved>, now: DateTime<Utc>) -> impl Iterator<Item = Reserved> {
    entries.into_iter().filter(move |entry| now - entry.since > LONGEST)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use tokio::sync::oneshot;

    use super::*;
    use crate::{ingest::dedup::Charge, limits::rate::Rate};

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

    fn release(of: &Check) -> Release {
        Release {
            project_id: of.charge.project_id,
            bucket: of.bucket,
            number: of.number,
            prints: of.prints.clone(),
            durable: Vec::new(),
            fate: Fate::Durable,
        }
    }

    #[test]
    fn an_id_is_contested_until_the_other_request_that_has_it_ends() {
        let mut own = OwnRequests::default();
        let (first, second, third) = (check(1, &[10, 11]), check(2, &[11, 12]), check(3, &[10]));
        assert!(!own.take(&first, false));
        assert!(own.take(&second, false));
        assert!(own.is_contested(second.number) && !own.is_contested(first.number));
        own.end(&release(&third)); // it was never taken
        own.end(&release(&first));
        assert!(!own.take(&third, false));
        assert!(own.take(&check(4, &[12]), false));
        assert!(own.take(&check(5, &[13]), true), "what others have is contested too");
        for number in 2..=5 {
            let ids: &[u128] = [[11, 12].as_slice(), &[10], &[12], &[13]][number - 2];
            own.end(&release(&check(number as u128, ids)));
        }
        assert!(own.requests.is_empty() && own.prints.is_empty());
    }

    #[test]
    fn ids_that_others_have_are_found() {
        let entries =
            read(vec![entry(&check(1, &[10, 11]), Utc::now()), entry(&check(2, &[12]), Utc::now())]);
        let prints = prints(&entries);
        assert!(check(3, &[9, 12]).prints.any_of(&prints));
        assert!(!check(4, &[9]).prints.any_of(&prints));
    }

    #[test]
    fn what_is_reserved_for_too_long_is_an_orphan() {
        let now = Utc::now();
        let (young, old) = (check(1, &[10]), check(2, &[11, 12]));
        let entries = vec![entry(&young, now), entry(&old, now - LONGEST - TimeDelta::seconds(2))];
        let found: Vec<Reserved> = orphans(read(entries), now).collect();
        assert_eq!(found.iter().map(|entry| entry.number).collect::<Vec<_>>(), [old.number]);
        assert_eq!(prints(&found), old.prints.0.iter().copied().collect());
    }
}
