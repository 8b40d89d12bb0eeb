//! What is known of one user.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::model::project::ProjectId;
use crate::store::StoreError;

/// A user's events of one type.
#[derive(Debug, sqlx::FromRow)]
pub struct OfType {
    pub event_type: String,
    pub events: i64,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
}

/// A user's events by type, most first, then by name: also those that are not moved yet.
pub async fn by_type(
    connection: &mut PgConnection,
    project_id: ProjectId,
    user_no: i32,
) -> Result<Vec<OfType>, StoreError> {
    let query = sqlx::query_as(
        "select event_type, count(*) as events, min(occurred_at) as first_seen, max(occurred_at) as last_seen
         from events
         where project_id = $1 and user_no = any(
             array(select $2 union all select from_no from user_merges where project_id = $1 and into_no = $2)
         )
         group by event_type
         order by events desc, event_type",
    );
    Ok(query.bind(project_id.get()).bind(user_no).fetch_all(connection).await?)
}
