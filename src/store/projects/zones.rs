//! The rules of time zones by which days are counted. They stand in the database, so that all who write and ask count by the
//! same ones.

use std::{collections::HashMap, sync::LazyLock};

use sqlx::{AssertSqlSafe, PgConnection};

use crate::{
    model::zone::{Zone, rules},
    store::{StoreError, incarnation},
};

/// Rules of the table `time_zones`, unless they are of the release that this weir has: those need not be sent.
pub(crate) static RULES: LazyLock<String> = LazyLock::new(|| {
    format!("case when time_zones.version <> '{}' then time_zones.rules end", rules::version())
});

/// The zone of a row with a name, and with [`RULES`].
pub(crate) fn from_stored(name: &str, rules: Option<&[u8]>) -> Option<Zone> {
    match rules {
        Some(rules) => Zone::from_rules(name, rules).ok(),
        None => rules::zone(name),
    }
}

/// All zones of projects by their names. One that cannot be read is left out.
pub(crate) async fn all(connection: &mut PgConnection) -> Result<HashMap<Box<str>, Zone>, StoreError> {
    let statement = format!("select name, {} from time_zones", *RULES);
    let rows: Vec<(String, Option<Vec<u8>>)> =
        sqlx::query_as(AssertSqlSafe(statement)).fetch_all(connection).await?;
    let zone = |(name, rules): (String, Option<Vec<u8>>)| {
        let zone = from_stored(&name, rules.as_deref())?;
        Some((name.into(), zone))
    };
    Ok(rows.into_iter().filter_map(zone).collect())
}

/// Adds the rules of a zone, if it has none there.
pub(crate) async fn add(transaction: &mut PgConnection, zone: &Zone) -> Result<(), sqlx::Error> {
    let Some(tzif) = rules::tzif(zone.name()) else { return Ok(()) };
    let added = sqlx::query(
        "insert into time_zones (name, version, rules) values ($1, $2, $3) on conflict (name) do nothing",
    )
    .bind(zone.name())
    .bind(rules::version())
    .bind(&*tzif)
    .execute(&mut *transaction)
    .await?;
    if added.rows_affected() > 0 {
        incarnation::begin_generation(transaction).await?;
    }
    Ok(())
}
