//! Rolling activity up, and the lock of those who move its rows.

use chrono::{Days, NaiveDateTime, NaiveTime, Utc};
use sqlx::{PgConnection, PgPool};

use crate::store::{StoreError, users::merges};

/// The wall-clock time before which hours are closed in every time zone, with a day to spare: local clocks differ by
/// up to 26 hours.
pub fn horizon() -> NaiveDateTime {
    (Utc::now().date_naive() - Days::new(2)).and_time(NaiveTime::MIN)
}

/// Sums up the deltas of the hours before the [`horizon`], see `sql/`; false if someone else is at it.
pub async fn run(pool: &PgPool) -> Result<bool, StoreError> {
    let rolled_up = alone(pool, async |connection| run_on(connection).await).await?;
    Ok(rolled_up.is_some())
}

/// The same, for those who are [`alone`]. Not in a transaction: it may commit in between.
pub(crate) async fn run_on(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("call roll_up($1)").bind(horizon()).execute(&mut *connection).await?;
    merges::forget(connection).await
}

/// Does something while nobody else rolls up or moves rows of activity; nothing, if someone else is at it.
///
/// The lock belongs to the session, because what is done may be several transactions.
pub(crate) async fn alone<T>(
    pool: &PgPool,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut connection = pool.acquire().await?;
    let locked: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtext('weir.roll_up'))")
        .fetch_one(&mut *connection)
        .await?;
    if !locked {
        return Ok(None);
    }
    match work(&mut connection).await {
        Ok(done) => {
            sqlx::query("select pg_advisory_unlock(hashtext('weir.roll_up'))")
                .execute(&mut *connection)
                .await?;
            Ok(Some(done))
        }
        Err(error) => {
            connection.close_on_drop(); // and with it the lock
            Err(error)
        }
    }
}
