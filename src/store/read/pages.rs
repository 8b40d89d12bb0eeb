//! Views of pages: events `page_view`, whose property `path` is the page's and whose property `site_id` the site's.

use sqlx::PgConnection;

use crate::model::{project::ProjectId, range::TimeRange};
use crate::store::StoreError;

/// The type of the events.
pub const PAGE_VIEW: &str = "page_view";
/// Bytes of a path that an answer shows.
const LONGEST_PATH: i32 = 2_048;

/// Views and unique users.
#[derive(Clone, Copy, Debug, Default, sqlx::FromRow)]
pub struct Views {
    pub views: i64,
    pub users: i64,
}

#[derive(Debug, sqlx::FromRow)]
pub struct PathViews {
    pub path: String,
    pub views: i64,
}

/// The views of a site.
pub async fn of_site(
    connection: &mut PgConnection,
    project_id: ProjectId,
    site_id: &str,
    time: TimeRange,
) -> Result<Views, StoreError> {
    let counted = sqlx::query_as(
        "select count(*) as views, count(distinct user_no) as users
         from events
         where project_id = $1 and event_type = $2 and properties->>'site_id' = $3
           and occurred_at >= $4 and occurred_at < $5",
    )
    .bind(project_id.get())
    .bind(PAGE_VIEW)
    .bind(site_id)
    .bind(time.begin)
    .bind(time.end)
    .fetch_one(connection)
    .await?;
    Ok(counted)
}

/// The most viewed paths of a site or of all, most views first, then by path.
pub async fn top_paths(
    connection: &mut PgConnection,
    project_id: ProjectId,
    site_id: Option<&str>,
    time: TimeRange,
    limit: u32,
) -> Result<Vec<PathViews>, StoreError> {
    let paths = sqlx::query_as(
        "select path, count(*) as views
         from (
             select properties->>'path' as path
             from events
             where project_id = $1 and event_type = $2 and ($3::text is null or properties->>'site_id' = $3)
               and occurred_at >= $4 and occurred_at < $5
         ) as views
         where octet_length(path) <= $7
         group by path
         order by views desc, path collate \"C\"
         limit $6",
    )
    .bind(project_id.get())
    .bind(PAGE_VIEW)
    .bind(site_id)
    .bind(time.begin)
    .bind(time.end)
    .bind(i64::from(limit))
    .bind(LONGEST_PATH)
    .fetch_all(connection)
    .await?;
    Ok(paths)
}
