//! `weir serve`.

use std::{pin::pin, time::Duration};

use anyhow::{Context, ensure};
use clap::Args;
use sqlx::PgPool;
use tracing::{info, warn};
use weir::{
    config,
    http::{self, server},
    ingest::{
        Ingest,
        dedup::{Deduplicator, History, NotSeen},
    },
    limits::{admission::Admission, rate::local},
    model::duration::in_words,
    projects::event_types::EventTypes,
    signals,
    store::{
        self,
        migrate::{self, SchemaError},
        read::snapshot::Reader,
        upkeep::{clock, inspection},
    },
    stream::{self, Stream, StreamError, publish::Publisher, state::StateError},
    telemetry::{self, metrics},
};

/// Connections to the database for what is not a question about statistics.
const BESIDE: u32 = 4;
/// How often is looked whether stream and database are those of before.
const HISTORY: Duration = Duration::from_secs(5);
/// How long the start waits for the first look: without stream or database events are taken, too.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// How often while one of them does not answer.
const UNSEEN: Duration = Duration::from_millis(500);

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    http: config::Http,
    #[command(flatten)]
    limits: config::Limits,
    #[command(flatten)]
    retention: config::EventRetention,
    #[command(flatten)]
    rates: config::Rates,
    #[command(flatten)]
    load: config::Load,
    #[command(flatten)]
    queries: config::Queries,
    #[command(flatten)]
    database: config::Database,
    #[command(flatten)]
    nats: config::Nats,
    #[command(flatten)]
    stream: config::StreamSettings,
    #[command(flatten)]
    publishing: config::Publishing,
    #[command(flatten)]
    redis: config::Redis,
}

pub(super) async fn run(options: Options, logs: &config::Logs) -> anyhow::Result<()> {
    telemetry::start(logs);
    let metrics = metrics::start();
    let ending = signals::ending()?;

    let largest = options.limits.max_body.as_u64() + options.limits.max_decompressed.as_u64();
    ensure!(
        options.load.body_memory.as_u64() >= 2 * largest,
        "WEIR_BODY_MEMORY is {}: expected at least {}, twice WEIR_MAX_BODY and WEIR_MAX_DECOMPRESSED together",
        options.load.body_memory,
        bytesize::ByteSize(2 * largest),
    );
    let stream = &options.stream;
    ensure!(
        stream.stream_max_age.is_zero() || stream.stream_max_age >= stream.stream_duplicate_window,
        "WEIR_STREAM_MAX_AGE is {}: expected 0s, or at least WEIR_STREAM_DUPLICATE_WINDOW, which is {}",
        in_words(stream.stream_max_age),
        in_words(stream.stream_duplicate_window),
    );
    let address = options.http.http_addr;
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; set WEIR_HTTP_ADDR to an address that is free")
    })?;
    // Connections of their own: keys and health checks never wait for questions.
    let pool =
        store::connect(&config::Database { database_connections: BESIDE, ..options.database.clone() })?;
    match migrate::check(&pool).await {
        Ok(()) => {}
        // Events are taken without the database; what needs it answers 503 until it is there.
        Err(error @ SchemaError::Database(_)) => {
            warn!(error = telemetry::chain(&error), "starting without database");
        }
        Err(error) => return Err(error.into()),
    }
    let stream = Stream::connect_when_up(&options.nats).await?;
    let ingest = Ingest {
        deduplicator: Deduplicator::new(&options.redis, &options.nats.namespace).context("REDIS_URL")?,
        publisher: Publisher::new(stream.clone(), &options.publishing),
        event_types: EventTypes::new(pool.clone()),
        buckets: local::Projects::default(),
        rates: options.rates,
        limits: options.limits.within(&options.retention),
    };
    let admission = Admission::new(&options.load);
    let http = options.http;
    let reader = Reader::new(store::connect(&options.database)?, pool.clone(), &options.queries);
    let watch = HistoryWatch {
        stream: stream.clone(),
        pool: pool.clone(),
        deduplicator: ingest.deduplicator.clone(),
        publisher: ingest.publisher.clone(),
    };
    // Or what was sent to another instance a moment ago would get another id in the stream, and not be recognised there.
    tokio::time::timeout(FIRST_LOOK, watch.look()).await.ok();
    let keeping = keep_stream(watch.clone(), options.stream);
    let following = watch.run();
    let watching = clock::watch(pool.clone());
    let parts =
        http::Parts { pool, reader, stream: stream.clone(), ingest, admission, http: http.clone(), metrics };
    let app = http::app(parts);

    info!(address = %listener.local_addr()?, "listening");
    let mut serving = pin!(server::serve(listener, app, &http, ending));
    // Signs of life are served meanwhile; events are answered with 503.
    tokio::select! {
        served = &mut serving => served?,
        failed = keeping => failed?,
        () = following => {}
        () = watching => {}
    }
    info!("ended");
    Ok(())
}

/// What ids that were taken stand on, and where they are remembered.
#[derive(Clone)]
struct HistoryWatch {
    stream: Stream,
    pool: PgPool,
    deduplicator: Deduplicator,
    publisher: Publisher,
}

impl HistoryWatch {
    /// Has ids forgotten that are no longer durable, because stream or database are others than before. Never ends.
    async fn run(self) {
        let mut pause = HISTORY;
        loop {
            tokio::time::sleep(pause).await;
            pause = match self.look().await {
                Ok(()) => HISTORY,
                Err(NotSeen::Stream(StateError::NoStream(_))) => {
                    self.stream.mark_gone(); // nobody may send anything, who would find it
                    HISTORY
                }
                // It may be another when it is back. What keeps it from being seen is logged elsewhere.
                Err(_) => UNSEEN,
            };
        }
    }

    async fn look(&self) -> Result<(), NotSeen> {
        let history = History::look(&self.stream, &self.pool).await?;
        // In this order: what Redis has forgotten, the stream must let pass.
        self.publisher.set_history(&history.to_string());
        if self.deduplicator.forget_unless_continued(history).await {
            warn!(
                "stream or database are not those of before: ids are forgotten, and events that are sent again are looked up"
            );
        }
        Ok(())
    }
}

/// Creates the stream, and again whenever it is gone or may be: a server that comes back may have lost its disk. Ends only
/// with an error.
async fn keep_stream(watch: HistoryWatch, settings: config::StreamSettings) -> Result<(), StreamError> {
    let HistoryWatch { stream, pool, deduplicator, .. } = &watch;
    loop {
        stream::when_up(|| stream.create(&settings)).await?;
        watch.look().await.ok(); // or later
        if stream.state().await.is_ok_and(|state| state.last_sequence == 0)
            && inspection::has_events(pool).await.is_ok_and(|has_events| !has_events)
        {
            deduplicator.note_that_nothing_was_taken().await;
        }
        info!("the stream is ready");
        tokio::select! {
            () = stream.gone() => warn!("the stream is gone; it is created again"),
            () = stream.reconnected() => {}
        }
    }
}
