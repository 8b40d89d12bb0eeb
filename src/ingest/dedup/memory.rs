//! What Redis remembers: since when every id that was taken, and under which names. One that was emptied, restarted or
//! replaced by its replica may have lost some, and what was durable may be lost where it was: then the memory begins anew, under
//! new names, so that nothing of the old one is taken for true.

use chrono::{DateTime, TimeDelta, Utc};
use redis::{ParsingError, Pipeline};
use uuid::Uuid;

use super::reply::next;

/// Redis keeps scripts that were loaded for as long as its process lives, and never gives them to another.
const SCRIPT: &str = "return 'weir remembers'";
/// The SHA-1 of the script, by which Redis knows it.
const SCRIPT_HASH: &str = "d0afaa1163a6701268ee5d6cabbf5e2eab93898e";

/// Of several instances that find the same, one replaces it, and all learn what there is then.
const REPLACE: &str = "
    local found = redis.call('GET', KEYS[1]) or ''
    if found ~= ARGV[1] then return found end
    redis.call('SET', KEYS[1], ARGV[2])
    return ARGV[2]";

/// A memory: it ends when another begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RedisMemory {
    /// Every id is remembered that was taken since.
    since: DateTime<Utc>,
    /// Part of the names of its sets.
    pub(crate) name: String,
}

/// What was found of a memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    text: String,
    /// Nothing: one must begin.
    pub(crate) memory: Option<RedisMemory>,
}

impl RedisMemory {
    fn begin(since: DateTime<Utc>) -> Self {
        Self { since, name: Uuid::new_v4().simple().to_string() }
    }

    fn parse(text: &str) -> Option<Self> {
        let (since, name) = text.split_once(':')?;
        Some(Self { since: DateTime::from_timestamp_millis(since.parse().ok()?)?, name: name.to_owned() })
    }

    fn text(&self) -> String {
        format!("{}:{}", self.since.timestamp_millis(), self.name)
    }

    /// Whether all ids are remembered that were taken within `window`.
    pub(crate) fn reaches(&self, window: TimeDelta, now: DateTime<Utc>) -> bool {
        now - self.since >= window
    }
}

/// Where it is noted.
pub(crate) fn key(namespace: &str) -> String {
    format!("{namespace}:memory")
}

/// Asks for the memory.
pub(crate) fn ask(pipeline: &mut Pipeline, key: &str) {
    pipeline.cmd("SCRIPT").arg("EXISTS").arg(SCRIPT_HASH);
    pipeline.get(key);
}

pub(crate) fn read(values: &mut impl Iterator<Item = redis::Value>) -> Result<Found, ParsingError> {
    let is_the_same: Vec<bool> = next(values)?;
    let text = next::<Option<String>>(values)?.unwrap_or_default();
    let memory = RedisMemory::parse(&text).filter(|_| is_the_same == [true]);
    Ok(Found { text, memory })
}

/// Begins to remember: what was taken before `now` may be forgotten. Answers with the memory that there is then.
pub(crate) fn begin(pipeline: &mut Pipeline, key: &str, found: &Found, now: DateTime<Utc>) {
    replace(pipeline, key, found, &RedisMemory::begin(now));
}

/// Says that nothing was taken before. Answers with the memory that there is then.
pub(crate) fn complete(pipeline: &mut Pipeline, key: &str, found: &Found) {
    let since = DateTime::UNIX_EPOCH;
    // What others have taken by now must stay taken.
    let complete = found
        .memory
        .as_ref()
        .map_or_else(|| RedisMemory::begin(since), |memory| RedisMemory { since, ..memory.clone() });
    replace(pipeline, key, found, &complete);
}

fn replace(pipeline: &mut Pipeline, key: &str, found: &Found, memory: &RedisMemory) {
    pipeline.cmd("EVAL").arg(REPLACE).arg(1).arg(key).arg(&found.text).arg(memory.text());
    pipeline.cmd("SCRIPT").arg("LOAD").arg(SCRIPT).ignore();
}

/// What there is after a memory was replaced.
pub(crate) fn replaced(text: &str) -> Option<RedisMemory> {
    RedisMemory::parse(text)
}
