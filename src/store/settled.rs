//! The messages that were dealt with, by their numbers in the stream: what the stream has given away can be compared
//! with what has arrived.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::StoreError;

/// Notes messages of the stream that was created at `stream`.
pub(super) async fn add(
    connection: &mut PgConnection,
    stream: DateTime<Utc>,
    sequences: impl Iterator<Item = u64>,
) -> Result<(), StoreError> {
    let sequences: Vec<i64> = sequences.map(u64::cast_signed).collect();
    sqlx::query(
        "insert into settled_messages (stream, sequences)
         select $1, range_agg(int8range(sequence, sequence + 1)) from unnest($2::bigint[]) as sequence
         having count(*) > 0",
    )
    .bind(stream)
    .bind(sequences)
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes messages none of whose events was stored, because they were set aside.
pub async fn add_set_aside(
    pool: &PgPool,
    stream: DateTime<Utc>,
    sequences: impl Iterator<Item = u64>,
) -> Result<(), StoreError> {
    add(&mut *pool.acquire().await?, stream, sequences).await
}

/// Merges what transactions have noted: adjacent numbers become one range. One caller at a time.
pub async fn merge(pool: &PgPool) -> Result<(), StoreError> {
    sqlx::query(
        "with merging as (
             delete from settled_messages
             where stream in (select stream from settled_messages group by stream having count(*) >= 64)
             returning stream, sequences
         )
         insert into settled_messages (stream, sequences)
         select stream, range_agg(sequences) from merging group by stream",
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// How many of the messages 1 to `last` of a stream are not noted, and the first of them.
pub async fn missing(
    pool: &PgPool,
    stream: DateTime<Utc>,
    last: u64,
) -> Result<Option<(u64, u64)>, StoreError> {
    let (count, first): (i64, Option<i64>) = sqlx::query_as(
        "with missing as (
             select unnest(int8multirange(int8range(1, $2 + 1)) - coalesce(range_agg(sequences), '{}')) as gap
             from settled_messages where stream = $1
         )
         select coalesce(sum(upper(gap) - lower(gap)), 0)::bigint, min(lower(gap)) from missing",
    )
    .bind(stream)
    .bind(last.cast_signed())
    .fetch_one(pool)
    .await?;
    Ok(first.map(|first| (count.cast_unsigned(), first.cast_unsigned())))
}
