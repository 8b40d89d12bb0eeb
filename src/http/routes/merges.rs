//! Merging users who are one person.

use poem_openapi::{ApiResponse, Enum, Object, OpenApi, payload::Json, types::Example};
use sqlx::PgPool;
use tracing::info;

use crate::http::{
    extract::{
        auth::{Admin, Caller},
        json_body::JsonBody,
        parameters::Checks,
        text::Text,
    },
    openapi::Tag,
    respond::problem::{Code, FieldError, Merging, Problem, Refusal},
};
use crate::store::users::merges::{self, MOST_ALIASES, Merge};

pub struct MergesApi {
    pub pool: PgPool,
}

/// Two names of one person.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct UserMerge {
    /// The name that becomes an alias, such as the one an SDK gave before the login.
    from: Text,
    /// The user whose alias it becomes, by their id or an alias of theirs.
    into: Text,
}

impl Example for UserMerge {
    fn example() -> Self {
        Self { from: Text("anonymous-17".into()), into: Text("user_123".into()) }
    }
}

/// What becomes of a merge.
#[derive(Object)]
struct UserMerged {
    status: MergeStatus,
    /// The alias.
    from: String,
    /// The user's own id, also if `into` was sent as an alias.
    into: String,
}

#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum MergeStatus {
    Accepted,
    Known,
}

#[derive(ApiResponse)]
enum MergeResponse {
    /// It is an alias of the user from now on: what is stored follows within seconds
    #[oai(status = 202)]
    Accepted(Json<UserMerged>),
    /// It was an alias of the user before
    #[oai(status = 200)]
    Known(Json<UserMerged>),
}

#[OpenApi]
impl MergesApi {
    /// Merge users
    ///
    /// Makes one name an alias of a user: everything that was done under it, and whatever still comes under it, is the
    /// user's. Statistics follow within seconds, and are the same as if the events had been sent with the user's id. Either
    /// name may be new to weir: events may come later.
    ///
    /// Aliases of the name become the user's, too. Safe to repeat. It cannot be undone.
    ///
    /// Needs a key of kind admin.
    #[oai(path = "/merges", method = "post", operation_id = "merge_users", tag = "Tag::Users")]
    async fn merge(
        &self,
        caller: Caller<Admin>,
        merge: JsonBody<UserMerge>,
    ) -> Result<MergeResponse, Refusal<Merging>> {
        let UserMerge { from, into } = merge.0;
        let mut checks = Checks::default();
        let (from, into) = (checks.text("from", from), checks.text("into", into));
        let (from, into) = checks.finish(from.zip(into))?;
        match merges::request(&self.pool, caller.project.id, &from, &into).await? {
            Merge::Accepted { into } => {
                info!("a user is merged into another");
                let status = MergeStatus::Accepted;
                Ok(MergeResponse::Accepted(Json(UserMerged { status, from, into })))
            }
            Merge::Known { into } => {
                Ok(MergeResponse::Known(Json(UserMerged { status: MergeStatus::Known, from, into })))
            }
            Merge::Same { user_id } => Err(same_user(&user_id).into()),
            Merge::AliasOf { user_id } => Err(alias_of(&from, &into, &user_id).into()),
            Merge::TooManyAliases { into } => Err(too_many_aliases(&into).into()),
        }
    }
}

fn same_user(user_id: &str) -> Problem {
    let message = format!("expected a name of another user: both are names of '{user_id}'");
    let field_error = FieldError::new("into", "same_user", message);
    Problem::invalid(Code::ValidationFailed, "nobody can be merged into themselves", vec![field_error])
}

fn alias_of(from: &str, into: &str, user_id: &str) -> Problem {
    let detail = format!(
        "'{from}' is an alias of '{user_id}', which cannot be undone: if '{user_id}' and '{into}' are one person, merge \
         '{user_id}' into '{into}'"
    );
    Problem::new(Code::AlreadyMerged, detail)
}

fn too_many_aliases(into: &str) -> Problem {
    let detail = format!(
        "'{into}' would have more than {MOST_ALIASES} aliases, which are not names of one person: look whether many share \
         an id, such as a test account or a text that stands for none"
    );
    Problem::new(Code::TooManyAliases, detail)
}
