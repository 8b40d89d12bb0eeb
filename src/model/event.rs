//! An event that weir has accepted, and the batch in which it travels through the stream into the store.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::project::ProjectId;

/// An event that passed validation. Texts are borrowed from the request or the message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event<'a> {
    #[serde(with = "uuid::serde::compact")]
    pub event_id: Uuid,
    /// Absent: an event of no user, counted among events and never among users.
    #[serde(borrow, deserialize_with = "borrowed")]
    pub user_id: Option<Cow<'a, str>>,
    /// Empty: it is not stored as an event, it only says something of its user.
    #[serde(borrow)]
    pub event_type: Cow<'a, str>,
    /// To the microsecond, which is what PostgreSQL keeps. Absent: the time of receipt.
    #[serde(with = "chrono::serde::ts_microseconds_option")]
    pub occurred_at: Option<DateTime<Utc>>,
    /// A JSON object, as it was sent.
    #[serde(borrow)]
    pub properties: Cow<'a, str>,
    /// Whether `user_id` is an id from before a login, which may become another name of somebody known.
    pub is_anonymous: bool,
    #[serde(borrow)]
    pub about_user: Option<Box<AboutUser<'a>>>,
}

/// What an event says of its user. Told again, or in another order, it comes to the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AboutUser<'a> {
    /// The user's id from before the login. It becomes another name of theirs, unless somebody known has it.
    #[serde(borrow, deserialize_with = "borrowed")]
    pub anonymous_id: Option<Cow<'a, str>>,
    /// A JSON object: traits as they are from the event's time on.
    #[serde(borrow, deserialize_with = "borrowed")]
    pub traits: Option<Cow<'a, str>>,
    /// A JSON object: traits that keep the value that they had first.
    #[serde(borrow, deserialize_with = "borrowed")]
    pub initial_traits: Option<Cow<'a, str>>,
}

impl Event<'_> {
    /// Whether it is no event of its own.
    pub fn is_only_about_user(&self) -> bool {
        self.event_type.is_empty()
    }
}

/// What the filter knows of other copies of a batch's events: whether the store must look for them by their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Copies {
    /// There are none: nobody else has sent these ids within the window, and the filter knows who sends them later.
    None,
    /// There may be some that came before. The filter knows who sends these ids later.
    Before,
    /// Another request had one of these ids, and what became of it is not known: it may be stored before or after.
    Beside,
    /// The filter was not asked.
    #[default]
    Unknown,
}

/// The events of one request, or a part of them: what one message of the stream carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<'a> {
    pub project_id: ProjectId,
    pub request_id: Cow<'a, str>,
    pub received_at: DateTime<Utc>,
    pub copies: Copies,
    pub events: Vec<Event<'a>>,
}

impl Batch<'_> {
    /// When an event of this batch happened.
    pub fn occurred_at(&self, event: &Event<'_>) -> DateTime<Utc> {
        event.occurred_at.unwrap_or(self.received_at)
    }
}

/// serde borrows a `Cow` only where nothing is around it.
fn borrowed<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    Ok(Option::<&str>::deserialize(deserializer)?.map(Cow::Borrowed))
}
