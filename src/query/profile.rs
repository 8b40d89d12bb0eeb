//! What is known of one user?

use chrono::{DateTime, Utc};

use crate::{
    model::project::Project,
    store::{
        StoreError,
        read::{events, profile, snapshot::Reader},
        users::{
            dictionary::{self, Person},
            traits,
        },
    },
};

#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// The user's id or an alias.
    pub user_id: &'a str,
    /// Most events of the timeline.
    pub timeline: u32,
}

#[derive(Debug)]
pub struct Profile {
    pub person: Person,
    /// A JSON object.
    pub traits: String,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
    /// Most events first, then by name.
    pub event_types: Vec<profile::OfType>,
    /// The newest events.
    pub timeline: events::EventPage,
}

impl Query<'_> {
    /// Nothing: the user is unknown, or has no events.
    pub async fn answer(&self, reader: &Reader, project: &Project) -> Result<Option<Profile>, StoreError> {
        let mut snapshot = reader.snapshot().await?;
        let Some(person) = dictionary::person(&mut snapshot, project.id, self.user_id).await? else {
            return Ok(None);
        };
        let event_types = profile::by_type(&mut snapshot, project.id, person.user_no).await?;
        let first_seen = event_types.iter().map(|of_type| of_type.first_seen).min();
        let last_seen = event_types.iter().map(|of_type| of_type.last_seen).max();
        let Some((first_seen, last_seen)) = first_seen.zip(last_seen) else { return Ok(None) };
        let timeline = events::of_user(&mut *snapshot, project.id, self.user_id, None, self.timeline).await?;
        let traits = traits::of_user(&mut snapshot, project.id, person.user_no).await?;
        Ok(Some(Profile { person, traits, first_seen, last_seen, event_types, timeline }))
    }
}
