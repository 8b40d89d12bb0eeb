//! Signs of life of the worker, over HTTP.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use poem::{Endpoint, IntoResponse, Response, Route, endpoint::make, get, http::StatusCode};
use sqlx::PgPool;
use weir::{store, stream::Stream};

use crate::trouble::Trouble;

/// A transaction that failed is tried again at once, and hardly ever fails twice.
const GRACE: Duration = Duration::from_secs(5);

/// `/health` while the process lives, `/ready` while database and NATS can be reached and events are stored, `/metrics` for
/// Prometheus.
pub(crate) fn routes(
    pool: PgPool,
    stream: Stream,
    storing: Trouble,
    metrics: PrometheusHandle,
) -> impl Endpoint<Output = Response> {
    Route::new()
        .at("/health", get(make(|_| async { "ok" })))
        .at("/ready", get(make(move |_| ready(pool.clone(), stream.clone(), storing.clone()))))
        .at("/metrics", get(make(move |_| std::future::ready(metrics.render()))))
}

async fn ready(pool: PgPool, stream: Stream, storing: Trouble) -> Response {
    let not_ready = if !store::is_up(&pool).await {
        "the database cannot be reached".into()
    } else if !stream.is_ready() {
        "NATS cannot be reached, or the stream is not there yet".into()
    } else if let Some(error) = storing.lasting(GRACE) {
        format!("events are not stored: {error}")
    } else {
        return "ok".into_response();
    };
    not_ready.with_status(StatusCode::SERVICE_UNAVAILABLE).into_response()
}
