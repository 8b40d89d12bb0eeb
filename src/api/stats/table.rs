//! An answer as JSON or, for whoever accepts `text/csv`, as a table.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use poem::{
    FromRequest, IntoResponse, Request, RequestBody, Response,
    http::{StatusCode, header},
    web::Accept,
};
use poem_openapi::{
    ApiResponse,
    payload::{Json, Payload},
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
    types::{ToJSON, Type},
};
use sha2::{Digest, Sha256};

use crate::api::problem::Problem;

const CSV: &str = "text/csv; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";

const TOTAL: &str = "X-Total-Count";
const NEXT: &str = "X-Next-Cursor";

/// What a client accepts, and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) struct Format {
    csv: bool,
    /// `If-None-Match`: tags of answers that need not be sent again.
    known: Option<String>,
}

/// An answer that is also a table.
pub(in crate::api) trait Table {
    fn header(&self) -> Vec<String>;
    /// Each as long as the header.
    fn rows(&self) -> Vec<Vec<String>>;
    /// Of a list in pages, how many there are in all and the cursor of the next page: a table has no other place for them.
    fn page(&self) -> Option<(u64, Option<&str>)> {
        None
    }
}

/// An answer in the form in which the client wants it.
pub(in crate::api) struct Told<T> {
    pub answer: T,
    pub format: Format,
}

/// A field of a table; what is not there is empty.
pub(in crate::api) fn field(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

impl<'a> FromRequest<'a> for Format {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let Accept(types) = Accept::from_request(request, body).await?;
        let csv = types.iter().find_map(|mime| match mime.essence_str() {
            "text/csv" => Some(true),
            "application/json" | "application/*" | "*/*" => Some(false),
            _ => None,
        });
        let known = request.header(header::IF_NONE_MATCH).map(str::to_owned);
        Ok(Self { csv: csv.unwrap_or(false), known })
    }
}

impl Format {
    /// Whether the client has the answer of this tag.
    fn has(&self, tag: &str) -> bool {
        let known = self.known.as_deref().unwrap_or_default();
        known.split(',').map(|known| known.trim().trim_start_matches("W/")).any(|known| known == tag)
    }
}

impl<T: Table + ToJSON + Send> IntoResponse for Told<T> {
    /// The tag is made of the answer itself, so it is never that of another; a client asks each time whether it still holds.
    fn into_response(self) -> Response {
        let Self { answer, format } = self;
        let written = if format.csv {
            text(&answer)
        } else {
            serde_json::to_vec(&answer.to_json()).map_err(std::io::Error::from)
        };
        let written = match written {
            Ok(written) => written,
            Err(error) => return poem::Error::from(Problem::internal(error)).into_response(),
        };
        let digest = Sha256::digest(&written);
        let tag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&digest[..16]));
        let mut response = Response::builder();
        if let Some((total, next)) = answer.page() {
            response = response.header(TOTAL, total);
            if let Some(next) = next {
                response = response.header(NEXT, next);
            }
        }
        let response = response
            .header(header::ETAG, &tag)
            .header(header::CACHE_CONTROL, "private, no-cache")
            .header(header::VARY, "Accept");
        if format.has(&tag) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        response.content_type(if format.csv { CSV } else { JSON }).body(written)
    }
}

fn text(table: &impl Table) -> Result<Vec<u8>, std::io::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(table.header())?;
    for row in table.rows() {
        writer.write_record(row.into_iter().map(harmless))?;
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

/// Spreadsheets run what begins like a formula, and texts are what strangers have sent. Numbers are never negative here.
fn harmless(field: String) -> String {
    if field.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{field}") } else { field }
}

impl<T: Type> ApiResponse for Told<T> {
    fn meta() -> MetaResponses {
        let json = MetaMediaType { content_type: Json::<T>::CONTENT_TYPE, schema: Json::<T>::schema_ref() };
        let table = MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        let csv = MetaMediaType { content_type: "text/csv", schema: table };
        let response = MetaResponse {
            description: "The answer; with `Accept: text/csv` as a table",
            status: Some(200),
            status_range: None,
            content: vec![json, csv],
            headers: vec![
                etag(),
                of_lists(TOTAL, "Of a list in pages: how many there are in all."),
                of_lists(NEXT, "Of a list in pages: the `cursor` of the next one, if there is one."),
            ],
        };
        let not_modified = MetaResponse {
            description: "The answer is that of `If-None-Match`",
            status: Some(304),
            status_range: None,
            content: vec![],
            headers: vec![etag()],
        };
        MetaResponses { responses: vec![response, not_modified] }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

fn of_lists(name: &str, description: &str) -> MetaHeader {
    MetaHeader {
        name: name.into(),
        description: Some(description.into()),
        required: false,
        deprecated: false,
        schema: String::schema_ref(),
    }
}

fn etag() -> MetaHeader {
    MetaHeader {
        name: "ETag".into(),
        description: Some("Send it as `If-None-Match` to be sent only another answer.".into()),
        required: true,
        deprecated: false,
        schema: String::schema_ref(),
    }
}
