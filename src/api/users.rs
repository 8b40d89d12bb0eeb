//! Managing users.

use chrono::{SubsecRound, Utc};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi, param::Path, payload::Json};
use sqlx::PgPool;

use super::{
    Tag,
    auth::{Admin, Caller},
    events::example_user,
    instant::Instant,
    parameters::{Checks, Required},
    problem::{Managing, Refusal},
};
use crate::store::deletions;

pub struct UsersApi {
    pub pool: PgPool,
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
    /// The user is deleted: statistics follow within seconds
    #[oai(status = 202)]
    Accepted(Json<UserDeletion>),
}

#[OpenApi]
impl UsersApi {
    /// Delete a user
    ///
    /// Removes the user's events, those that wait to be stored included, and takes the user out of all statistics, of times
    /// whose events are not kept any more too. Their events can be read no more when this has answered; statistics
    /// follow within seconds. Later events of the same id are a new user's. Safe to repeat, also for ids that weir has never
    /// seen.
    ///
    /// Needs a key of kind admin.
    #[oai(path = "/users/:user_id", method = "delete", operation_id = "delete_user", tag = "Tag::Users")]
    async fn delete(
        &self,
        caller: Caller<Admin>,
        /// The user's id, escaped as in any address.
        #[oai(example = "example_user")]
        user_id: Path<Required<String>>,
    ) -> Result<DeletionResponse, Refusal<Managing>> {
        let mut checks = Checks::default();
        let user_id = checks.required("user_id", user_id.0);
        let user_id = checks.finish(user_id)?;
        let deleted_at = Utc::now().trunc_subsecs(6);
        deletions::request(&self.pool, caller.project.id, &user_id, deleted_at).await?;
        let deletion = UserDeletion { status: DeletionStatus::Accepted, deleted_at: Instant(deleted_at) };
        Ok(DeletionResponse::Accepted(Json(deletion)))
    }
}
