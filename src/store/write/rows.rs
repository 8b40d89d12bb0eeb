//! Events as rows, with the numbers of their users.

use std::{collections::HashMap, ops::RangeInclusive};

use chrono::{DateTime, Datelike, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{MessagePart, NotWritten};
use crate::{
    model::{
        event::{Copies, Event},
        project::{Project, ProjectId},
    },
    store::{
        StoreError,
        users::{
            LinkRefusal,
            known::{Said, Users},
            traits::Told,
        },
    },
};

/// What RFC 3339 can write, and the calendars of all time zones know.
const YEARS: RangeInclusive<i32> = 1..=9998;

/// One event as it will be stored.
pub(super) struct EventRow<'a> {
    pub project: &'a Project,
    pub event: &'a Event<'a>,
    pub occurred_at: DateTime<Utc>,
    pub received_at: DateTime<Utc>,
    pub copies: Copies,
    pub user_no: Option<i32>,
    /// The numbers of its values of promoted properties.
    pub value_nos: Vec<i32>,
    /// The indices of its part and of the event in it.
    pub place: (usize, usize),
}

/// What the unique index compares.
pub(super) type Identity = (ProjectId, Uuid, DateTime<Utc>);

impl EventRow<'_> {
    pub fn identity(&self) -> Identity {
        (self.project.id, self.event.event_id, self.occurred_at)
    }

    /// What identifies the event.
    pub fn id(&self) -> (ProjectId, Uuid) {
        (self.project.id, self.event.event_id)
    }
}

pub(super) struct Rows<'a> {
    /// In the order of their identities: writers with the same events mostly meet them in the same order then. Where they
    /// deadlock nevertheless, one of them tries again.
    pub events: Vec<EventRow<'a>>,
    /// Events that are not among them, because their users were deleted after they were received.
    pub of_deleted_users: usize,
    /// Events that are not among them, because they only say something of their users.
    pub only_about_users: usize,
    /// Links in them that were not made.
    pub refused_links: Vec<LinkRefusal>,
    /// What they say of their users.
    pub told: Told,
}

/// The rows of parts. Users who are new get numbers.
pub(super) async fn of<'a>(
    connection: &mut PgConnection,
    users: &Users,
    parts: &'a [MessagePart<'a>],
) -> Result<Rows<'a>, NotWritten> {
    let mut said: HashMap<ProjectId, Vec<Said<'_>>> = HashMap::new();
    for MessagePart { project, batch, .. } in parts {
        let of_events = batch.events.iter().filter_map(|event| said_by(event, batch.received_at));
        said.entry(project.id).or_default().extend(of_events);
    }
    let (mut known, mut refused_links) = (HashMap::new(), Vec::new());
    for (project_id, said) in said {
        let found = users.find_or_add(connection, project_id, &said).await?;
        known.insert(project_id, found.users);
        refused_links.extend(found.refused);
    }

    let (mut rows, mut told) = (Vec::new(), Told::default());
    let (mut of_deleted_users, mut only_about_users) = (0, 0);
    for (part_index, MessagePart { project, batch, .. }) in parts.iter().enumerate() {
        let users = &known[&project.id];
        for (index, event) in batch.events.iter().enumerate() {
            let find = |user_id| users.get(user_id).ok_or(StoreError::NoUserNumber);
            let user = event.user_id.as_deref().map(find).transpose()?;
            if user.is_some_and(|user| user.since.is_some_and(|since| batch.received_at <= since)) {
                of_deleted_users += 1;
                continue;
            }
            let occurred_at = batch.occurred_at(event);
            if !YEARS.contains(&occurred_at.year()) {
                return Err(NotWritten {
                    error: StoreError::Year(occurred_at.year()),
                    culprit: Some((part_index, index)),
                });
            }
            if let (Some(user), Some(about_user)) = (user, &event.about_user) {
                told.add(project.id, user.user_no, about_user, occurred_at);
            }
            if event.is_only_about_user() {
                only_about_users += 1;
                continue;
            }
            rows.push(EventRow {
                project,
                event,
                occurred_at,
                received_at: batch.received_at,
                copies: batch.copies,
                user_no: user.map(|user| user.user_no),
                value_nos: Vec::new(),
                place: (part_index, index),
            });
        }
    }
    rows.sort_by_key(EventRow::identity);
    Ok(Rows { events: rows, of_deleted_users, only_about_users, refused_links, told })
}

/// What an event says of who its user is, if it has one.
fn said_by<'a>(event: &'a Event<'_>, received_at: DateTime<Utc>) -> Option<Said<'a>> {
    let about_user = event.about_user.as_deref();
    Some(Said {
        user_id: event.user_id.as_deref()?,
        is_anonymous: event.is_anonymous,
        anonymous_id: about_user.and_then(|about| about.anonymous_id.as_deref()),
        received_at,
    })
}
