//! `weir serve`.

use std::{pin::pin, time::Duration};

use anyhow::Context;
use clap::Args;
use poem::{Server, listener::TcpAcceptor};
use tracing::{info, warn};
use weir::{
    api, config,
    ingest::{Ingest, filter::Filter, rate::Rates},
    metrics, shutdown,
    store::{
        self,
        migrate::{self, SchemaError},
    },
    stream::{self, Stream, publish::Publisher},
    telemetry,
};

/// A connection without a request is closed after this.
const IDLE: Duration = Duration::from_mins(2);

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    http: config::Http,
    #[command(flatten)]
    limits: config::Limits,
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
    let ending = shutdown::on_signal()?;

    let address = options.http.http_addr;
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; set WEIR_HTTP_ADDR to an address that is free")
    })?;
    let pool = store::connect(&options.database)?;
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
        filter: Filter::new(&options.redis, &options.nats.namespace).context("REDIS_URL")?,
        publisher: Publisher::new(stream.clone(), &options.publishing),
        rates: Rates::new(&options.limits),
        limits: options.limits,
    };
    let app = api::app(api::Parts { pool, stream: stream.clone(), ingest, metrics });

    info!(address = %listener.local_addr()?, "listening");
    let mut serving = pin!(
        Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?)
            .idle_timeout(IDLE)
            .run_with_graceful_shutdown(app, ending.cancelled(), Some(options.http.shutdown_grace))
    );
    // Signs of life are served meanwhile; events are answered with 503.
    tokio::select! {
        served = &mut serving => served?,
        prepared = stream::when_up(|| stream.create(&options.stream)) => {
            prepared?;
            info!("the stream is ready");
            serving.await?;
        }
    }
    info!("ended");
    Ok(())
}
