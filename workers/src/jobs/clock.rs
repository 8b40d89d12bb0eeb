//! Compares this clock with that of the database.

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use weir::store::upkeep::clock;

pub(crate) async fn watch_clock(pool: PgPool, ending: CancellationToken) {
    ending.run_until_cancelled(clock::watch(pool)).await;
}
