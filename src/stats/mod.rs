//! The statistics: pure functions over sets of users by day. No module here knows of a database or of HTTP.

pub mod active_users;
pub mod period;
pub mod retention;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use roaring::RoaringBitmap;

/// Who was active on each day of the project's calendar. A day without users may be absent.
pub type DailyUsers = BTreeMap<NaiveDate, RoaringBitmap>;
