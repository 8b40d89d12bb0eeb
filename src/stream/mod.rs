//! The stream between the API and the workers: JetStream, where an accepted event is durable until it is stored.

pub mod dead;
pub mod message;
pub mod publish;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{
    ConnectOptions, Event,
    jetstream::{
        self, Context,
        consumer::{AckPolicy, Consumer, pull},
        context::CreateStreamError,
        stream::{self, ConsumerError, DiscardPolicy, RetentionPolicy, StorageType},
    },
};
use tracing::{debug, info, warn};

use crate::config::{Nats, StreamSettings};

/// The durable consumer that stores events.
const WRITER: &str = "writer";
/// Messages that may be with workers at a time.
const MAX_ACK_PENDING: i64 = 4_096;
/// How much of what could not be stored is kept for a person to look at.
const DEAD_MAX_BYTES: i64 = 1 << 30;
/// Below this version NATS could lose a stream when a process dies.
const OLDEST_SERVER: (i64, i64, i64) = (2, 10, 23);
/// How long JetStream may take for what is not a publish.
const API_TIMEOUT: Duration = Duration::from_secs(10);
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Why the stream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("cannot connect to NATS")]
    Connect(#[from] async_nats::ConnectError),
    #[error("NATS cannot be reached")]
    Disconnected,
    #[error("NATS {0} is too old: weir needs 2.10.23, because older servers can lose a stream when they die")]
    TooOld(String),
    #[error("cannot create or update the stream {name}")]
    Create { name: String, source: CreateStreamError },
    #[error("cannot create or update the consumer {WRITER}")]
    CreateWriter(#[source] ConsumerError),
    #[error("the stream of events is not there yet: `weir serve` creates it")]
    NoWriter(#[source] ConsumerError),
}

/// Names of streams and subjects under one namespace.
#[derive(Clone, Debug)]
pub struct Names {
    namespace: String,
}

impl Names {
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned() }
    }

    /// The stream of events that wait to be stored.
    fn events_stream(&self) -> String {
        format!("{}-events", self.namespace)
    }

    /// The stream of what could not be stored.
    fn dead_stream(&self) -> String {
        format!("{}-dead", self.namespace)
    }

    pub(crate) fn events_subject(&self, project_id: impl std::fmt::Display) -> String {
        format!("{}.events.{project_id}", self.namespace)
    }

    /// Where a message goes that cannot be stored.
    fn dead_subject(&self, reason: &str) -> String {
        format!("{}.dead.{reason}", self.namespace)
    }
}

/// A connection to JetStream, where weir's streams and its consumer are.
#[derive(Clone)]
pub struct Stream {
    pub context: Context,
    pub names: Names,
    /// The streams and the consumer are known to be there.
    prepared: Arc<AtomicBool>,
}

impl Stream {
    /// Connects now, or fails.
    pub async fn connect(nats: &Nats) -> Result<Self, StreamError> {
        Self::open(nats, options()).await
    }

    /// Connects in the background, now or as soon as NATS is there.
    pub async fn connect_when_up(nats: &Nats) -> Result<Self, StreamError> {
        Self::open(nats, options().retry_on_initial_connect()).await
    }

    async fn open(nats: &Nats, options: ConnectOptions) -> Result<Self, StreamError> {
        let servers: Vec<&str> = nats.nats_url.split(',').map(str::trim).collect();
        let context = jetstream::context::ContextBuilder::new()
            .timeout(API_TIMEOUT)
            // The publisher bounds what is in flight itself, and answers at once when there is no room.
            .backpressure_on_inflight(false)
            .build(options.connect(servers).await?);
        Ok(Self { context, names: Names::new(&nats.namespace), prepared: Arc::default() })
    }

    /// Creates the streams and the consumer, or brings them to these settings. Only the API does so: the settings have
    /// one owner.
    pub async fn create(&self, settings: &StreamSettings) -> Result<(), StreamError> {
        self.check_server()?;
        self.create_streams(settings).await?;
        self.create_writer(settings).await?;
        self.prepared.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Makes sure that the API has created the streams and the consumer.
    pub async fn attach(&self) -> Result<(), StreamError> {
        self.check_server()?;
        self.writer().await?;
        self.prepared.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn check_server(&self) -> Result<(), StreamError> {
        if !self.is_connected() {
            return Err(StreamError::Disconnected);
        }
        let client = self.context.client();
        let (major, minor, patch) = OLDEST_SERVER;
        if client.is_server_compatible(major, minor, patch) {
            Ok(())
        } else {
            Err(StreamError::TooOld(client.server_info().version))
        }
    }

    /// Whether NATS can be reached now.
    pub fn is_connected(&self) -> bool {
        self.context.client().connection_state() == async_nats::connection::State::Connected
    }

    /// Whether messages can be published and consumed now.
    pub fn is_ready(&self) -> bool {
        self.is_connected() && self.prepared.load(Ordering::Relaxed)
    }

    /// The durable consumer that stores events.
    pub async fn writer(&self) -> Result<Consumer<pull::Config>, StreamError> {
        let stream = self.names.events_stream();
        self.context.get_consumer_from_stream(WRITER, &stream).await.map_err(StreamError::NoWriter)
    }

    /// The sequence up to which the writer has acked everything, without a gap.
    pub async fn stored_up_to(&self) -> Result<u64, StreamError> {
        Ok(self.writer().await?.cached_info().ack_floor.stream_sequence)
    }

    async fn create_streams(&self, settings: &StreamSettings) -> Result<(), StreamError> {
        let events = stream::Config {
            name: self.names.events_stream(),
            description: Some("Events that are accepted and wait to be stored".into()),
            subjects: vec![self.names.events_subject("*")],
            // What is acked goes, what is not stays, whatever happens to the consumer.
            retention: RetentionPolicy::WorkQueue,
            // Full means refusing, never forgetting.
            discard: DiscardPolicy::New,
            max_bytes: i64::try_from(settings.stream_max_bytes.as_u64()).unwrap_or(i64::MAX),
            max_age: settings.stream_max_age,
            duplicate_window: settings.stream_duplicate_window,
            num_replicas: settings.stream_replicas.into(),
            storage: StorageType::File,
            ..Default::default()
        };
        let dead = stream::Config {
            name: self.names.dead_stream(),
            description: Some("Messages that could not be stored, with the reason".into()),
            subjects: vec![self.names.dead_subject(">")],
            discard: DiscardPolicy::New,
            max_bytes: DEAD_MAX_BYTES,
            num_replicas: settings.stream_replicas.into(),
            storage: StorageType::File,
            ..Default::default()
        };
        for stream in [events, dead] {
            let name = stream.name.clone();
            self.context
                .create_or_update_stream(stream)
                .await
                .map_err(|source| StreamError::Create { name, source })?;
        }
        Ok(())
    }

    async fn create_writer(&self, settings: &StreamSettings) -> Result<(), StreamError> {
        let writer = pull::Config {
            durable_name: Some(WRITER.into()),
            description: Some("Stores events in the database".into()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: settings.ack_wait,
            max_ack_pending: MAX_ACK_PENDING,
            ..Default::default()
        };
        let stream = self.names.events_stream();
        self.context.create_consumer_on_stream(writer, stream).await.map_err(StreamError::CreateWriter)?;
        Ok(())
    }
}

/// Tries until it succeeds: servers that start together come up in any order. Only a server that is too old ends it.
pub async fn when_up<F: Future<Output = Result<(), StreamError>>>(
    prepare: impl Fn() -> F,
) -> Result<(), StreamError> {
    let mut told = String::new();
    loop {
        match prepare().await {
            Err(error @ StreamError::TooOld(_)) => return Err(error),
            Err(error) => {
                let error = crate::telemetry::chain(&error);
                if error != told {
                    warn!(error, "the stream is not ready; trying again");
                    told = error;
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Ok(()) => return Ok(()),
        }
    }
}

fn options() -> ConnectOptions {
    ConnectOptions::new()
        .name("weir")
        // A dead peer is seen after two missed pings.
        .ping_interval(Duration::from_secs(10))
        .event_callback(|event| async move {
            match event {
                Event::Connected => info!("connected to NATS"),
                // One per failed try to connect again, and what we do ourselves.
                event @ (Event::ClientError(_) | Event::Draining | Event::Closed) => debug!(%event, "NATS"),
                event => warn!(%event, "the connection to NATS changed"),
            }
        })
}
