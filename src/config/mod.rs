//! Configuration: every option is a flag and an environment variable with a default, `--help` is its documentation.
//!
//! Each command takes the sections that it needs and no others. [`parse`] turns a wrong value into a sentence that
//! names the variable.

mod parse;
mod values;

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use poem::http::HeaderName;

pub use self::parse::parse;
use self::values::{
    ack_wait, bytes, client_address, database_url, duration, log_level, namespace, nats_url, redis_url,
    script_path, stream_bytes,
};
use crate::model::origin::Origins;

/// Where TimescaleDB is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct Database {
    /// PostgreSQL with the extensions timescaledb and roaringbitmap
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "postgres://weir@127.0.0.1:55432/weir",
        value_parser = database_url
    )]
    pub database_url: String,
    /// Most connections that this process opens
    #[arg(long, env = "WEIR_DATABASE_CONNECTIONS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub database_connections: u32,
    /// How long to wait for a connection before the question is answered with 503
    #[arg(long, env = "WEIR_DATABASE_TIMEOUT", default_value = "5s", value_parser = duration)]
    pub database_timeout: Duration,
}

/// Where NATS is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "NATS JetStream")]
pub struct Nats {
    /// One or several addresses, separated by commas
    #[arg(long, env = "NATS_URL", hide_env_values = true, default_value = "nats://127.0.0.1:54222", value_parser = nats_url)]
    pub nats_url: String,
    /// Prefix of weir's streams, subjects and Redis keys, so that several weirs can share servers
    #[arg(long, env = "WEIR_NAMESPACE", default_value = "weir", value_parser = namespace)]
    pub namespace: String,
}

/// How the streams are bounded. The API creates them, or brings them to these settings.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Stream")]
pub struct StreamSettings {
    /// Size at which the stream of events is full, and `POST /events` answers 503
    #[arg(long, env = "WEIR_STREAM_MAX_BYTES", default_value = "4GiB", value_parser = stream_bytes)]
    pub stream_max_bytes: ByteSize,
    /// Age at which the stream drops an event that no worker has stored; 0s keeps it until it is stored, which is
    /// what a 202 promises
    #[arg(long, env = "WEIR_STREAM_MAX_AGE", default_value = "0s", value_parser = duration)]
    pub stream_max_age: Duration,
    /// Copies of the stream in a NATS cluster
    #[arg(long, env = "WEIR_STREAM_REPLICAS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=5))]
    pub stream_replicas: u16,
    /// How long the stream recognises a message that is published again
    #[arg(long, env = "WEIR_STREAM_DUPLICATE_WINDOW", default_value = "2m", value_parser = duration)]
    pub stream_duplicate_window: Duration,
    /// How long a worker may take for a message before it comes again; workers prolong it while they try
    #[arg(long, env = "WEIR_ACK_WAIT", default_value = "1m", value_parser = ack_wait)]
    pub ack_wait: Duration,
}

/// How events are published.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Publishing")]
pub struct Publishing {
    /// How long to wait for the stream's ack; a publish is tried twice
    #[arg(long, env = "WEIR_PUBLISH_TIMEOUT", default_value = "5s", value_parser = duration)]
    pub publish_timeout: Duration,
    /// Most requests that wait for the stream's ack; one more is answered with 503
    #[arg(long, env = "WEIR_PUBLISH_IN_FLIGHT", default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..))]
    pub publish_in_flight: u16,
}

/// For the API and the workers alike.
#[derive(Args, Clone, Copy, Debug)]
pub struct Deduplication {
    /// Events with one id that come within this time of each other are one event, whatever their times; the same for the
    /// API and the workers
    #[arg(long, env = "WEIR_DEDUPLICATION_WINDOW", default_value = "24h", value_parser = duration)]
    pub deduplication_window: Duration,
}

/// Where Redis is, the filter for duplicates.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Redis")]
pub struct Redis {
    #[arg(
        long,
        env = "REDIS_URL",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:56379",
        help = "Redis or Valkey",
        value_parser = redis_url
    )]
    pub redis_url: String,
    #[command(flatten)]
    pub deduplication: Deduplication,
    /// How long a request waits for Redis before it goes on without
    #[arg(long, env = "WEIR_REDIS_TIMEOUT", default_value = "250ms", value_parser = duration)]
    pub redis_timeout: Duration,
}

/// How the HTTP server runs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct Http {
    /// Address of the API
    #[arg(long, env = "WEIR_HTTP_ADDR", default_value = "127.0.0.1:8000")]
    pub http_addr: SocketAddr,
    /// Connections that are open at a time; one more is answered with 503 and closed. Each takes a file descriptor
    #[arg(long, env = "WEIR_MAX_CONNECTIONS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
    /// Connections of one address, or of 64 bits of IPv6, while `WEIR_CLIENT_ADDRESS` is `connection`: one address cannot take the
    /// connections of all others
    #[arg(long, env = "WEIR_ADDRESS_CONNECTIONS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub address_connections: u32,
    /// How long a connection may be without a whole head of a request, idle or sending slowly, before it is closed
    #[arg(long, env = "WEIR_IDLE_TIMEOUT", default_value = "75s", value_parser = duration)]
    pub idle_timeout: Duration,
    /// How long a client may take to send a body; a slower one is cut off with 408
    #[arg(long, env = "WEIR_BODY_TIMEOUT", default_value = "30s", value_parser = duration)]
    pub body_timeout: Duration,
    /// Where the address of a client is known from: `connection`, or behind a proxy the header that it sets, such as
    /// X-Forwarded-For, of which the last entry counts
    #[arg(long, env = "WEIR_CLIENT_ADDRESS", default_value = "connection", value_parser = client_address)]
    pub client_address: ClientAddress,
    /// Origins of the web pages that may use a project's keys, if the project has none of its own: separated by commas,
    /// with * for any. Keys are the protection, and browsers send no key by themselves
    #[arg(long, env = "WEIR_ALLOWED_ORIGINS", default_value = "*")]
    pub allowed_origins: Origins,
    /// Path of the script for web pages. Blockers of advertisements know the usual names
    #[arg(long, env = "WEIR_SCRIPT_PATH", default_value = "/weir.js", value_parser = script_path)]
    pub script_path: String,
    /// How long requests under way may take to end after SIGTERM
    #[arg(long, env = "WEIR_SHUTDOWN_GRACE", default_value = "30s", value_parser = duration)]
    pub shutdown_grace: Duration,
}

/// Where the address of a client is known from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    Connection,
    /// The last entry of this header, which the nearest proxy sets.
    Header(HeaderName),
}

/// How much may come, before others would suffer from it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Rates")]
pub struct Rates {
    /// Events that a project may send in a second, in the long run, to all instances together
    #[arg(long, env = "WEIR_RATE_LIMIT", default_value = "50000")]
    pub rate_limit: NonZeroU32,
    /// Events that a project may send at once after a rest
    #[arg(long, env = "WEIR_RATE_BURST", default_value = "100000")]
    pub rate_burst: NonZeroU32,
    /// Requests with a key that may come from an address in a second, in the long run, to one instance; above what one
    /// client needs, below what makes others wait
    #[arg(long, env = "WEIR_ADDRESS_RATE_LIMIT", default_value = "5000")]
    pub address_rate_limit: NonZeroU32,
    /// Such requests that may come at once after a rest
    #[arg(long, env = "WEIR_ADDRESS_RATE_BURST", default_value = "10000")]
    pub address_rate_burst: NonZeroU32,
}

/// How much is worked on at a time; what is more is answered with 503.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub struct Load {
    /// Memory for bodies that are being read or worked on, as sent and decompressed; what is made of them on the way to
    /// the stream takes about as much again. A project has at most half of it. At least twice `WEIR_MAX_DECOMPRESSED` and
    /// `WEIR_MAX_BODY` together, or such a body would never pass
    #[arg(long, env = "WEIR_BODY_MEMORY", default_value = "64MiB", value_parser = bytes)]
    pub body_memory: ByteSize,
    /// Requests with events that are worked on at a time, after their bodies have come; a project has at most half of them
    #[arg(long, env = "WEIR_MAX_REQUESTS", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub max_requests: u32,
    /// How long one more waits for a permit
    #[arg(long, env = "WEIR_QUEUE_TIMEOUT", default_value = "250ms", value_parser = duration)]
    pub queue_timeout: Duration,
}

/// What queries may cost.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Queries")]
pub struct Queries {
    /// How long the database may work on a question; one that takes longer is answered with what to narrow
    #[arg(long, env = "WEIR_QUERY_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub query_timeout: Duration,
    /// Questions that read events, not activity alone, at a time; a project has at most half of them, and others wait.
    /// Each takes a connection to the database
    #[arg(long, env = "WEIR_EVENT_QUERIES", default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=100))]
    pub event_queries: u16,
}

/// Where the worker answers health checks.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct WorkerHttp {
    /// Address of /health, /ready and /metrics
    #[arg(long, env = "WEIR_WORKER_HTTP_ADDR", default_value = "127.0.0.1:8001")]
    pub worker_http_addr: SocketAddr,
}

/// What a request and an event may be at most.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits of what is sent")]
pub struct Limits {
    /// Events in a request
    #[arg(long, env = "WEIR_MAX_EVENTS", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_events: u32,
    /// Bytes of a request's body, as sent
    #[arg(long, env = "WEIR_MAX_BODY", default_value = "5MiB", value_parser = bytes)]
    pub max_body: ByteSize,
    /// Bytes of a request's body, decompressed; a bomb stops here
    #[arg(long, env = "WEIR_MAX_DECOMPRESSED", default_value = "20MiB", value_parser = bytes)]
    pub max_decompressed: ByteSize,
    /// Different event types of a project; each is rows of activity for every hour
    #[arg(long, env = "WEIR_MAX_EVENT_TYPES", default_value = "1000")]
    pub max_event_types: NonZeroU32,
    /// Bytes of an event's properties, as sent
    #[arg(long, env = "WEIR_MAX_PROPERTIES", default_value = "32KiB", value_parser = bytes)]
    pub max_properties: ByteSize,
    /// Levels of objects and arrays in an event's properties
    #[arg(long, env = "WEIR_MAX_PROPERTIES_DEPTH", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=120))]
    pub max_properties_depth: u16,
    /// Age of an event; without a bound one client could create ten thousand chunks
    #[arg(long, env = "WEIR_MAX_EVENT_AGE", default_value = "1826days", value_parser = duration)]
    pub max_event_age: Duration,
    /// How far ahead of weir's clock an event may lie
    #[arg(long, env = "WEIR_MAX_EVENT_AHEAD", default_value = "24h", value_parser = duration)]
    pub max_event_ahead: Duration,
    /// What becomes of the events of pages that known bots have opened: `mark` gives them the property $bot, `drop` takes
    /// none of them, `keep` treats them as all others
    #[arg(long, env = "WEIR_BOTS", value_enum, default_value_t)]
    pub bots: Bots,
}

/// What becomes of the events of bots.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bots {
    #[default]
    Mark,
    Drop,
    Keep,
}

impl Limits {
    /// These, without events that would not be kept.
    #[must_use]
    pub fn within(self, retention: &EventRetention) -> Self {
        match retention.event_retention {
            Duration::ZERO => self,
            kept => Self { max_event_age: self.max_event_age.min(kept), ..self },
        }
    }
}

/// How long events are kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Retention")]
pub struct EventRetention {
    /// Age at which events are dropped, about a week later; what was counted of them stays. Older ones are refused. 0s keeps
    /// them for ever
    #[arg(long, env = "WEIR_EVENT_RETENTION", default_value = "0s", value_parser = duration)]
    pub event_retention: Duration,
}

/// How the consumer writes to the database.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Writing")]
pub struct Storing {
    #[command(flatten)]
    pub deduplication: Deduplication,
    /// Transactions that are written side by side
    #[arg(long, env = "WEIR_WRITERS", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub writers: u16,
    /// Events at which a transaction is full
    #[arg(long, env = "WEIR_WRITE_EVENTS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub write_events: u32,
    /// How long a transaction waits for more events
    #[arg(long, env = "WEIR_WRITE_WAIT", default_value = "100ms", value_parser = duration)]
    pub write_wait: Duration,
    /// How often activity is rolled up at most
    #[arg(long, env = "WEIR_ROLL_UP_INTERVAL", default_value = "1s", value_parser = duration)]
    pub roll_up_interval: Duration,
}

/// How logs are written.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct Logs {
    /// error, warn, info, debug, trace, or directives such as `info,weir=debug`
    #[arg(long, env = "LOG_LEVEL", default_value = "info,async_nats=warn,poem=warn,sqlx::postgres::notice=warn", global = true, value_parser = log_level)]
    pub log_level: String,
    /// json for machines, text for people
    #[arg(long, env = "LOG_FORMAT", default_value = "json", global = true)]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}
