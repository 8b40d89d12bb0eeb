//! The dictionary of values: a number per project for each value of a promoted property, given on first sight.

use sqlx::{Connection, PgConnection};

use super::{LONGEST_VALUE, MOST_VALUES, stop};
use crate::{
    model::project::ProjectId,
    store::{BEGIN, StoreError, projects},
};

/// The numbers of values, given as JSON, in their order; values that are new get numbers. If activity cannot carry them, the
/// promotion is stopped. A value without a number: the property is not promoted, or not any more.
pub(super) async fn find_or_add(
    connection: &mut PgConnection,
    project_id: ProjectId,
    property: &str,
    values: &[&str],
) -> Result<Vec<Option<i32>>, StoreError> {
    let found = find(connection, project_id, property, values).await?;
    if found.iter().all(Option::is_some) {
        return Ok(found);
    }
    match add(connection, project_id, property, values).await? {
        Added::All => find(connection, project_id, property, values).await,
        Added::TooMuch(reason) => {
            stop(connection, project_id, property, &reason).await?;
            Ok(vec![None; values.len()])
        }
    }
}

pub(super) fn too_many() -> String {
    format!("it has more than {MOST_VALUES} different values")
}

pub(super) fn too_long() -> String {
    format!("a value of it is longer than {LONGEST_VALUE} bytes")
}

async fn find(
    connection: &mut PgConnection,
    project_id: ProjectId,
    property: &str,
    values: &[&str],
) -> Result<Vec<Option<i32>>, StoreError> {
    let query = sqlx::query_scalar(
        "select value_no
         from unnest($3::text[]) with ordinality as sent (value, place)
              left join property_values as known
              on known.project_id = $1 and known.property = $2 and known.value = sent.value::jsonb::text
         order by place",
    );
    Ok(query.bind(project_id.get()).bind(property).bind(values).fetch_all(connection).await?)
}

enum Added {
    /// All of them have numbers now, if the property is promoted.
    All,
    /// They would be more, or longer, than activity carries.
    TooMuch(String),
}

/// Numbers new values, in a short transaction of its own, as new users are numbered.
async fn add(
    connection: &mut PgConnection,
    project_id: ProjectId,
    property: &str,
    values: &[&str],
) -> Result<Added, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let last = projects::lock(&mut transaction, project_id).await?;
    // Statements of their own: they see what the holder of the lock before us has done.
    let added = sqlx::query(
        "insert into property_values (project_id, value_no, property, value)
         select $1, $2 + row_number() over (), $3, value
         from (select distinct value::jsonb::text as value from unnest($4::text[]) as value) as new
         where not exists (
                   select from property_values as known
                   where known.project_id = $1 and known.property = $3 and known.value = new.value
               )
           and exists (
                   select from promoted_properties
                   where project_id = $1 and property = $3 and stopped is null
               )",
    )
    .bind(project_id.get())
    .bind(last.value_no)
    .bind(property)
    .bind(values)
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    let (count, longest): (i64, Option<i32>) = sqlx::query_as(
        "select count(*), max(octet_length(value)) from property_values where project_id = $1 and property = $2",
    )
    .bind(project_id.get())
    .bind(property)
    .fetch_one(&mut *transaction)
    .await?;
    let too_much = if count > i64::from(MOST_VALUES) {
        Some(too_many())
    } else if longest.is_some_and(|longest| longest > i32::from(LONGEST_VALUE)) {
        Some(too_long())
    } else {
        None
    };
    if let Some(reason) = too_much {
        transaction.rollback().await?;
        return Ok(Added::TooMuch(reason));
    }
    sqlx::query("update projects set last_value_no = last_value_no + $2 where project_id = $1")
        .bind(project_id.get())
        .bind(i32::try_from(added).unwrap_or(i32::MAX))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Added::All)
}
