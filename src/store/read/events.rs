//! Reading single events, and taking those of users step by step.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use crate::model::project::ProjectId;
use crate::store::StoreError;
use crate::work;

/// An event as it is stored.
#[derive(Debug, sqlx::FromRow)]
pub struct StoredEvent {
    pub event_id: Uuid,
    /// The user's own, whichever of their names it was sent with.
    pub user_id: String,
    pub event_type: String,
    pub occurred_at: DateTime<Utc>,
    pub received_at: DateTime<Utc>,
    /// JSON.
    pub properties: String,
}

/// A place in a user's timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelinePosition {
    pub occurred_at: DateTime<Utc>,
    pub event_id: Uuid,
}

/// Events of a user, newest first.
#[derive(Debug)]
pub struct EventPage {
    pub events: Vec<StoredEvent>,
    /// There are more behind these.
    pub more: bool,
}

/// Bytes of properties at which a page ends: what is stored can be many times longer as text.
const PAGE_BYTES: usize = 8 << 20;

/// Events that one transaction moves or removes, about: it holds up nobody for long.
const STEP: i64 = 10_000;

/// The time since which users have about as many events as one transaction takes, their newest; nothing if they have fewer. Who
/// changes events bounds the change by it: a join with the rows of a subquery would read all events there are.
pub(crate) async fn begin_of_step(
    connection: &mut PgConnection,
    project_id: ProjectId,
    user_nos: &[i32],
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let query = sqlx::query_scalar(
        "select occurred_at from events
         where project_id = $1 and user_no = any($2)
         order by occurred_at desc offset $3 - 1 limit 1",
    );
    Ok(query.bind(project_id.get()).bind(user_nos).bind(STEP).fetch_optional(connection).await?)
}

/// How many of some events are stored: by id and time. Each is looked up by itself: of chunks that have no statistics yet, a
/// join would read all.
pub async fn stored(
    pool: &PgPool,
    project_id: ProjectId,
    events: impl Iterator<Item = (Uuid, DateTime<Utc>)>,
) -> Result<usize, StoreError> {
    let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = events.unzip();
    let query = sqlx::query_scalar(
        "select count(*)
         from unnest($2::uuid[], $3::timestamptz[]) as sent (event_id, occurred_at),
              lateral (
                  select from events
                  where project_id = $1 and event_id = sent.event_id and occurred_at = sent.occurred_at
                    and occurred_at >= $4 and occurred_at <= $5
                  limit 1
              ) as known",
    );
    let stored: i64 = query
        .persistent(false)
        .bind(project_id.get())
        .bind(&ids)
        .bind(&times)
        .bind(times.iter().min())
        .bind(times.iter().max())
        .fetch_one(pool)
        .await?;
    Ok(usize::try_from(stored).unwrap_or(0))
}

/// At most `limit` events of a user, by any of their names, newest first, from behind `after` on.
pub async fn of_user(
    connection: impl PgExecutor<'_>,
    project_id: ProjectId,
    user_id: &str,
    after: Option<TimelinePosition>,
    limit: u32,
) -> Result<EventPage, StoreError> {
    let after =
        after.unwrap_or(TimelinePosition { occurred_at: DateTime::<Utc>::MAX_UTC, event_id: Uuid::max() });
    let latest = DateTime::from_timestamp(253_402_300_799, 0).expect("the year 9999");
    let mut rows = work::in_slices(
        sqlx::query_as::<_, StoredEvent>(
            "with person as materialized (
             select user_no, user_id from users
             where project_id = $1
               and user_no = (select user_no from user_names where project_id = $1 and user_id = $2)
         ), numbers as materialized (
             select user_no from person
             union all
             select from_no from user_merges where project_id = $1 and into_no = (select user_no from person)
         )
         select event_id, (select user_id from person) as user_id, event_type, occurred_at, received_at,
                properties::text as properties
         from numbers, lateral (
             select * from events
             where project_id = $1 and user_no = numbers.user_no and (occurred_at, event_id) < ($3, $4)
             order by occurred_at desc, event_id desc
             limit $5
         ) as newest
         order by occurred_at desc, event_id desc
         limit $5",
        )
        .bind(project_id.get())
        .bind(user_id)
        .bind(after.occurred_at.min(latest))
        .bind(after.event_id)
        // One more than requested, to know whether there are more.
        .bind(i64::from(limit) + 1)
        .fetch(connection),
    );
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(event) = rows.try_next().await? {
        if events.len() == limit as usize || bytes > PAGE_BYTES {
            return Ok(EventPage { events, more: true });
        }
        bytes += event.properties.len();
        events.push(event);
    }
    Ok(EventPage { events, more: false })
}
