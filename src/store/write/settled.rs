//! The messages that were dealt with, by their numbers in the stream: what the stream has given away can be compared
//! with what has arrived.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use crate::store::StoreError;

/// Notes messages of the stream that was created at `stream`.
pub(crate) async fn add(
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

/// A stream of which messages are missing here.
#[derive(Debug, sqlx::FromRow)]
pub struct Loss {
    /// When the stream was created.
    pub created: DateTime<Utc>,
    /// When it was last seen.
    pub seen_at: DateTime<Utc>,
    pub missing: i64,
    /// The number of the first.
    pub first: i64,
    /// How many of them an operator knows of.
    pub acknowledged: i64,
}

/// Notes that a stream is there, and the number of its newest message.
pub async fn note_stream(
    pool: &PgPool,
    created: DateTime<Utc>,
    last_sequence: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into streams as known (created, last_sequence, seen_at) values ($1, $2, now())
         on conflict (created) do update
         set last_sequence = greatest(known.last_sequence, excluded.last_sequence), seen_at = excluded.seen_at",
    )
    .bind(created)
    .bind(last_sequence.cast_signed())
    .execute(pool)
    .await?;
    Ok(())
}

/// The streams of which messages are missing, oldest first: of the present one those up to `settled_up_to`, of former ones all
/// that they are known to have had.
pub async fn losses(
    pool: &PgPool,
    present: DateTime<Utc>,
    settled_up_to: u64,
) -> Result<Vec<Loss>, StoreError> {
    let query = sqlx::query_as(
        "select created, seen_at, acknowledged, missing, first
         from streams, lateral (
             select coalesce(sum(upper(gap) - lower(gap)), 0)::bigint as missing, min(lower(gap)) as first
             from (
                 select unnest(
                            int8multirange(int8range(1, case when created = $1 then $2 else last_sequence end + 1))
                            - coalesce(range_agg(sequences), '{}')
                        ) as gap
                 from settled_messages where stream = created
             ) as gaps
         ) as missing
         where missing > 0
         order by created",
    );
    Ok(query.bind(present).bind(settled_up_to.cast_signed()).fetch_all(pool).await?)
}

/// Notes that an operator knows of these losses: only what is lost besides is reported as new.
pub async fn acknowledge(pool: &PgPool, losses: &[Loss]) -> Result<(), StoreError> {
    for loss in losses {
        sqlx::query("update streams set acknowledged = $2 where created = $1")
            .bind(loss.created)
            .bind(loss.missing)
            .execute(pool)
            .await?;
    }
    Ok(())
}
