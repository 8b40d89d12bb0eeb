//! Signs of life of the worker, over HTTP.

use metrics_exporter_prometheus::PrometheusHandle;
use poem::{Endpoint, IntoResponse, Response, Route, endpoint::make, get, http::StatusCode};
use sqlx::PgPool;
use weir::{store, stream::Stream};

/// `/health` while the process lives, `/ready` while database and NATS can be reached, `/metrics` for Prometheus.
pub(crate) fn routes(
    pool: PgPool,
    stream: Stream,
    metrics: PrometheusHandle,
) -> impl Endpoint<Output = Response> {
    Route::new()
        .at("/health", get(make(|_| async { "ok" })))
        .at("/ready", get(make(move |_| ready(pool.clone(), stream.clone()))))
        .at("/metrics", get(make(move |_| std::future::ready(metrics.render()))))
}

async fn ready(pool: PgPool, stream: Stream) -> Response {
    let (status, text) = match (store::is_up(&pool).await, stream.is_ready()) {
        (true, true) => (StatusCode::OK, "ok"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "the database cannot be reached"),
        (_, false) => {
            (StatusCode::SERVICE_UNAVAILABLE, "NATS cannot be reached, or the stream is not there yet")
        }
    };
    text.with_status(status).into_response()
}
