//! Signs of life.
#![allow(clippy::unused_async, reason = "poem-openapi asks for async, also of what waits for nothing")]

use metrics_exporter_prometheus::PrometheusHandle;
use poem_openapi::{
    ApiResponse, Enum, Object, OpenApi,
    payload::{Json, PlainText},
};
use sqlx::PgPool;

use crate::http::openapi::Tag;
use crate::{ingest::dedup::Deduplicator, store, stream::Stream};

pub struct OperationApi {
    pub pool: PgPool,
    pub stream: Stream,
    pub deduplicator: Deduplicator,
    pub metrics: PrometheusHandle,
}

#[derive(Object)]
struct Health {
    status: ReadyStatus,
}

#[derive(Object)]
struct Readiness {
    status: ReadyStatus,
    checks: HealthChecks,
}

/// Whether each part can be reached.
#[derive(Object)]
#[oai(rename = "Checks")]
struct HealthChecks {
    #[oai(skip_serializing_if_is_none)]
    database: Option<CheckStatus>,
    nats: CheckStatus,
    redis: CheckStatus,
}

#[derive(Enum, Clone, Copy, PartialEq)]
#[oai(rename_all = "snake_case")]
enum CheckStatus {
    Up,
    Down,
}

#[derive(Enum, Clone, Copy, PartialEq)]
#[oai(rename_all = "snake_case")]
enum ReadyStatus {
    Ok,
    /// Works, without deduplication in Redis.
    Degraded,
    Unavailable,
}

#[derive(ApiResponse)]
enum ReadyResponse {
    /// Ready
    #[oai(status = 200)]
    Ready(Json<Readiness>),
    /// Not ready: send requests elsewhere
    #[oai(status = 503)]
    Unready(Json<Readiness>),
}

#[OpenApi(tag = "Tag::Operation")]
impl OperationApi {
    /// Alive
    ///
    /// 200 while the process lives.
    #[oai(path = "/health", method = "get", operation_id = "health")]
    async fn health(&self) -> Json<Health> {
        Json(Health { status: ReadyStatus::Ok })
    }

    /// Ready for everything
    ///
    /// Whether database and NATS can be reached. Without Redis weir is degraded and still ready.
    #[oai(path = "/ready", method = "get", operation_id = "ready")]
    async fn ready(&self) -> ReadyResponse {
        self.readiness(Some(check(store::is_up(&self.pool).await))).await
    }

    /// Ready to take events
    ///
    /// Whether what taking events needs can be reached; the database is not among it.
    #[oai(path = "/ready/ingest", method = "get", operation_id = "ready_ingest")]
    async fn ready_ingest(&self) -> ReadyResponse {
        self.readiness(None).await
    }

    /// Metrics
    ///
    /// In the text format of Prometheus.
    #[oai(path = "/metrics", method = "get", operation_id = "metrics")]
    async fn metrics(&self) -> PlainText<String> {
        PlainText(self.metrics.render())
    }

    async fn readiness(&self, database: Option<CheckStatus>) -> ReadyResponse {
        let checks = HealthChecks {
            database,
            nats: check(self.stream.has_room().await),
            redis: check(self.deduplicator.is_up().await),
        };
        let status = if checks.nats == CheckStatus::Down || checks.database == Some(CheckStatus::Down) {
            ReadyStatus::Unavailable
        } else if checks.redis == CheckStatus::Down {
            ReadyStatus::Degraded
        } else {
            ReadyStatus::Ok
        };
        let readiness = Json(Readiness { status, checks });
        match status {
            ReadyStatus::Ok | ReadyStatus::Degraded => ReadyResponse::Ready(readiness),
            ReadyStatus::Unavailable => ReadyResponse::Unready(readiness),
        }
    }
}

fn check(up: bool) -> CheckStatus {
    if up { CheckStatus::Up } else { CheckStatus::Down }
}
