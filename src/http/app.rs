//! The whole interface: all operations, and around them what every request has in common.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use futures::FutureExt;
use metrics_exporter_prometheus::PrometheusHandle;
use poem::{
    Endpoint, EndpointExt, IntoResponse, Request, Response, Route,
    http::{HeaderValue, Method, Version, header},
    web::Redirect,
};
use sqlx::PgPool;
use tracing::{Instrument, Span, debug, error, field, info, info_span, warn};

use super::{
    cors,
    extract::{auth::Authenticator, body::BodyLimits, receiver::Receiver},
    openapi::{self, known::KnownPaths},
    respond::{
        problem::{Code, Problem},
        warnings,
    },
    routes::{
        compat::EarlierApi,
        events::EventsApi,
        health::OperationApi,
        merges::MergesApi,
        sdks,
        stats::{self, StatisticsApis},
        users::UsersApi,
    },
    script,
};
use crate::projects::{event_types::EventTypes, key_cache::Keys};
use crate::{
    config,
    ingest::Ingest,
    limits::admission::Admission,
    model::request_id::{self, RequestId},
    store::read::snapshot::Reader,
    stream::Stream,
    telemetry::{self, metrics},
};

/// Asked every few seconds by machines: a line for each would bury the others.
const PROBED: [&str; 4] = ["/health", "/metrics", "/ready", "/ready/ingest"];

/// What the interface stands on.
pub struct Parts {
    pub pool: PgPool,
    pub reader: Reader,
    pub stream: Stream,
    pub ingest: Ingest,
    pub admission: Admission,
    pub http: config::Http,
    pub metrics: PrometheusHandle,
}

type Operations = (EventsApi, UsersApi, MergesApi, StatisticsApis, EarlierApi, OperationApi);

/// The OpenAPI document, as JSON.
///
/// # Panics
/// Never: a document can be written.
pub fn openapi() -> String {
    serde_json::to_string_pretty(&openapi::describe::<Operations>()).expect("a document can be written")
}

/// The whole interface. Must be called in a runtime.
pub fn app(parts: Parts) -> impl Endpoint<Output = Response> + 'static {
    let Parts { pool, reader, stream, ingest, admission, http, metrics } = parts;
    // poem clones it for each request.
    let authenticator = Arc::new(Authenticator::new(Keys::new(pool.clone()), &ingest.rates, &http));
    let (deduplicator, event_types) = (ingest.deduplicator.clone(), ingest.event_types.clone());
    let limits = BodyLimits::new(&ingest.limits, &http);
    let receiver = Receiver { ingest, admission, limits };
    let operations: Operations = (
        EventsApi { receiver: receiver.clone(), pool: pool.clone() },
        UsersApi { pool: pool.clone(), reader: reader.clone() },
        MergesApi { pool: pool.clone() },
        stats::apis(&reader),
        EarlierApi { receiver: receiver.clone(), pool: pool.clone() },
        OperationApi { pool, stream, deduplicator, metrics },
    );
    let sdk_calls = sdks::routes(&receiver);
    let service = openapi::service(operations);
    let spec = service.spec();
    let document = openapi::complete(&spec);
    let known = Arc::new(KnownPaths::from_document(&document));
    let json = serde_json::to_string_pretty(&document).expect("a document can be written");
    let yaml = serde_yaml_ng::to_string(&document).expect("a document can be written");
    let swagger = openapi::page(&service.swagger_ui_html(), &spec, document);
    Route::new()
        .at("/docs", openapi::page::page("text/html; charset=utf-8", swagger))
        .at("/openapi.json", openapi::page::page("application/json", json))
        .at(&http.script_path, script::endpoint())
        .at("/openapi.yaml", openapi::page::page("application/yaml", yaml))
        .nest_no_strip(sdks::PREFIX, sdk_calls)
        .nest("/", service)
        .data(authenticator)
        .around(move |endpoint, request| handle(endpoint, request, known.clone(), event_types.clone()))
}

/// What every request has in common: an id, known parameters, a problem document for every error, a line in the log,
/// and its place in the metrics.
async fn handle<E: Endpoint>(
    endpoint: Arc<E>,
    mut request: Request,
    known: Arc<KnownPaths>,
    event_types: EventTypes,
) -> poem::Result<Response> {
    let begun = Instant::now();
    let request_id = RequestId::of(&request);
    request.set_data(request_id.clone());
    if let Some(path) = sdks::served_at(request.uri().path()) {
        move_to(&mut request, &path);
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let page = request.headers().get(header::ORIGIN).cloned();
    // Project and key are known when the key is looked up.
    let span = info_span!(
        "request",
        request_id = request_id.as_str(),
        project_id = field::Empty,
        key_id = field::Empty
    );

    // Boxed, because each layer around it would move it.
    let answer = Box::pin(async {
        one_host(&request)?;
        let is_sdk = path.starts_with(sdks::PREFIX);
        if let Some(preflight) = cors::preflight(&request, known.methods(&path), is_sdk) {
            return Ok(preflight);
        }
        if path == "/" && method == Method::GET {
            return Ok(Redirect::temporary("/docs").into_response()); // who comes with a browser wants to read
        }
        known.check(&method, &path, request.uri().query())?;
        match AssertUnwindSafe(endpoint.call(request)).catch_unwind().await {
            Ok(result) => result.map(IntoResponse::into_response),
            Err(_) => Err(Problem::internal(std::io::Error::other("the handler panicked")).into()),
        }
    });
    let answer = warnings::with_warnings(&event_types, answer).instrument(span.clone());
    let mut response = match answer.await {
        Ok(response) => response,
        Err(error) => {
            let mut problem = Problem::from_poem(error);
            if problem.code == Code::MethodNotAllowed {
                let methods = known.methods(&path);
                problem.detail = format!("This endpoint takes {methods}.").into();
                problem.headers.push((header::ALLOW, methods.to_owned()));
            }
            if problem.code == Code::NotFound && known.path(&path).is_none() {
                problem.detail = match known.meant(&path) {
                    Some(meant) => format!("There is no such endpoint. Did you mean {meant}?"),
                    None => "There is no such endpoint. All endpoints are listed at /docs.".into(),
                }
                .into();
            }
            log_problem(&problem, &span);
            problem.to_response(request_id.as_str())
        }
    };
    if let Ok(id) = HeaderValue::from_str(request_id.as_str()) {
        response.headers_mut().entry(request_id::HEADER).or_insert(id);
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Answers are about persons, or of the moment.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-store"));
    if let Some(page) = page {
        cors::expose(headers, page, path.starts_with(sdks::PREFIX));
    }
    let (status, elapsed) = (response.status().as_u16(), begun.elapsed());
    let documented = known.path(&path);
    metrics::api_request(documented.unwrap_or("other"), status, elapsed);
    // A path may hold a user's id, which has no place in logs.
    let path = documented.unwrap_or_else(|| first_part(&path));
    let microseconds = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        if PROBED.contains(&path) {
            debug!(%method, path, status, microseconds, "request");
        } else {
            info!(%method, path, status, microseconds, "request");
        }
    });
    Ok(response)
}

/// Serves a request as if it had been sent to another path.
fn move_to(request: &mut Request, path: &str) {
    let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = format!("{path}{query}").parse().ok();
    if let Ok(uri) = parts.try_into() {
        *request.uri_mut() = uri;
    }
}

/// RFC 9112: a request says once for whom it is. Who says it twice may be understood differently by a proxy.
fn one_host(request: &Request) -> Result<(), Problem> {
    match request.headers().get_all(header::HOST).iter().count() {
        1 => Ok(()),
        0 if request.version() == Version::HTTP_10 => Ok(()),
        hosts => Err(Problem::new(Code::BadRequest, format!("expected one Host header, got {hosts}"))),
    }
}

/// `/users` of `/users/17/friends`, with slashes that are too many: `//events`, `/events/`.
fn first_part(path: &str) -> &str {
    let begin = path.len() - path.trim_start_matches('/').len();
    match path[begin..].find('/') {
        Some(at) if path[begin + at..].trim_start_matches('/').is_empty() => path,
        Some(at) => &path[..begin + at],
        None => path,
    }
}

fn log_problem(problem: &Problem, span: &Span) {
    metrics::request_refused(problem.code.name());
    let error = telemetry::chain(problem);
    let _entered = span.enter();
    match problem.status().as_u16() {
        500 => error!(error, "request failed"),
        503 => warn!(error, "request refused for now"),
        _ => debug!(error, "request refused"),
    }
}
