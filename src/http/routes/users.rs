//! What is known of a user, and deleting one.

use chrono::{SubsecRound, Utc};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi, param::Path, payload::Json};
use serde::Serialize;
use sqlx::PgPool;
use tracing::info;

use super::events::{Timeline, example_user};
use crate::http::{
    extract::{
        auth::{Admin, Caller, Read},
        parameters::{Checks, Required},
    },
    openapi::Tag,
    respond::{
        answer::{JsonAnswer, Properties},
        instant::Instant,
        problem::{Code, Finding, Managing, Problem, Refusal},
    },
};
use crate::{
    query::profile,
    store::{read::snapshot::Reader, users::deletions},
};

/// Events of a profile's timeline.
const TIMELINE: u32 = 20;

pub struct UsersApi {
    pub pool: PgPool,
    pub reader: Reader,
}

/// What is known of a user.
#[derive(Object, Serialize)]
struct UserProfile {
    /// The user's own id, also if an alias was asked for.
    user_id: String,
    /// Their other names, in order: ids of users who were merged into this one.
    #[oai(validator(max_items = 1000))]
    aliases: Vec<String>,
    /// What events say of the user: the latest of each trait, or the first if it is an initial one.
    traits: Properties,
    /// When the user's first event occurred, of those that are kept.
    first_seen: Instant,
    /// When the last one did.
    last_seen: Instant,
    events: i64,
    /// Most events first, then by name.
    event_types: Vec<UserEventType>,
    /// The newest events. `next` leads to more, as the `cursor` of `GET /events`.
    timeline: Timeline,
}

#[derive(Object, Serialize)]
struct UserEventType {
    event_type: String,
    events: i64,
    first_seen: Instant,
    last_seen: Instant,
}

/// What becomes of a user.
#[derive(Object)]
struct UserDeletion {
    status: DeletionStatus,
    /// Events received until then are removed. What comes later is a new user's.
    deleted_at: Instant,
}

#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum DeletionStatus {
    Accepted,
}

#[derive(ApiResponse)]
enum DeletionResponse {
    /// Everything that weir has of this user is deleted: statistics follow within seconds
    #[oai(status = 202)]
    Accepted(Json<UserDeletion>),
}

#[OpenApi]
impl UsersApi {
    /// A user
    ///
    /// Names, traits, first and last seen, events by type, and the newest events. With an alias, of the user whose alias it is.
    #[oai(path = "/users/:user_id", method = "get", operation_id = "user", tag = "Tag::Users")]
    async fn profile(
        &self,
        caller: Caller<Read>,
        /// The user's id or an alias, escaped as in any address.
        #[oai(example = "example_user")]
        user_id: Path<Required<String>>,
    ) -> Result<JsonAnswer<UserProfile>, Refusal<Finding>> {
        let mut checks = Checks::default();
        let user_id = checks.required("user_id", user_id.0);
        let user_id = checks.finish(user_id)?;
        let query = profile::Query { user_id: &user_id, timeline: TIMELINE };
        let profile = query.answer(&self.reader, &caller.project).await?.ok_or_else(|| {
            Problem::new(Code::NotFound, format!("there are no events of a user '{user_id}'"))
        })?;
        let event_types = profile.event_types.into_iter().map(|of_type| UserEventType {
            event_type: of_type.event_type,
            events: of_type.events,
            first_seen: Instant(of_type.first_seen),
            last_seen: Instant(of_type.last_seen),
        });
        let event_types: Vec<UserEventType> = event_types.collect();
        Ok(JsonAnswer(UserProfile {
            first_seen: Instant(profile.first_seen),
            last_seen: Instant(profile.last_seen),
            events: event_types.iter().map(|of_type| of_type.events).sum(),
            event_types,
            timeline: Timeline::new(profile.timeline)?,
            user_id: profile.person.user_id,
            traits: Properties::new(profile.traits)?,
            aliases: profile.person.aliases,
        }))
    }

    /// Delete a user
    ///
    /// Removes the user's events, those that wait to be stored included, and takes the user out of all statistics, of times
    /// whose events are not kept any more too. Their events can be read no more when this has answered; statistics
    /// follow within seconds. Their aliases go with them, and an alias deletes its user. Later events of the same names are
    /// those of new users. Safe to repeat, also for ids that weir has never seen.
    ///
    /// Needs a key of kind admin.
    #[oai(path = "/users/:user_id", method = "delete", operation_id = "delete_user", tag = "Tag::Users")]
    async fn delete(
        &self,
        caller: Caller<Admin>,
        /// The user's id or an alias, escaped as in any address.
        #[oai(example = "example_user")]
        user_id: Path<Required<String>>,
    ) -> Result<DeletionResponse, Refusal<Managing>> {
        let mut checks = Checks::default();
        let user_id = checks.required("user_id", user_id.0);
        let user_id = checks.finish(user_id)?;
        let deleted_at = Utc::now().trunc_subsecs(6);
        deletions::request(&self.pool, caller.project.id, &user_id, deleted_at).await?;
        info!("the deletion of a user was requested");
        let deletion = UserDeletion { status: DeletionStatus::Accepted, deleted_at: Instant(deleted_at) };
        Ok(DeletionResponse::Accepted(Json(deletion)))
    }
}
