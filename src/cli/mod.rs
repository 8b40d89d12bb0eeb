//! The command line. What a command says goes to standard output, what is wrong to standard error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks to its user")]

/// As std's, which panics where this ends the process: when nobody reads any more, or the disk is full.
macro_rules! println {
    ($($arguments:tt)*) => {
        $crate::cli::output::line(format_args!($($arguments)*))
    };
}

mod dlq;
mod doctor;
mod import;
mod keys;
mod output;
mod projects;
mod serve;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use sqlx::PgPool;
use weir::{
    config::{Database, Logs},
    http,
    model::project::Project,
    store::{self, migrate},
    telemetry::{self, metrics},
};

/// An event service: takes batches of events, stores each exactly once, answers product questions in milliseconds
#[derive(Parser)]
#[command(version, about, max_term_width = 110)]
pub(crate) struct Options {
    #[command(flatten)]
    logs: Logs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the HTTP API
    Serve(Box<serve::Options>),
    /// Create the database's tables, or bring them to this version; safe to run again and at the same time
    Migrate(Database),
    /// Import events from a CSV file; safe to repeat and to interrupt
    Import(Box<import::Options>),
    /// Manage projects
    Project(projects::Options),
    /// Manage the keys of projects
    Key(keys::Options),
    /// Look at messages that could not be stored, replay them, or delete them
    Dlq(Box<dlq::Options>),
    /// Check servers, workers and stored events, and say what is wrong and what to do
    Doctor(Box<doctor::Options>),
    /// Print the OpenAPI document
    Openapi,
    /// Print the list of metrics for Prometheus, as Markdown
    Metrics,
}

pub(crate) async fn run(options: Options) -> ExitCode {
    let result = match options.command {
        Command::Serve(serve) => Box::pin(serve::run(*serve, &options.logs)).await,
        Command::Migrate(database) => run_migrations(&database).await,
        Command::Import(import) => import::run(*import).await,
        Command::Project(project) => projects::run(project).await,
        Command::Key(key) => keys::run(key).await,
        Command::Dlq(dlq) => dlq::run(*dlq).await,
        Command::Doctor(doctor) => doctor::run(*doctor).await,
        Command::Openapi => {
            println!("{}", http::openapi());
            Ok(())
        }
        Command::Metrics => {
            println!("{}", metrics::document().trim_end());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {}", telemetry::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run_migrations(config: &Database) -> anyhow::Result<()> {
    let pool = store::open(config).await?;
    let done = migrate::migrate(&pool).await?;
    let what = if done.from == done.to { "was at version" } else { "is now at version" };
    println!("The database {what} {} ({:?} edition of TimescaleDB).", done.to, done.edition);
    Ok(())
}

async fn project_named(pool: &PgPool, name: &str) -> anyhow::Result<Project> {
    store::projects::by_name(pool, name)
        .await?
        .with_context(|| format!("there is no project '{name}'; `weir project list` lists all"))
}
