//! The stream between the API and the workers: JetStream, where an accepted event is durable until it is stored.

mod breaker;
mod coalesce;
pub mod dead_letters;
mod identity;
mod inbox;
pub mod message;
pub mod orphans;
mod outlet;
pub mod publish;
pub mod state;

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
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::{
    config::{Nats, StreamSettings},
    model::project::ProjectId,
};

/// Lanes of the stream of events. Each project is in one, and each lane has its turn: a project with a long queue holds up
/// those of its lane, not all. There may be more of them later, never fewer: a lane without reader would be forgotten.
pub const LANES: u32 = 4;
/// Messages of a lane that may be with workers at a time.
const MAX_ACK_PENDING: i64 = 16_384;
/// How much of what could not be stored is kept for a person to look at.
const DEAD_MAX_BYTES: i64 = 256 << 20;
/// Below this version NATS could lose a stream when a process dies.
const OLDEST_SERVER: (i64, i64, i64) = (2, 10, 23);
const CLIENT_CAPACITY: usize = 128;
/// How long JetStream may take for what is not a publish.
const API_TIMEOUT: Duration = Duration::from_secs(10);
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long the stream may take to say whether it has room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the stream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("cannot connect to NATS")]
    Connect(#[from] async_nats::ConnectError),
    #[error("NATS cannot be reached")]
    Disconnected,
    #[error("NATS {0} is too old: weir needs 2.10.23, because older servers can lose a stream when they die")]
    TooOld(String),
    #[error(
        "WEIR_STREAM_REPLICAS is {0}, and this NATS is one server, which would lose the stream when it restarts: expected 1"
    )]
    NoCluster(u16),
    #[error(
        "NATS has no room for the stream {name}: it reserves what WEIR_STREAM_MAX_BYTES says, and 256 MiB for what cannot be stored. Free \
         disk, raise max_file_store of NATS, or lower WEIR_STREAM_MAX_BYTES"
    )]
    NoRoom { name: String, source: CreateStreamError },
    #[error("cannot create or update the stream {name}")]
    Create { name: String, source: CreateStreamError },
    #[error("cannot create or update the consumer {name}")]
    CreateWriter { name: String, source: ConsumerError },
    #[error("the stream of events is not there yet: `weir serve` creates it")]
    NoWriter(#[source] ConsumerError),
}

/// Names of streams and subjects under one namespace.
#[derive(Clone, Debug)]
pub struct StreamNames {
    namespace: String,
}

impl StreamNames {
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

    /// Where the events of projects go that share a lane: those of one to its own subject.
    pub(crate) fn events_subject(&self, projects: impl IntoIterator<Item = ProjectId>) -> Option<String> {
        let mut projects = projects.into_iter();
        let first = projects.next()?;
        let lane = lane_of(first);
        Some(if projects.all(|project| project == first) {
            format!("{}.events.{lane}.{first}", self.namespace)
        } else {
            format!("{}.events.{lane}.shared", self.namespace)
        })
    }

    fn all_events_subject(&self) -> String {
        format!("{}.events.*.*", self.namespace)
    }

    /// All projects of a lane.
    fn lane_subject(&self, lane: u32) -> String {
        format!("{}.events.{lane}.*", self.namespace)
    }

    /// Where a message goes that cannot be stored.
    fn dead_subject(&self, reason: &str) -> String {
        format!("{}.dead.{reason}", self.namespace)
    }
}

/// The durable consumer that stores the events of a lane.
fn writer_name(lane: u32) -> String {
    format!("writer-{lane}")
}

pub(crate) fn lane_of(project_id: ProjectId) -> u32 {
    project_id.get().cast_unsigned() % LANES
}

/// A connection to JetStream, where weir's streams and its consumer are.
#[derive(Clone)]
pub struct Stream {
    pub context: Context,
    pub names: StreamNames,
    /// The streams and the consumer are known to be there.
    prepared: Arc<AtomicBool>,
    changes: Arc<StreamSignals>,
}

/// What happens to the connection and to the stream.
#[derive(Default)]
struct StreamSignals {
    /// There was a connection before.
    was_connected: AtomicBool,
    reconnected: Notify,
    disconnected: Notify,
    stream_gone: Notify,
}

impl Stream {
    /// Connects now, or fails.
    pub async fn connect(nats: &Nats) -> Result<Self, StreamError> {
        Self::open(nats, ConnectOptions::new()).await
    }

    /// Connects in the background, now or as soon as NATS is there.
    pub async fn connect_when_up(nats: &Nats) -> Result<Self, StreamError> {
        Self::open(nats, ConnectOptions::new().retry_on_initial_connect()).await
    }

    async fn open(nats: &Nats, options: ConnectOptions) -> Result<Self, StreamError> {
        let changes = Arc::<StreamSignals>::default();
        let options = with_events(options, changes.clone());
        let servers: Vec<&str> = nats.nats_url.split(',').map(str::trim).collect();
        let context = jetstream::context::ContextBuilder::new()
            .timeout(API_TIMEOUT)
            // The publisher bounds what is in flight itself, and answers at once when there is no room.
            .backpressure_on_inflight(false)
            .build(options.connect(servers).await?);
        Ok(Self { context, names: StreamNames::new(&nats.namespace), prepared: Arc::default(), changes })
    }

    /// Creates the streams and the consumer, or brings them to these settings. Only the API does so: the settings have
    /// one owner.
    pub async fn create(&self, settings: &StreamSettings) -> Result<(), StreamError> {
        self.check_server()?;
        if settings.stream_replicas > 1 && self.context.client().server_info().cluster.is_none() {
            return Err(StreamError::NoCluster(settings.stream_replicas));
        }
        self.create_streams(settings).await?;
        self.create_writers(settings).await?;
        self.prepared.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Makes sure that the API has created the streams and the consumer.
    pub async fn attach(&self) -> Result<(), StreamError> {
        self.check_server()?;
        for lane in 0..LANES {
            self.writer(lane).await?;
        }
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

    /// Waits until the connection is made anew: the server has forgotten what was asked of it before.
    pub async fn reconnected(&self) {
        self.changes.reconnected.notified().await;
    }

    /// Waits until the connection breaks: what was asked over it will not be answered.
    async fn disconnected(&self) {
        self.changes.disconnected.notified().await;
    }

    /// The stream of events was found to be gone, or may be.
    pub fn mark_gone(&self) {
        self.prepared.store(false, Ordering::Relaxed);
        self.changes.stream_gone.notify_one();
    }

    /// Waits until the stream of events is found to be gone.
    pub async fn gone(&self) {
        self.changes.stream_gone.notified().await;
    }

    /// Whether messages can be published and consumed now.
    pub fn is_ready(&self) -> bool {
        self.is_connected() && self.prepared.load(Ordering::Relaxed)
    }

    /// Whether a message can be published now: the stream is there, and not full.
    pub async fn has_room(&self) -> bool {
        let full = async || {
            let info = self.events_info().await.ok()?;
            let max_bytes = u64::try_from(info.config.max_bytes).ok();
            Some(max_bytes.is_some_and(|max| info.state.bytes + (max / 100).max(1_024) > max))
        };
        self.is_ready() && tokio::time::timeout(ROOM_TIMEOUT, full()).await == Ok(Some(false))
    }

    /// The durable consumer that stores the events of a lane.
    pub async fn writer(&self, lane: u32) -> Result<Consumer<pull::Config>, StreamError> {
        let stream = self.names.events_stream();
        self.context.get_consumer_from_stream(writer_name(lane), &stream).await.map_err(StreamError::NoWriter)
    }

    /// The sequence up to which everything in a project's lane is acked, without a gap.
    pub async fn stored_up_to(&self, project_id: ProjectId) -> Result<u64, StreamError> {
        Ok(self.writer(lane_of(project_id)).await?.cached_info().ack_floor.stream_sequence)
    }

    async fn create_streams(&self, settings: &StreamSettings) -> Result<(), StreamError> {
        let events = stream::Config {
            name: self.names.events_stream(),
            description: Some("Events that are accepted and wait to be stored".into()),
            subjects: vec![self.names.all_events_subject()],
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
        // In this order: without a place for what cannot be stored, no event is taken.
        for stream in [dead, events] {
            let name = stream.name.clone();
            self.create_or_update(&stream).await.map_err(|source| not_created(name, source))?;
        }
        Ok(())
    }

    async fn create_writers(&self, settings: &StreamSettings) -> Result<(), StreamError> {
        for lane in 0..LANES {
            let name = writer_name(lane);
            let writer = pull::Config {
                durable_name: Some(name.clone()),
                description: Some("Stores events in the database".into()),
                filter_subject: self.names.lane_subject(lane),
                ack_policy: AckPolicy::Explicit,
                ack_wait: settings.ack_wait,
                max_ack_pending: MAX_ACK_PENDING,
                ..Default::default()
            };
            let stream = self.names.events_stream();
            let created = self.context.create_consumer_on_stream(writer, stream).await;
            created.map_err(|source| StreamError::CreateWriter { name, source })?;
        }
        Ok(())
    }
}

fn not_created(name: String, source: CreateStreamError) -> StreamError {
    use jetstream::{ErrorCode, context::CreateStreamErrorKind};
    match source.kind() {
        CreateStreamErrorKind::JetStream(error)
            if error.error_code() == ErrorCode::STORAGE_RESOURCES_EXCEEDED =>
        {
            StreamError::NoRoom { name, source }
        }
        _ => StreamError::Create { name, source },
    }
}

/// Tries until it succeeds: servers that start together come up in any order. Only a server that can
/// never do it ends it.
pub async fn when_up<F: Future<Output = Result<(), StreamError>>>(
    prepare: impl Fn() -> F,
) -> Result<(), StreamError> {
    let mut logged = String::new();
    loop {
        match prepare().await {
            Err(error @ (StreamError::TooOld(_) | StreamError::NoCluster(_))) => return Err(error),
            Err(error) => {
                let error = crate::telemetry::chain(&error);
                if error != logged {
                    warn!(error, "the stream is not ready; trying again");
                    logged = error;
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Ok(()) => return Ok(()),
        }
    }
}

fn with_events(options: ConnectOptions, changes: Arc<StreamSignals>) -> ConnectOptions {
    options
        .name("weir")
        // Commands that wait while the server does not read: they hold messages, of which nobody may want an answer any
        // more. The client sends far faster than it fills them otherwise.
        .client_capacity(CLIENT_CAPACITY)
        // A dead peer is seen after two missed pings.
        .ping_interval(Duration::from_secs(10))
        .event_callback(move |event| {
            let changes = changes.clone();
            async move {
                match event {
                    Event::Connected => {
                        info!("connected to NATS");
                        // The first connection interrupts nobody: what was asked over it is being answered.
                        if changes.was_connected.swap(true, Ordering::Relaxed) {
                            changes.reconnected.notify_waiters();
                        }
                    }
                    Event::Disconnected => {
                        warn!("disconnected from NATS");
                        changes.disconnected.notify_waiters();
                    }
                    // One per failed try to connect again, and what we do ourselves.
                    event @ (Event::ClientError(_) | Event::Draining | Event::Closed) => {
                        debug!(%event, "NATS");
                    }
                    event => warn!(%event, "the connection to NATS changed"),
                }
            }
        })
}
