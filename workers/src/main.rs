//! The binary `weir-worker`: takes events from the stream into the database, and rolls their activity up.

mod consumers;
mod health;
mod jobs;
mod trouble;
mod visible;

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use mimalloc::MiMalloc;
use poem::{Server, listener::TcpAcceptor};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use weir::{
    config::{self, Database, EventRetention, Logs, Nats, Storing, WorkerHttp},
    signals,
    store::{
        self,
        migrate::{self, SchemaError},
    },
    stream::{self, Stream},
    telemetry::{self, metrics},
};

use self::{
    consumers::writer::Writer,
    jobs::{
        AdoptRules, DeleteProjects, DeleteUsers, Expire, MergeUsers, Rebuild, RecountDays, WatchStreams,
        repeat, roll_up, watch_clock,
    },
    trouble::Trouble,
    visible::Visible,
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Stores what weir has accepted.
#[derive(Parser)]
#[command(version, about, max_term_width = 110)]
struct Options {
    #[command(flatten)]
    logs: Logs,
    #[command(flatten)]
    writing: Storing,
    #[command(flatten)]
    retention: EventRetention,
    #[command(flatten)]
    http: WorkerHttp,
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    nats: Nats,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options: Options = config::parse();
    telemetry::start(&options.logs);
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!(error = telemetry::chain(failure.as_ref()), "weir-worker cannot go on");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    let metrics = metrics::start();
    let ending = signals::ending()?;
    let address = options.http.worker_http_addr;
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; set WEIR_WORKER_HTTP_ADDR to an address that is free")
    })?;
    let pool = store::connect(&options.database)?;
    let stream = Stream::connect_when_up(&options.nats).await?;
    let storing = Trouble::new("events are not stored");
    let signs = health::routes(pool.clone(), stream.clone(), storing.clone(), metrics);
    info!(address = %listener.local_addr()?, "listening");
    let serving = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?);
    let served = ending.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let end = served.cancelled();
        if let Err(error) = serving.run_with_graceful_shutdown(signs, end, Some(RETRY_PAUSE)).await {
            error!(%error, "health checks and metrics cannot be served");
        }
    });

    tokio::select! {
        ready = servers(&pool, &stream) => ready?,
        () = ending.cancelled() => return Ok(()),
    }
    let visible = Visible::new(migrate::edition(&pool).await?);
    let Options { writing, retention, .. } = options;

    // Consumers.
    let writer = Writer::new(stream.clone(), pool.clone(), visible.clone(), storing, &writing);
    for lane in 0..stream::LANES {
        tasks.spawn(writer.clone().run(lane, ending.clone()));
    }

    // Jobs.
    let (p, e) = (|| pool.clone(), || ending.clone());
    tasks.spawn(roll_up::run(p(), visible, writing.roll_up_interval, e()));
    tasks.spawn(watch_clock(p(), e()));
    tasks.spawn(repeat(DeleteUsers(p()), e()));
    tasks.spawn(repeat(DeleteProjects(p()), e()));
    tasks.spawn(repeat(MergeUsers::new(p()), e()));
    tasks.spawn(repeat(Rebuild(p()), e()));
    tasks.spawn(repeat(AdoptRules::new(p()), e()));
    tasks.spawn(repeat(RecountDays::new(p()), e()));
    tasks.spawn(repeat(WatchStreams { pool: p(), stream: stream.clone() }, e()));
    if let Some(expire) = Expire::new(p(), retention.event_retention) {
        tasks.spawn(repeat(expire, e()));
    }

    wait(tasks, &ending).await?;
    // Acks are only queued when they are sent. Without them messages would come again, for nothing.
    tokio::time::timeout(RETRY_PAUSE, stream.context.client().flush()).await.ok();
    info!("ended");
    Ok(())
}

/// Waits for database and stream: servers that start together come up in any order.
async fn servers(pool: &sqlx::PgPool, stream: &Stream) -> anyhow::Result<()> {
    loop {
        match migrate::check(pool).await {
            Ok(()) => break,
            Err(error @ SchemaError::Database(_)) => {
                warn!(error = telemetry::chain(&error), "the database is not ready; trying again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(stream::when_up(|| stream.attach()).await?)
}

/// Waits for all tasks. If one fails, the others end and so does the process: whatever started it starts it again.
async fn wait(mut tasks: JoinSet<()>, ending: &CancellationToken) -> anyhow::Result<()> {
    let mut result = Ok(());
    while let Some(task) = tasks.join_next().await {
        if let Err(error) = task {
            ending.cancel();
            result = Err(error).context("a task of weir-worker failed");
        }
    }
    result
}
