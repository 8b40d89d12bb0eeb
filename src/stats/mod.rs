//! The statistics: pure functions over sets of users, one module for each question. No module here knows of a database or
//! of HTTP.

pub mod active_users;
pub mod filter;
pub mod funnel;
pub mod label;
pub mod lifecycle;
pub mod period;
pub mod retention;
pub mod stickiness;
pub mod timeseries;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use roaring::{MultiOps, RoaringBitmap};

/// Who was active on each day of the project's calendar. A day without users may be absent.
pub type DailyUsers = BTreeMap<NaiveDate, RoaringBitmap>;

/// The users of the days from `begin` up to but without `end`.
pub fn union(users: &DailyUsers, begin: NaiveDate, end: NaiveDate) -> RoaringBitmap {
    if begin >= end {
        return RoaringBitmap::new();
    }
    users.range(begin..end).map(|(_, day)| day).union()
}
