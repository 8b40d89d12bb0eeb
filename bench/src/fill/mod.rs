//! `weir-bench fill`: a project with as many events as are asked for, straight into the tables that the worker writes.

mod catalogue;
mod day;
mod population;

use std::{sync::Arc, time::Instant};

use anyhow::ensure;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};
use clap::Args;
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use rand::{RngExt, rngs::ChaCha8Rng};
use serde::Serialize;
use sqlx::{Connection, PgConnection, PgPool};
use uuid::{Builder, Uuid};
use weir::{
    config::Database,
    model::{
        project::{Overrides, Project},
        zone::Zone,
    },
    store::{
        self,
        projects::{self, event_types},
        upkeep::roll_up,
        write::{copy_format::CopyRows, deltas::Deltas},
    },
};

use self::{catalogue::Catalogue, day::FilledEvent, population::Population};

/// Rows that are sent together.
const ROWS: usize = 20_000;
/// So many transactions write the events of an hour that is not rolled up yet: a worker that has little to do writes events
/// as they come, and of an hour that goes on there are up to 64 deltas of each event type, until they are merged.
const DELTAS_OF_HOUR: u32 = 32;
/// From an event until its receipt.
const LATENCY: TimeDelta = TimeDelta::milliseconds(1_500);
const EVENTS: &str =
    "events (occurred_at, received_at, project_id, user_no, event_id, event_type, properties)";

#[derive(Args)]
pub(crate) struct Options {
    /// The project's name; it must be new
    #[arg(long, default_value = "bench")]
    project: String,
    #[arg(long, default_value_t = 10_000_000)]
    events: usize,
    /// Users with any event; at most an eighth of the events
    #[arg(long, default_value_t = 500_000)]
    users: usize,
    #[arg(long, default_value_t = 90)]
    days: usize,
    /// The last day; default yesterday
    #[arg(long)]
    last_day: Option<NaiveDate>,
    /// The same seed, numbers and last day make the same events
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Connections that write at the same time
    #[arg(long, default_value_t = 3)]
    sessions: usize,
    #[command(flatten)]
    database: Database,
}

#[tokio::main]
pub(crate) async fn run(options: &Options) -> anyhow::Result<FillReport> {
    ensure!(
        options.users > 0 && options.users * 8 <= options.events,
        "expected at most an eighth as many users as events"
    );
    ensure!(options.days > 0, "expected a day or more");
    ensure!(options.sessions > 0, "expected a connection or more");
    let begun = Instant::now();
    let pool = store::connect(&options.database)?;
    let project =
        projects::create(&pool, &options.project, &Zone::utc(), Weekday::Mon, &Overrides::default()).await?;
    let last_day = options.last_day.unwrap_or_else(|| Utc::now().date_naive() - Days::new(1));
    let first_day = last_day - Days::new(options.days as u64 - 1);
    let catalogue = Catalogue::new();
    let population = Population::new(options.seed, &catalogue, options.users, first_day, options.days);
    let progress = ProgressBar::new(options.events as u64)
        .with_style(ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {msg}, {eta} left")?);
    let fill = Arc::new(Fill { pool, project, catalogue, population, events: options.events, progress });

    let names: Vec<&str> = Catalogue::names().collect();
    event_types::admit(&fill.pool, fill.project.id, &names, u32::MAX.try_into()?).await?;
    fill.progress.set_message("users");
    fill.users(options.users).await?;
    fill.progress.set_message("events");
    let mut days = stream::iter(0..options.days)
        .map(|day| tokio::spawn(fill.clone().day(day)))
        .buffer_unordered(options.sessions);
    while let Some(day) = days.next().await {
        day??;
    }
    fill.progress.finish_and_clear();
    let fill_seconds = begun.elapsed().as_secs_f64();
    // All hours but the last are quiet by now.
    sqlx::query("update activity set written_at = local_hour where local_hour < $1")
        .bind(last_day.and_time(NaiveTime::MIN) + TimeDelta::hours(23))
        .execute(&fill.pool)
        .await?;
    let begun = Instant::now();
    ensure!(roll_up::run(&fill.pool).await?, "a worker rolls up: fill a database that has none");
    let roll_up_seconds = begun.elapsed().as_secs_f64();
    // As the database does by itself, but later.
    sqlx::query("vacuum (analyze) users, events, activity").execute(&fill.pool).await?;
    Ok(FillReport { events: options.events, first_day, last_day, fill_seconds, roll_up_seconds })
}

/// What was filled.
#[derive(Serialize)]
pub(crate) struct FillReport {
    events: usize,
    first_day: NaiveDate,
    last_day: NaiveDate,
    fill_seconds: f64,
    roll_up_seconds: f64,
}

struct Fill {
    pool: PgPool,
    project: Project,
    catalogue: Catalogue,
    population: Population,
    events: usize,
    progress: ProgressBar,
}

impl Fill {
    /// The dictionary of users.
    async fn users(&self, count: usize) -> anyhow::Result<()> {
        let mut transaction = self.pool.begin().await?;
        for users in (1..=i32::try_from(count)?).collect::<Vec<_>>().chunks(ROWS) {
            let mut rows = CopyRows::new(3);
            for &user_no in users {
                rows.begin_row();
                rows.int(self.project.id.get());
                rows.int(user_no);
                rows.text(&format!("user-{user_no:07}"));
            }
            copy(&mut transaction, "users (project_id, user_no, user_id)", rows).await?;
        }
        sqlx::query("update projects set last_user_no = $2 where project_id = $1")
            .bind(self.project.id.get())
            .bind(i32::try_from(count)?)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The events of a day, and their activity.
    async fn day(self: Arc<Self>, day: usize) -> anyhow::Result<()> {
        let mut random = self.population.random(day);
        let before = |day| self.population.events_before(day, self.events);
        let count = before(day + 1) - before(day);
        let events = tokio::task::block_in_place(|| {
            day::events(&self.population, &self.catalogue, day, count, &mut random)
        });
        let midnight = self.population.date(day).and_time(NaiveTime::MIN);
        let part = if midnight < roll_up::horizon() { day::WHOLE } else { day::HOUR / DELTAS_OF_HOUR };
        let mut connection = self.pool.acquire().await?;
        sqlx::query("set synchronous_commit = off").execute(&mut *connection).await?;
        for events in events.chunk_by(|a, b| a.time / part == b.time / part) {
            self.write(&mut connection, midnight.and_utc(), events, &mut random).await?;
        }
        Ok(())
    }

    /// One transaction, as the worker's.
    async fn write(
        &self,
        connection: &mut PgConnection,
        midnight: DateTime<Utc>,
        events: &[FilledEvent],
        random: &mut ChaCha8Rng,
    ) -> anyhow::Result<()> {
        let mut transaction = connection.begin().await?;
        let mut deltas = Deltas::default();
        for events in events.chunks(ROWS) {
            let mut rows = CopyRows::new(7);
            for event in events {
                let occurred_at = event.occurred_at(midnight);
                let user_no = event.user.map(|user| user.cast_signed() + 1);
                let event_type = event.event_type.name();
                rows.begin_row();
                rows.timestamptz(occurred_at);
                rows.timestamptz(occurred_at + LATENCY);
                rows.int(self.project.id.get());
                rows.int_or_null(user_no);
                rows.uuid(event_id(occurred_at, random));
                rows.text(event_type);
                rows.jsonb(self.properties(event));
                let hour = self.project.local_hour(occurred_at);
                deltas.add(self.project.id, event_type, &[], hour, user_no);
            }
            copy(&mut transaction, EVENTS, rows).await?;
            self.progress.inc(events.len() as u64);
        }
        deltas.insert(&mut transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    fn properties(&self, event: &FilledEvent) -> &str {
        match event.user {
            Some(user) => self.catalogue.properties(self.population.user(user as usize).traits, event.path),
            None => "{}",
        }
    }
}

/// As SDKs make them.
fn event_id(occurred_at: DateTime<Utc>, random: &mut ChaCha8Rng) -> Uuid {
    let millis = occurred_at.timestamp_millis().cast_unsigned();
    Builder::from_unix_timestamp_millis(millis, &random.random()).into_uuid()
}

async fn copy(connection: &mut PgConnection, columns: &str, rows: CopyRows) -> anyhow::Result<()> {
    let mut copy = connection.copy_in_raw(&format!("copy {columns} from stdin (format binary)")).await?;
    copy.send(rows.finish()).await?;
    copy.finish().await?;
    Ok(())
}
