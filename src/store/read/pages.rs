//! Views of pages: events `page_view`, whose property `path` is the page's and whose property `site_id` the site's.

use chrono::{DateTime, Days, NaiveDate, Utc};
use sqlx::PgConnection;

use super::active;
use crate::store::StoreError;
use crate::{
    model::project::{Project, ProjectId},
    stats::filter::Filter,
};

const PAGE_VIEW: &str = "page_view";
/// Bytes of a path that is told.
const LONGEST_PATH: i32 = 2_048;

/// The views of some time.
#[derive(Debug)]
pub struct PageViews {
    pub total_views: i64,
    /// Different users.
    pub unique_users: i64,
    /// Most views first, then by path.
    pub top_paths: Vec<PathViews>,
}

#[derive(Debug, sqlx::FromRow)]
pub struct PathViews {
    pub path: String,
    pub views: i64,
}

/// Views on the days from `from` to `to`, both included, of one site or of all, with at most `limit` paths.
pub async fn views(
    connection: &mut PgConnection,
    project: &Project,
    site_id: Option<&str>,
    (from, to): (NaiveDate, NaiveDate),
    limit: u32,
) -> Result<PageViews, StoreError> {
    let range = (project.start_of(from), project.start_of(to + Days::new(1)));
    let (total_views, unique_users) = match site_id {
        None => {
            let views = Filter::default().of_type(PAGE_VIEW);
            let counted = active::top_events(connection, project, &views, (from, to), 1).await?;
            counted.first().map_or((0, 0), |counted| (counted.events, counted.users))
        }
        Some(site_id) => of_site(connection, project.id, site_id, range).await?,
    };
    let top_paths = top_paths(connection, project.id, site_id, range, limit).await?;
    Ok(PageViews { total_views, unique_users, top_paths })
}

/// Views and different users.
async fn of_site(
    connection: &mut PgConnection,
    project_id: ProjectId,
    site_id: &str,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> Result<(i64, i64), StoreError> {
    let counted = sqlx::query_as(
        "select count(*), count(distinct user_no)
         from events
         where project_id = $1 and event_type = $2 and properties->>'site_id' = $3
           and occurred_at >= $4 and occurred_at < $5",
    )
    .bind(project_id.get())
    .bind(PAGE_VIEW)
    .bind(site_id)
    .bind(from)
    .bind(to)
    .fetch_one(connection)
    .await?;
    Ok(counted)
}

async fn top_paths(
    connection: &mut PgConnection,
    project_id: ProjectId,
    site_id: Option<&str>,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
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
    .bind(from)
    .bind(to)
    .bind(i64::from(limit))
    .bind(LONGEST_PATH)
    .fetch_all(connection)
    .await?;
    Ok(paths)
}
