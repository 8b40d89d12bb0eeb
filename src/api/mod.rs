//! The HTTP interface: one struct of operations per subject, around them what every request has in common.

pub mod auth;
mod body;
mod events;
mod instant;
mod operation;
mod parameters;
mod problem;
mod stats;

use std::{collections::HashMap, marker::PhantomData, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use futures::FutureExt;
use metrics_exporter_prometheus::PrometheusHandle;
use poem::{
    Endpoint, EndpointExt, IntoResponse, Request, Response, Route,
    endpoint::{BoxEndpoint, make_sync},
    http::{HeaderName, HeaderValue, Method},
};
use poem_openapi::{
    ExtraHeader, LicenseObject, OpenApi, OpenApiService, Tags,
    registry::{MetaApi, Registry},
};
use sqlx::PgPool;
use tracing::{Instrument, debug, error, info, info_span, warn};
use uuid::Uuid;

use self::{
    auth::Keys, body::BodyLimit, events::EventsApi, operation::OperationApi, parameters::KnownParameters,
    problem::Problem, stats::StatsApi,
};
use crate::{ingest::Ingest, metrics, stream::Stream, telemetry};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Asked every few seconds by machines: a line for each would bury the others.
const PROBED: [&str; 4] = ["/health", "/metrics", "/ready", "/ready/ingest"];

/// What the interface stands on.
pub struct Parts {
    pub pool: PgPool,
    pub stream: Stream,
    pub ingest: Ingest,
    pub metrics: PrometheusHandle,
}

/// Groups of operations in the documentation.
#[derive(Tags)]
enum Tag {
    /// Send events, and read those of a user.
    Events,
    /// Ask about users and events. Days are those of the project's time zone; a range of days includes both its ends.
    Statistics,
    /// Whether weir lives and what it does.
    Operation,
}

/// A request's id: the caller's, or a new one.
#[derive(Clone, Debug)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The caller's id is taken if it has 1 to 128 visible ASCII characters: it goes into logs and answers.
    fn of(request: &Request) -> Self {
        request
            .header(&REQUEST_ID)
            .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()))
            .map_or_else(|| Self(Uuid::now_v7().to_string().into()), |id| Self(id.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

type Operations = (EventsApi, StatsApi, OperationApi);

fn service<T: OpenApi>(operations: T) -> OpenApiService<T, ()> {
    OpenApiService::new(operations, "weir", env!("CARGO_PKG_VERSION"))
        .description(include_str!("description.md"))
        .license(LicenseObject::new("MIT OR Apache-2.0"))
        .extra_response_header::<String, _>(
            ExtraHeader::new("X-Request-Id").description("The request's id: the caller's, or a new one."),
        )
}

/// The OpenAPI document, as JSON.
pub fn openapi() -> String {
    service(Described::<Operations>(PhantomData)).spec()
}

/// Operations that are only described: their document needs no servers.
struct Described<T>(PhantomData<fn() -> T>);

impl<T: OpenApi> OpenApi for Described<T> {
    fn meta() -> Vec<MetaApi> {
        T::meta()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn add_routes(self, _routes: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

/// The whole interface.
pub fn app(parts: Parts) -> impl Endpoint<Output = Response> + 'static {
    let limit = BodyLimit(usize::try_from(parts.ingest.limits.max_body.as_u64()).unwrap_or(usize::MAX));
    let Parts { pool, stream, ingest, metrics } = parts;
    let keys = Keys::new(pool.clone());
    let filter = ingest.filter.clone();
    let operations: Operations = (
        EventsApi { ingest, pool: pool.clone() },
        StatsApi { pool: pool.clone() },
        OperationApi { pool, stream, filter, metrics },
    );
    let service = service(operations);
    let known = Arc::new(KnownParameters::from_spec(&service.spec()));
    // Made once: poem-openapi would put 1.6 MB of page together for each request.
    let docs: Arc<str> = service.swagger_ui_html().into();
    Route::new()
        .at("/docs", make_sync(move |_| poem::web::Html(docs.to_string())))
        .at("/openapi.json", service.spec_endpoint())
        .at("/openapi.yaml", service.spec_endpoint_yaml())
        .nest("/", service)
        .data(keys)
        .data(limit)
        .around(move |endpoint, request| handle(endpoint, request, known.clone()))
}

/// What every request has in common: an id, known parameters, a problem document for every error, a line in the log,
/// and its place in the metrics.
async fn handle<E: Endpoint>(
    endpoint: Arc<E>,
    mut request: Request,
    known: Arc<KnownParameters>,
) -> poem::Result<Response> {
    let begun = Instant::now();
    let request_id = RequestId::of(&request);
    request.set_data(request_id.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = info_span!("request", request_id = request_id.as_str());

    let answer = async {
        known.check(&method, &path, request.uri().query())?;
        match AssertUnwindSafe(endpoint.call(request)).catch_unwind().await {
            Ok(result) => result.map(IntoResponse::into_response),
            Err(_) => Err(Problem::internal(std::io::Error::other("the handler panicked")).into()),
        }
    };
    let mut response = match answer.instrument(span.clone()).await {
        Ok(response) => response,
        Err(error) => {
            let problem = Problem::from_poem(error);
            let chain = telemetry::chain(&problem);
            let _entered = span.enter();
            match problem.status().as_u16() {
                500 => error!(error = chain, "request failed"),
                503 => warn!(error = chain, "request refused for now"),
                _ => debug!(error = chain, "request refused"),
            }
            problem.to_response(request_id.as_str())
        }
    };
    if let Ok(id) = HeaderValue::from_str(request_id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let (status, elapsed) = (response.status().as_u16(), begun.elapsed());
    metrics::api_request(known.known_path(&path).unwrap_or("other"), status, elapsed);
    let microseconds = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        if PROBED.contains(&path.as_str()) {
            debug!(%method, path, status, microseconds, "request");
        } else {
            info!(%method, path, status, microseconds, "request");
        }
    });
    Ok(response)
}
