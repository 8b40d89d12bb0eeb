//! When this weir has newer rules of time zones than the database, it adopts them, and the days that differ are counted anew
//! ([`super::recounts`]).

use chrono::{Days, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use sqlx::{Connection, PgConnection, PgPool};

use super::roll_up;
use crate::{
    model::zone::{self, Zone, rules},
    store::{
        BEGIN, StoreError, incarnation,
        read::source::{ALL_TYPES, ALL_VALUES},
    },
};

/// Local days and those of UTC are apart by less.
const SPARE: TimeDelta = TimeDelta::days(2);

/// What was adopted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    pub zones: usize,
    /// Days of projects that are to be counted anew.
    pub days: i64,
}

/// The zones of projects whose rules are older than those of this weir.
pub async fn older(pool: &PgPool) -> Result<Vec<String>, StoreError> {
    let older = sqlx::query_scalar(
        "select distinct timezone from projects left join time_zones on time_zones.name = timezone
         where version is null or version < $1
         order by timezone",
    );
    Ok(older.bind(rules::version()).fetch_all(pool).await?)
}

/// Adopts the rules of this weir for all zones of projects whose rules are older. Nothing: someone else is at activity.
pub async fn adopt(pool: &PgPool) -> Result<Option<Adopted>, StoreError> {
    let older = older(pool).await?;
    if older.is_empty() {
        return Ok(Some(Adopted::default()));
    }
    roll_up::alone(pool, async |connection| {
        let mut adopted = Adopted::default();
        for name in &older {
            let Some((zone, tzif)) = rules::zone(name).zip(rules::tzif(name)) else {
                tracing::warn!(
                    zone = name,
                    version = rules::version(),
                    "there are no rules of a project's time zone"
                );
                continue;
            };
            adopted.days += adopt_one(connection, &zone, &tzif).await?;
            adopted.zones += 1;
        }
        Ok(adopted)
    })
    .await
}

/// Adopts the rules of a zone; the number of days that are to be counted anew.
async fn adopt_one(connection: &mut PgConnection, zone: &Zone, tzif: &[u8]) -> Result<i64, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    // Who comes after this counts by the new rules.
    sqlx::query("select wait_for_writers()").execute(&mut *transaction).await?;
    let older: Option<(String, Vec<u8>)> =
        sqlx::query_as("select version, rules from time_zones where name = $1")
            .bind(zone.name())
            .fetch_optional(&mut *transaction)
            .await?;
    if older.as_ref().is_some_and(|(version, _)| version.as_str() >= rules::version()) {
        return Ok(0); // someone else was faster
    }
    let spans: Vec<(i32, NaiveDateTime, NaiveDateTime)> = sqlx::query_as(
        "select project_id, min(local_day), max(local_day)
         from projects join activity_daily using (project_id)
         where timezone = $1 and event_type = $2 and value_no = $3
         group by project_id",
    )
    .bind(zone.name())
    .bind(ALL_TYPES)
    .bind(ALL_VALUES)
    .fetch_all(&mut *transaction)
    .await?;
    let old = older.and_then(|(_, rules)| Zone::from_rules(zone.name(), &rules).ok());
    let changed = changed(old.as_ref(), zone, &spans);
    let mut days = 0;
    for (project_id, first, last) in spans {
        for &(from, to) in &changed {
            // A day may have events now on which there were none.
            let (from, to) = (from.max(first.date() - Days::new(1)), to.min(last.date() + Days::new(1)));
            if from > to {
                continue;
            }
            days += (to - from).num_days() + 1;
            sqlx::query(
                "insert into recounts as known (project_id, first_day, last_day) values ($1, $2, $3)
                 on conflict (project_id, first_day) do update
                 set last_day = greatest(known.last_day, excluded.last_day), recounted_to = null",
            )
            .bind(project_id)
            .bind(from)
            .bind(to)
            .execute(&mut *transaction)
            .await?;
        }
    }
    sqlx::query(
        "insert into time_zones (name, version, rules) values ($1, $2, $3)
         on conflict (name) do update set version = excluded.version, rules = excluded.rules",
    )
    .bind(zone.name())
    .bind(rules::version())
    .bind(tzif)
    .execute(&mut *transaction)
    .await?;
    incarnation::begin_generation(&mut transaction).await?;
    transaction.commit().await?;
    Ok(days)
}

/// The days on which the rules of a zone differ, where projects have activity; all, if it is not known which it had: earlier
/// versions of weir did not say.
fn changed(
    old: Option<&Zone>,
    new: &Zone,
    spans: &[(i32, NaiveDateTime, NaiveDateTime)],
) -> Vec<(NaiveDate, NaiveDate)> {
    let first = spans.iter().map(|(_, first, _)| *first).min();
    let last = spans.iter().map(|(.., last)| *last).max();
    let Some((first, last)) = first.zip(last) else { return Vec::new() };
    let end = (last.and_utc() + SPARE).max(Utc::now() + SPARE);
    let begin = first.and_utc() - SPARE;
    match old {
        Some(old) => zone::days_that_differ(old, new, (begin, end)),
        None if new.is_fixed_since(begin) => Vec::new(),
        None => vec![(first.date(), last.date())],
    }
}
