//! Since when Redis remembers every id that was taken. One that was emptied, restarted or replaced by its replica may have
//! lost some: its memory begins anew.

use chrono::{DateTime, TimeDelta, Utc};
use redis::{ParsingError, Pipeline, Value};

use super::exchange::next;

/// Redis keeps scripts that were loaded for as long as its process lives, and never gives them to another.
const SCRIPT: &str = "return 'weir remembers'";
/// The SHA-1 of the script, by which Redis knows it.
const SCRIPT_HASH: &str = "d0afaa1163a6701268ee5d6cabbf5e2eab93898e";

/// Where its beginning is.
pub(super) fn key(namespace: &str) -> String {
    format!("{namespace}:memory")
}

/// Asks for the memory's beginning.
pub(super) fn ask(pipeline: &mut Pipeline, key: &str) {
    pipeline.cmd("SCRIPT").arg("EXISTS").arg(SCRIPT_HASH);
    pipeline.get(key);
}

/// Since when ids are remembered. Nothing, if that must begin.
pub(super) fn read(values: &mut impl Iterator<Item = Value>) -> Result<Option<DateTime<Utc>>, ParsingError> {
    let is_the_same: Vec<bool> = next(values)?;
    let since: Option<i64> = next(values)?;
    Ok(since.filter(|_| is_the_same == [true]).and_then(DateTime::from_timestamp_millis))
}

/// Begins to remember. What was taken before `now` may be forgotten.
pub(super) fn begin(pipeline: &mut Pipeline, key: &str, now: DateTime<Utc>) {
    pipeline.set(key, now.timestamp_millis()).ignore();
    pipeline.cmd("SCRIPT").arg("LOAD").arg(SCRIPT).ignore();
}

/// Says that nothing was taken before.
pub(super) fn begin_complete(pipeline: &mut Pipeline, key: &str) {
    begin(pipeline, key, DateTime::UNIX_EPOCH);
}

/// Whether all ids are remembered that were taken within `window`.
pub(super) fn reaches(since: Option<DateTime<Utc>>, window: TimeDelta, now: DateTime<Utc>) -> bool {
    since.is_some_and(|since| now - since >= window)
}
