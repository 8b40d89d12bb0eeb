//! Binary COPY of the events that `load` sends into the hypertable `events` of an empty weir: what no worker in this stack can
//! beat. No users are looked up, no activity is counted.

use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use chrono::Utc;
use clap::Args;
use futures::future;
use serde::Serialize;
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

use crate::event::{BenchEvent, SHAPES, mix};

/// Microseconds from 1970 to 2000, where PostgreSQL's time begins.
const EPOCH: i64 = 946_684_800_000_000;

#[derive(Args)]
pub(crate) struct Options {
    /// A database that `weir migrate` has prepared
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: PgConnectOptions,
    /// Rows in all
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Sessions that copy side by side
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    sessions: u16,
    /// Rows of a statement, which is a transaction
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Different users
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    users: u32,
}

#[derive(Serialize)]
pub(crate) struct CopyReport {
    rows: u64,
    seconds: f64,
    rows_per_second: f64,
}

#[tokio::main]
pub(crate) async fn run(options: &Options) -> anyhow::Result<CopyReport> {
    let Options { rows, batch, users, .. } = *options;
    // All of it before the clock starts: only PostgreSQL is measured.
    let base = mix(Utc::now().timestamp_micros().cast_unsigned());
    let batches: Vec<Bytes> = (0..rows)
        .step_by(usize::try_from(batch)?)
        .map(|first| statement(base, first..rows.min(first + batch), users))
        .collect();
    let mut sessions = Vec::new();
    for _ in 0..options.sessions {
        sessions.push(options.database_url.connect().await.context("DATABASE_URL")?);
    }
    let begun = Instant::now();
    let number = sessions.len();
    let copying = sessions.into_iter().enumerate().map(|(first, session)| {
        let own = batches.iter().skip(first).step_by(number).cloned().collect();
        tokio::spawn(copy(session, own))
    });
    for copied in future::try_join_all(copying).await? {
        copied?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(CopyReport { rows, seconds, rows_per_second: rows as f64 / seconds })
}

async fn copy(mut session: PgConnection, batches: Vec<Bytes>) -> anyhow::Result<()> {
    for batch in batches {
        let mut copy = session
            .copy_in_raw(
                "copy events (occurred_at, received_at, project_id, user_no, event_id, event_type, properties)
                 from stdin (format binary)",
            )
            .await?;
        copy.send(batch).await?;
        copy.finish().await?;
    }
    session.close().await?;
    Ok(())
}

/// What a COPY of the rows of these numbers reads.
fn statement(base: u64, numbers: std::ops::Range<u64>, users: u32) -> Bytes {
    let mut bytes = Vec::from(*b"PGCOPY\n\xff\r\n\0");
    bytes.extend([0; 8]); // no flags, no extension of the header
    let now = Utc::now().timestamp_micros() - EPOCH;
    for (number, (event_type, properties)) in numbers.zip(SHAPES.iter().cycle()) {
        // A millisecond for a hundred events: as many as arrive in one at the rates that are measured.
        let occurred_at = (now / 1000) + (number / 100).cast_signed();
        let event = BenchEvent { number: base.wrapping_add(number), occurred_at: occurred_at + EPOCH / 1000 };
        let user_no = event.user(users) + 1;
        bytes.extend(7_i16.to_be_bytes());
        field(&mut bytes, &[&(occurred_at * 1000).to_be_bytes()]);
        field(&mut bytes, &[&now.to_be_bytes()]);
        field(&mut bytes, &[&1_i32.to_be_bytes()]);
        field(&mut bytes, &[&user_no.to_be_bytes()]);
        field(&mut bytes, &[event.id().as_bytes()]);
        field(&mut bytes, &[event_type.as_bytes()]);
        field(&mut bytes, &[&[1], properties.as_bytes()]); // after the version of jsonb's binary form
    }
    bytes.extend((-1_i16).to_be_bytes());
    bytes.into()
}

fn field(bytes: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    bytes.extend(i32::try_from(length).expect("a short value").to_be_bytes());
    bytes.extend(parts.concat());
}
