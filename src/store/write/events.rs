//! Rows into the hypertable.

use std::collections::HashSet;

use sqlx::{PgConnection, Row as _, postgres::PgDatabaseError};

use super::{
    NotWritten,
    copy_format::CopyRows,
    rows::{EventRow, Identity},
};
use crate::model::project::ProjectId;

/// Copies rows into a table. If one of them is refused, the error says which.
pub(super) async fn copy(
    connection: &mut PgConnection,
    table: &str,
    rows: &[EventRow<'_>],
) -> Result<(), NotWritten> {
    let mut bytes = CopyRows::new(7);
    for row in rows {
        bytes.begin_row();
        bytes.timestamptz(row.occurred_at);
        bytes.timestamptz(row.received_at);
        bytes.int(row.project.id.get());
        bytes.int_or_null(row.user_no);
        bytes.uuid(row.event.event_id);
        bytes.text(&row.event.event_type);
        bytes.jsonb(&row.event.properties);
    }
    let statement = format!(
        "copy {table} (occurred_at, received_at, project_id, user_no, event_id, event_type, properties)
         from stdin (format binary)"
    );
    let mut copy = connection.copy_in_raw(&statement).await?;
    let copied = async {
        copy.send(bytes.finish()).await?;
        copy.finish().await
    };
    copied.await.map(drop).map_err(|error| {
        let culprit = refused_row(&error).and_then(|index| rows.get(index)).map(|row| row.place);
        NotWritten { error: error.into(), culprit }
    })
}

/// The index of the row at which a COPY failed. PostgreSQL says it in the context of the error, in words that depend on
/// its language: `COPY events, line 3, column properties`.
fn refused_row(error: &sqlx::Error) -> Option<usize> {
    let context = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.r#where()?;
    line_of(context)?.checked_sub(1)
}

fn line_of(context: &str) -> Option<usize> {
    let (_, place) = context.split_once("COPY ")?;
    let (_, place) = place.split_once(", ")?;
    let number = place.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    number.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// Copies through a staging table; the identities of the rows that were new.
pub(super) async fn copy_staged(
    connection: &mut PgConnection,
    rows: &[EventRow<'_>],
) -> Result<HashSet<Identity>, NotWritten> {
    sqlx::query("create temporary table staging (like events) on commit drop")
        .execute(&mut *connection)
        .await?;
    copy(connection, "staging", rows).await?;
    let new = sqlx::query(
        "insert into events select * from staging
         on conflict (project_id, event_id, occurred_at) do nothing
         returning project_id, event_id, occurred_at",
    )
    .fetch_all(connection)
    .await?;
    let identity = |row: &sqlx::postgres::PgRow| -> Result<Identity, sqlx::Error> {
        Ok((ProjectId::from_stored(row.try_get(0)?), row.try_get(1)?, row.try_get(2)?))
    };
    Ok(new.iter().map(identity).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::line_of;

    #[test]
    fn the_refused_line_is_read_from_what_postgresql_says() {
        for (context, line) in [
            ("COPY events, line 3", Some(3)),
            ("JSON data, line 1: {\"a\": \"\\u0000...\nCOPY events, line 12, column properties", Some(12)),
            ("PL/pgSQL function f() line 5 at RAISE\nCOPY events, Zeile 7: \"1\t2\"", Some(7)),
            ("COPY events", None),
            ("SQL statement", None),
        ] {
            assert_eq!(line_of(context), line, "{context}");
        }
    }
}
