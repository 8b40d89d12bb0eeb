//! Bare handlers of the requests that `load` sends, over the server of weir: what no event service in this stack can beat.
//! They know no keys, no rates, no validation and no duplicates, and answer as weir does.

use std::sync::Arc;

use anyhow::Context as _;
use async_nats::jetstream::{
    self, Context,
    stream::{self, DiscardPolicy, RetentionPolicy, StorageType},
};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use poem::{
    Endpoint, IntoResponse, Request, Response, Route,
    endpoint::make,
    error::{BadRequest, ServiceUnavailable},
    http::StatusCode,
    post,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use weir::{
    config::{Http, Nats, StreamSettings},
    http::server,
    signals,
};

/// The stream and its only subject. It is made anew at the start, and goes at the end.
const STREAM: &str = "weir-bench-bound";

#[derive(Args)]
pub(crate) struct Options {
    /// What the handler does before it answers
    work: Handling,
    #[command(flatten)]
    http: Http,
    #[command(flatten)]
    nats: Nats,
    #[command(flatten)]
    stream: StreamSettings,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Handling {
    /// Parses the body, borrowed
    Parse,
    /// The same, publishes the body as one message as it is, and waits for the stream's ack
    Publish,
}

#[derive(Deserialize)]
struct Events<'b> {
    #[serde(borrow)]
    events: Vec<BoundEvent<'b>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is parsed, which is all that is measured")]
struct BoundEvent<'b> {
    event_id: &'b str,
    user_id: &'b str,
    event_type: &'b str,
    occurred_at: &'b str,
    #[serde(borrow)]
    properties: &'b RawValue,
}

/// Serves until SIGTERM, on as many threads as weir.
pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(options))
}

async fn serve(Options { work, http, nats, stream }: Options) -> anyhow::Result<()> {
    let ending = signals::ending()?;
    let listener = tokio::net::TcpListener::bind(http.http_addr)
        .await
        .with_context(|| format!("cannot listen on {}", http.http_addr))?;
    match work {
        Handling::Parse => server::serve(listener, route(None), &http, ending).await?,
        Handling::Publish => {
            let context = create_stream(&nats, &stream).await?;
            server::serve(listener, route(Some(context.clone())), &http, ending).await?;
            context.delete_stream(STREAM).await?;
        }
    }
    Ok(())
}

/// With the settings of weir's own stream.
async fn create_stream(nats: &Nats, settings: &StreamSettings) -> anyhow::Result<Context> {
    let context = jetstream::new(async_nats::connect(&nats.nats_url).await.context("NATS_URL")?);
    context.delete_stream(STREAM).await.ok(); // there is none, unless a run before was killed
    let config = stream::Config {
        name: STREAM.into(),
        subjects: vec![STREAM.into()],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        max_bytes: i64::try_from(settings.stream_max_bytes.as_u64()).unwrap_or(i64::MAX),
        max_age: settings.stream_max_age,
        duplicate_window: settings.stream_duplicate_window,
        num_replicas: settings.stream_replicas.into(),
        storage: StorageType::File,
        ..Default::default()
    };
    context.create_stream(config).await.context("the stream of the bound cannot be created")?;
    Ok(context)
}

fn route(stream: Option<Context>) -> impl Endpoint<Output = Response> {
    let stream = Arc::new(stream);
    Route::new().at("/events", post(make(move |request| take(request, stream.clone()))))
}

async fn take(mut request: Request, stream: Arc<Option<Context>>) -> poem::Result<Response> {
    let body = request.take_body().into_bytes().await?;
    let events = parse(&body).map_err(BadRequest)?;
    if let Some(stream) = &*stream {
        let ack = stream.publish(STREAM, body).await.map_err(ServiceUnavailable)?;
        ack.await.map_err(ServiceUnavailable)?;
    }
    let answer = format!(r#"{{"accepted":{events},"duplicates":0,"rejected":[]}}"#);
    let response = answer.with_content_type("application/json").with_status(StatusCode::ACCEPTED);
    Ok(response.into_response())
}

/// The number of events.
fn parse(body: &Bytes) -> serde_json::Result<usize> {
    if body.starts_with(br#"{"events""#) {
        Ok(serde_json::from_slice::<Events<'_>>(body)?.events.len())
    } else {
        serde_json::from_slice::<BoundEvent<'_>>(body).map(|_| 1)
    }
}
