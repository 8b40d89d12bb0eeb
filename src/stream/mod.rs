//! The stream between the API and the workers: JetStream, where an accepted event is durable until it is stored.

pub mod dead;
pub mod message;
pub mod publish;

use std::time::Duration;

use async_nats::{
    Client, ConnectOptions, Event,
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
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Why the stream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("cannot connect to NATS")]
    Connect(#[from] async_nats::ConnectError),
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
}

impl Stream {
    /// Connects, and creates the streams and the consumer or brings them to these settings. Only the API does so: the
    /// settings have one owner.
    pub async fn create(nats: &Nats, settings: &StreamSettings) -> Result<Self, StreamError> {
        let stream = Self::connect(nats).await?;
        stream.create_streams(settings).await?;
        stream.create_writer(settings).await?;
        Ok(stream)
    }

    /// Connects to what the API has created.
    pub async fn attach(nats: &Nats) -> Result<Self, StreamError> {
        let stream = Self::connect(nats).await?;
        stream.writer().await?;
        Ok(stream)
    }

    async fn connect(nats: &Nats) -> Result<Self, StreamError> {
        let context = jetstream::context::ContextBuilder::new()
            .timeout(API_TIMEOUT)
            // The publisher bounds what is in flight itself, and answers at once when there is no room.
            .backpressure_on_inflight(false)
            .build(connect(&nats.nats_url).await?);
        Ok(Self { context, names: Names::new(&nats.namespace) })
    }

    /// Whether messages can be published and consumed now.
    pub fn is_connected(&self) -> bool {
        self.context.client().connection_state() == async_nats::connection::State::Connected
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

/// Tries until NATS is there: servers that start together come up in any order.
pub async fn when_up<F: Future<Output = Result<Stream, StreamError>>>(
    open: impl Fn() -> F,
) -> Result<Stream, StreamError> {
    loop {
        match open().await {
            Err(error @ StreamError::TooOld(_)) => return Err(error),
            Err(error) => {
                warn!(error = crate::telemetry::chain(&error), "the stream is not ready; trying again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Ok(stream) => return Ok(stream),
        }
    }
}

async fn connect(url: &str) -> Result<Client, StreamError> {
    let servers: Vec<&str> = url.split(',').map(str::trim).collect();
    let client = ConnectOptions::new()
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
        .connect(servers)
        .await?;
    let (major, minor, patch) = OLDEST_SERVER;
    if client.is_server_compatible(major, minor, patch) {
        Ok(client)
    } else {
        Err(StreamError::TooOld(client.server_info().version))
    }
}
