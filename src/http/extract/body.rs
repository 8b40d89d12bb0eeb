//! The body of a request that sends: its bytes, decompressed, and how they are to be read.
//!
//! poem-openapi's own `Json` would build a tree of values first; here the bytes stay as they came. What they must be like
//! stands in `document.json`.

use std::{marker::PhantomData, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use poem::{
    Request, RequestBody,
    http::{HeaderMap, header},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef},
};

use crate::http::respond::problem::{Code, Problem};
use crate::{
    config,
    ingest::{
        encoding::{Decompression, Encoding, NotDecompressed},
        wire::{self, Call, Format},
    },
    limits::admission::{Admission, LARGE, Memory},
    model::project::ProjectId,
};

/// A body with events that has not been read, in one of the formats of a call.
pub struct EventsBody<'r, C> {
    request: &'r Request,
    body: poem::Body,
    call: PhantomData<fn() -> C>,
}

impl<'a, C: Call> ApiExtractor<'a> for EventsBody<'a, C> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let media_type = |content_type| MetaMediaType {
            content_type,
            schema: MetaSchemaRef::Inline(Box::new(MetaSchema::ANY)),
        };
        let content = content_types::<C>().map(media_type).collect();
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self { request, body: body.take()?, call: PhantomData })
    }
}

fn content_types<C: Call>() -> impl Iterator<Item = &'static str> {
    C::FORMATS.iter().flat_map(|format| format.content_types().iter().copied())
}

fn format<C: Call>(headers: &HeaderMap) -> Result<&'static Format, Problem> {
    C::FORMATS.iter().find(|format| format.recognises(headers)).ok_or_else(|| {
        let known = content_types::<C>().collect::<Vec<_>>().join(", ");
        let detail = format!("expected a Content-Type of {known}; got '{}'", wire::content_type(headers));
        Problem::new(Code::UnsupportedMediaType, detail)
    })
}

fn encoding(request: &Request) -> Result<Option<Encoding>, Problem> {
    let name = request.header(header::CONTENT_ENCODING).unwrap_or_default().trim();
    if name.is_empty() || name.eq_ignore_ascii_case("identity") {
        return Ok(None);
    }
    let unsupported = || {
        let known = Encoding::ALL.map(Encoding::name).join(", ");
        let detail = format!("expected a Content-Encoding of {known}, one of them; got '{name}'");
        let mut problem = Problem::new(Code::UnsupportedMediaType, detail);
        problem.headers.push((header::ACCEPT_ENCODING, known));
        problem
    };
    Encoding::from_name(name).map(Some).ok_or_else(unsupported)
}

/// Bounds on a body.
#[derive(Clone, Copy)]
pub struct BodyLimits {
    /// Bytes as sent.
    pub sent: usize,
    pub decompressed: usize,
    pub timeout: Duration,
}

impl BodyLimits {
    pub fn new(limits: &config::Limits, http: &config::Http) -> Self {
        let bytes = |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        Self {
            sent: bytes(limits.max_body),
            decompressed: bytes(limits.max_decompressed),
            timeout: http.body_timeout,
        }
    }
}

/// Whether a known bot has opened the page that sends. Programs are not judged: they may say of themselves what they like.
pub fn is_from_bot(request: &Request) -> bool {
    request.headers().contains_key(header::ORIGIN)
        && request.header(header::USER_AGENT).is_some_and(iscrawl::is_crawler)
}

impl<C: Call> EventsBody<'_, C> {
    pub fn is_from_bot(&self) -> bool {
        is_from_bot(self.request)
    }

    /// Reads the body of a project's request, within its bounds and what there is room for.
    pub async fn read(
        self,
        limits: BodyLimits,
        admission: &Admission,
        project_id: ProjectId,
    ) -> Result<ReadBody, Problem> {
        let headers = self.request.headers();
        let format = format::<C>(headers)?;
        let encoding = encoding(self.request)?;
        let (sent, memory) = as_sent(self.request, self.body, limits, admission.memory(project_id)).await?;
        let (bytes, memory) = match encoding {
            None => (sent, memory),
            Some(encoding) => decompressed(encoding, (sent, memory), limits, admission, project_id).await?,
        };
        let bytes = match format.unpack {
            Some(unpack) => unpack(headers, &bytes)?.into(),
            None => bytes,
        };
        Ok(ReadBody { bytes, format, memory })
    }
}

/// The body of a project's SDK, within the same bounds. What begins as gzip does is gzip, also if no header says so:
/// posthog-js cannot set one.
pub async fn read_of_sdk(
    request: &Request,
    body: poem::Body,
    limits: BodyLimits,
    admission: &Admission,
    (memory, project_id): (Memory, ProjectId),
) -> Result<(Bytes, Memory), Problem> {
    let encoding = encoding(request)?;
    let (sent, memory) = as_sent(request, body, limits, memory).await?;
    match encoding.or_else(|| sent.starts_with(wire::GZIP).then_some(Encoding::Gzip)) {
        None => Ok((sent, memory)),
        Some(encoding) => decompressed(encoding, (sent, memory), limits, admission, project_id).await,
    }
}

async fn as_sent(
    request: &Request,
    body: poem::Body,
    limits: BodyLimits,
    mut memory: Memory,
) -> Result<(Bytes, Memory), Problem> {
    let announced = request.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let too_large = || Problem::new(Code::BodyTooLarge, format!("at most {} bytes are taken", limits.sent));
    if announced.is_some_and(|length| length > limits.sent) {
        return Err(too_large());
    }
    let reading = collect(body, limits.sent, announced, &mut memory);
    let sent = tokio::time::timeout(limits.timeout, reading).await.map_err(|_| {
        let seconds = limits.timeout.as_secs_f32();
        let mut problem =
            Problem::new(Code::BodyTimeout, format!("the body did not arrive within {seconds} seconds"));
        problem.headers.push((header::CONNECTION, "close".into()));
        problem
    })??;
    Ok((sent.ok_or_else(too_large)?, memory))
}

async fn decompressed(
    encoding: Encoding,
    (sent, memory): (Bytes, Memory),
    limits: BodyLimits,
    admission: &Admission,
    project_id: ProjectId,
) -> Result<(Bytes, Memory), Problem> {
    let decompression = Decompression::new(encoding, sent, limits.decompressed, memory)?;
    decompress(decompression, admission, project_id).await
}

/// A body that was read, and the memory that is counted for it and for what is made of it.
pub struct ReadBody {
    pub bytes: Bytes,
    pub format: &'static Format,
    pub memory: Memory,
}

/// The bytes of a body; nothing, if they are more than `limit`. Who has sent much has room for all that was announced, so
/// that it is not copied again and again while it grows; pages that nobody has written to take no memory.
async fn collect(
    body: poem::Body,
    limit: usize,
    announced: Option<usize>,
    memory: &mut Memory,
) -> Result<Option<Bytes>, Problem> {
    let mut stream = body.into_bytes_stream();
    let announced = announced.unwrap_or_default();
    let mut collected = BytesMut::with_capacity(announced.min(LARGE));
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(Problem::body_not_whole)?;
        if collected.len() + chunk.len() > limit {
            return Ok(None);
        }
        memory.grow_to(collected.len() + chunk.len())?;
        if collected.len() + chunk.len() > collected.capacity() {
            collected.reserve(chunk.len().max(announced.saturating_sub(collected.len())));
        }
        collected.extend_from_slice(&chunk);
    }
    Ok(Some(collected.freeze()))
}

/// An ordinary body at once; one that takes long, or much memory, in its turn and not on a thread that serves requests.
async fn decompress(
    mut decompression: Decompression,
    admission: &Admission,
    project_id: ProjectId,
) -> Result<(Bytes, Memory), Problem> {
    if !decompression.is_light() || !decompression.go_on(LARGE)? {
        let turn = admission.large(project_id).await?;
        let work = tokio::task::spawn_blocking(move || {
            decompression.finish()?;
            drop(turn);
            Ok::<_, NotDecompressed>(decompression)
        });
        decompression = work.await.map_err(Problem::internal)??;
    }
    let (bytes, memory) = decompression.into_parts();
    Ok((bytes.into(), memory))
}
