//! A project is the tenant. Whatever reads or writes data takes its id first.

use std::num::NonZeroU32;

use chrono::Weekday;
use uuid::Uuid;

use super::{origin::Origins, zone::Zone};

/// The number of a project. It comes from a key's lookup or from the command line, never from a request's body, so a
/// request cannot name another project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectId(i32);

impl ProjectId {
    /// For the store and the stream, which write the numbers that they were given.
    pub(crate) const fn from_stored(number: i32) -> Self {
        Self(number)
    }

    pub fn get(self) -> i32 {
        self.0
    }

    /// The namespace of the project's ids: what is derived from a text differs between projects.
    fn uuid_namespace(self) -> Uuid {
        const WEIR: Uuid = Uuid::from_u128(0x7765_6972_2d65_7665_6e74_2d69_642d_7631);
        Uuid::new_v5(&WEIR, &self.0.to_be_bytes())
    }

    /// The id under which an event is kept: a UUID as it is, any other text as UUIDv5 of project and text.
    pub fn event_id(self, text: &str) -> Uuid {
        Uuid::try_parse(text).unwrap_or_else(|_| Uuid::new_v5(&self.uuid_namespace(), text.as_bytes()))
    }

    /// The id of an event whose own id is unique within a source of the project only.
    pub fn event_id_within(self, source: &str, id: &str) -> Uuid {
        Uuid::new_v5(&self.uuid_namespace(), format!("source\0{source}\0{id}").as_bytes())
    }

    /// The id of an event that came without one, from where it is found again: under a key, at a place.
    pub fn replayable_event_id(self, key: &str, index: usize) -> Uuid {
        Uuid::new_v5(&self.uuid_namespace(), format!("idempotency-key\0{key}\0{index}").as_bytes())
    }

    /// The id of a message that carries these events: the same events make the same id, so that the stream recognises
    /// a message that is published again; unless what it had may be lost since, which another `history` says.
    pub(crate) fn message_id(self, history: &str, event_ids: &[Uuid]) -> Uuid {
        let ids = event_ids.iter().copied().flat_map(Uuid::into_bytes);
        let bytes: Vec<u8> = history.bytes().chain(ids).collect();
        Uuid::new_v5(&self.uuid_namespace(), &bytes)
    }
}

impl std::fmt::Display for ProjectId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A project and its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    pub id: ProjectId,
    pub name: String,
    /// Days, weeks and months of the project are those of this zone.
    pub timezone: Zone,
    /// First day of a week.
    pub week_start: Weekday,
    pub overrides: Overrides,
}

/// Where a project differs from the configuration; nothing: as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Events a second, in the long run.
    pub rate_limit: Option<NonZeroU32>,
    /// Events at once, after a rest.
    pub rate_burst: Option<NonZeroU32>,
    pub max_event_types: Option<NonZeroU32>,
    /// Of the web pages that may send and ask.
    pub allowed_origins: Option<Origins>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_the_same_events_is_another_once_something_was_lost() {
        let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let id = |history, ids: &[Uuid]| ProjectId(1).message_id(history, ids);
        assert_eq!(id("1:0:0", &ids), id("1:0:0", &ids));
        assert_ne!(id("1:0:0", &ids), id("1:2:7", &ids));
        assert_ne!(id("1:0:0", &ids), id("1:0:0", &ids[..1]));
    }

    #[test]
    fn an_id_is_kept_as_it_is_or_derived_from_project_and_text() {
        let (one, two) = (ProjectId(1), ProjectId(2));
        let text = "018e9b6e-7b1c-7000-8000-000000000001";
        assert_eq!(one.event_id(text).to_string(), text);
        assert_eq!(one.event_id("order-1"), one.event_id("order-1"));
        assert_ne!(one.event_id("order-1"), one.event_id("order-2"));
        assert_ne!(one.event_id("order-1"), two.event_id("order-1"));
    }
}
