//! Views of pages: events `page_view`, whose property `path` is the page's and whose property `site_id` the site's.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row};

use super::StoreError;
use crate::project::ProjectId;

/// The views of some time.
#[derive(Debug)]
pub struct PageViews {
    pub total_views: i64,
    /// Different users.
    pub unique_users: i64,
    /// Most views first, then by path.
    pub top_paths: Vec<PathViews>,
}

#[derive(Debug)]
pub struct PathViews {
    pub path: String,
    pub views: i64,
}

/// Views in `[from, to)`, of one site or of all, with at most `limit` paths.
pub async fn views(
    connection: &mut PgConnection,
    project_id: ProjectId,
    site_id: Option<&str>,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    limit: u32,
) -> Result<PageViews, StoreError> {
    let rows = sqlx::query(
        "with views as (
             select user_no, properties->>'path' as path
             from events
             where project_id = $1 and event_type = 'page_view' and occurred_at >= $3 and occurred_at < $4
               and ($2::text is null or properties->>'site_id' = $2)
         )
         select null as path, count(*) as views, count(distinct user_no) as users from views
         union all
         (select path, count(*), 0 from views where path is not null
          group by path order by count(*) desc, path collate \"C\" limit $5)",
    )
    .bind(project_id.get())
    .bind(site_id)
    .bind(from)
    .bind(to)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    let mut views = PageViews { total_views: 0, unique_users: 0, top_paths: Vec::new() };
    for row in rows {
        let count = row.try_get("views")?;
        if let Some(path) = row.try_get("path")? {
            views.top_paths.push(PathViews { path, views: count });
        } else {
            (views.total_views, views.unique_users) = (count, row.try_get("users")?);
        }
    }
    // Where there is no order, none is promised: not even that of a union.
    views.top_paths.sort_by(|a, b| b.views.cmp(&a.views).then_with(|| a.path.cmp(&b.path)));
    Ok(views)
}
