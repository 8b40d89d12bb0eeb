//! Events that are not kept any more: whole chunks of them go, what was counted of them stays.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::store::{BEGIN, StoreError};

/// Drops the chunks whose events all lie before `from`; their number.
///
/// First writers agree not to store what lies before: without its chunk the database could not distinguish a copy of an event
/// from a new one, and activity would count it again.
pub async fn drop_before(pool: &PgPool, from: DateTime<Utc>) -> Result<usize, StoreError> {
    let old: Option<DateTime<Utc>> = sqlx::query_scalar(
        "select max(range_end) from timescaledb_information.chunks
         where hypertable_schema = current_schema() and hypertable_name = 'events' and range_end <= $1",
    )
    .bind(from)
    .fetch_one(pool)
    .await?;
    let Some(boundary) = old else { return Ok(0) };
    let mut transaction = pool.begin_with(BEGIN).await?;
    sqlx::query("select wait_for_writers()").execute(&mut *transaction).await?;
    sqlx::query("update upkeep set events_from = greatest(events_from, $1)")
        .bind(boundary)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    let dropped: Vec<String> = sqlx::query_scalar("select drop_chunks('events', older_than => $1)")
        .bind(boundary)
        .fetch_all(pool)
        .await?;
    Ok(dropped.len())
}
