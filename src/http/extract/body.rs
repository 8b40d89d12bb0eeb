//! The body of a request that sends: its bytes, decompressed, and how they are to be read.
//!
//! poem-openapi's own `Json` would build a tree of values first; here the bytes stay as they came. What they must be like
//! stands in `document.json`.

use std::{marker::PhantomData, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use poem::{Body, Request, RequestBody, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef},
};

use crate::http::respond::problem::{Code, Problem};
use crate::{
    config,
    ingest::{
        encoding::{Decompression, Encoding, NotDecompressed},
        wire::{self, Format},
    },
    limits::admission::{Admission, LARGE, Memory},
    model::project::ProjectId,
};

/// Which types of bodies an operation takes.
pub trait Formats: Send + Sync {
    const FORMATS: &'static [(&'static str, Format)];
    /// Whether headers `ce-…` make a request of any type a CloudEvent in binary mode.
    const BINARY_MODE: bool = false;
}

/// `navigator.sendBeacon` sends text/plain.
const JSON: [(&str, Format); 2] = [("application/json", Format::Json), ("text/plain", Format::Json)];

/// What the types of CloudEvents in structured and batched mode begin with.
const CLOUD_EVENTS: &str = "application/cloudevents";

/// All that weir takes.
pub struct Every;

impl Formats for Every {
    const FORMATS: &'static [(&'static str, Format)] = &[
        JSON[0],
        JSON[1],
        ("application/x-ndjson", Format::NdJson),
        ("application/cloudevents+json", Format::CloudEvent),
        ("application/cloudevents-batch+json", Format::CloudEventBatch),
    ];
    const BINARY_MODE: bool = true;
}

/// What the earlier systems took.
pub struct JsonOnly;

impl Formats for JsonOnly {
    const FORMATS: &'static [(&'static str, Format)] = &JSON;
}

/// A body with events that has not been read.
pub struct EventsBody<F> {
    body: Body,
    head: Result<Head, Problem>,
    formats: PhantomData<fn() -> F>,
}

/// What the headers say of a body.
struct Head {
    shape: Shape,
    encoding: Option<Encoding>,
    /// In bytes, as sent.
    announced: Option<usize>,
}

enum Shape {
    Whole(Format),
    /// The body is the data of a CloudEvent whose attributes are these.
    Data(Vec<(String, Vec<u8>)>),
}

impl<'a, F: Formats> ApiExtractor<'a> for EventsBody<F> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let media_type = |&(content_type, _): &(&'static str, Format)| MetaMediaType {
            content_type,
            schema: MetaSchemaRef::Inline(Box::new(MetaSchema::ANY)),
        };
        Some(MetaRequest {
            description: None,
            content: F::FORMATS.iter().map(media_type).collect(),
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self { body: body.take()?, head: Head::of::<F>(request), formats: PhantomData })
    }
}

impl Head {
    fn of<F: Formats>(request: &Request) -> Result<Self, Problem> {
        let announced = request.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        Ok(Self { shape: shape::<F>(request)?, encoding: encoding(request)?, announced })
    }
}

fn shape<F: Formats>(request: &Request) -> Result<Shape, Problem> {
    let content_type = request.content_type().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let format = F::FORMATS.iter().find(|(known, _)| known.eq_ignore_ascii_case(essence));
    let is_cloud_events = essence
        .get(..CLOUD_EVENTS.len())
        .is_some_and(|beginning| beginning.eq_ignore_ascii_case(CLOUD_EVENTS));
    if F::BINARY_MODE && !is_cloud_events && request.headers().contains_key("ce-specversion") {
        let attributes = request.headers().iter().filter_map(|(name, value)| {
            Some((name.as_str().strip_prefix("ce-")?.to_owned(), value.as_bytes().to_vec()))
        });
        let data_type = (!content_type.is_empty())
            .then(|| ("datacontenttype".to_owned(), content_type.as_bytes().to_vec()));
        return Ok(Shape::Data(attributes.chain(data_type).collect()));
    }
    format.map(|&(_, format)| Shape::Whole(format)).ok_or_else(|| {
        let known: Vec<_> = F::FORMATS.iter().map(|(known, _)| *known).collect();
        let detail = format!("expected a Content-Type of {}; got '{content_type}'", known.join(", "));
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

impl<F> EventsBody<F> {
    /// Reads the body of a project's request, within its bounds and what there is room for.
    pub async fn read(
        self,
        limits: BodyLimits,
        admission: &Admission,
        project_id: ProjectId,
    ) -> Result<ReadBody, Problem> {
        let Head { shape, encoding, announced } = self.head?;
        let mut memory = admission.memory(project_id);
        let too_large =
            || Problem::new(Code::BodyTooLarge, format!("at most {} bytes are taken", limits.sent));
        if announced.is_some_and(|length| length > limits.sent) {
            return Err(too_large());
        }
        let reading = collect(self.body, limits.sent, announced, &mut memory);
        let sent = tokio::time::timeout(limits.timeout, reading).await.map_err(|_| {
            let seconds = limits.timeout.as_secs_f32();
            let mut problem =
                Problem::new(Code::BodyTimeout, format!("the body did not arrive within {seconds} seconds"));
            problem.headers.push((header::CONNECTION, "close".into()));
            problem
        })??;
        let sent = sent.ok_or_else(too_large)?;
        let (bytes, memory) = match encoding {
            None => (sent, memory),
            Some(encoding) => {
                let decompression = Decompression::new(encoding, sent, limits.decompressed, memory)?;
                decompress(decompression, admission, project_id).await?
            }
        };
        match shape {
            Shape::Whole(format) => Ok(ReadBody { bytes, format, memory }),
            Shape::Data(attributes) => {
                let attributes = attributes.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
                let event = wire::structured(attributes, &bytes)?;
                Ok(ReadBody { bytes: event.into(), format: Format::CloudEvent, memory })
            }
        }
    }
}

/// A body that was read, and the memory that is counted for it and for what is made of it.
pub struct ReadBody {
    pub bytes: Bytes,
    pub format: Format,
    pub memory: Memory,
}

/// The bytes of a body; nothing, if they are more than `limit`. Who has sent much has room for all that was announced, so
/// that it is not copied again and again while it grows; pages that nobody has written to take no memory.
async fn collect(
    body: Body,
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
