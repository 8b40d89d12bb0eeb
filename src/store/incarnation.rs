//! Which database this is, and since when: what is remembered of one says nothing of another under the same address.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// A database as it has run since its server started. A restore, a failover and a swap by renaming make another one, of
/// which numbers of users and of values may differ although their generations are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Incarnation {
    pub server_started: DateTime<Utc>,
    /// Its number in the server; a database that is created under an old name has a new one.
    pub database_no: i64,
}

/// What was true of the users, or of the promotions, in an incarnation. Of none: before the first transaction.
pub(crate) type Generation = (Option<Incarnation>, i64);

/// Begins a generation of promotions: writers look up anew what is promoted, and the rules of time zones.
pub(crate) async fn begin_generation(transaction: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("update upkeep set promotions_generation = promotions_generation + 1")
        .execute(transaction)
        .await?;
    Ok(())
}
