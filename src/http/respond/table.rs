//! An answer as JSON, or as a table for whoever accepts `text/csv` or asks for it by the parameter `format`.

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

use super::problem::{Code, FieldError, Problem};
use crate::work;

const CSV: &str = "text/csv; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";

/// Rows that take milliseconds to write: other requests go on meanwhile.
const LARGE: usize = 1_000;

const TOTAL: &str = "X-Total-Count";
const NEXT: &str = "X-Next-Cursor";

/// The parameter that chooses the form of an answer: a link cannot set a header.
pub(crate) const PARAMETER: &str = "format";
pub(crate) const FORMS: [&str; 3] = ["json", "csv", "excel"];

/// How Excel knows that a table is in UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// What is not there, among the fields of a table: no text has U+0000.
const NOTHING: &str = "\0";

/// What a client accepts, and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnswerFormat {
    form: Form,
    /// `If-None-Match`: tags of answers that need not be sent again.
    known: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
    /// CSV as Excel reads it.
    Excel,
}

/// An answer that is also a table.
pub(crate) trait Tabular {
    fn header(&self) -> Vec<String>;
    /// Each as long as the header.
    fn rows(&self) -> Vec<Vec<String>>;
    /// How many rows there are, about.
    fn len(&self) -> usize {
        0
    }
    /// Of a list in pages, how many there are in all and the cursor of the next page: a table has no other place for them.
    fn page(&self) -> Option<(u64, Option<&str>)> {
        None
    }
}

/// An answer in the form in which the client wants it.
pub(crate) struct FormattedAnswer<T> {
    pub answer: T,
    pub format: AnswerFormat,
}

/// A field of a table. What is not there is empty, and the empty text stands in quotes.
pub(crate) fn field(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NOTHING.into(), |value| value.to_string())
}

impl<'a> FromRequest<'a> for AnswerFormat {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let Accept(types) = Accept::from_request(request, body).await?;
        let accepted = || {
            types.iter().find_map(|mime| match mime.essence_str() {
                "text/csv" => Some(Form::Csv),
                "application/json" | "application/*" | "*/*" => Some(Form::Json),
                _ => None,
            })
        };
        let form = match sent(request.uri().query().unwrap_or_default())? {
            Some(form) => form,
            None => accepted().unwrap_or(Form::Json),
        };
        let known = request.header(header::IF_NONE_MATCH).map(str::to_owned);
        Ok(Self { form, known })
    }
}

/// The form that a query asks for.
fn sent(query: &str) -> Result<Option<Form>, Problem> {
    let mut sent = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == PARAMETER);
    let refused = |code, message: String| {
        let error = FieldError::new(PARAMETER, code, message);
        Problem::invalid(
            Code::ValidationFailed,
            format!("'{PARAMETER}' is not valid: {}", error.message),
            vec![error],
        )
    };
    let Some((_, form)) = sent.next() else { return Ok(None) };
    if sent.next().is_some() {
        return Err(refused("repeated", "expected one value, got several".into()));
    }
    match &*form {
        "json" => Ok(Some(Form::Json)),
        "csv" => Ok(Some(Form::Csv)),
        "excel" => Ok(Some(Form::Excel)),
        other => {
            let other: String = other.chars().take(64).collect();
            Err(refused("invalid_choice", format!("expected json, csv or excel, got '{other}'")))
        }
    }
}

impl AnswerFormat {
    /// Whether the client has the answer of this tag.
    fn has(&self, tag: &str) -> bool {
        let known = self.known.as_deref().unwrap_or_default();
        known.split(',').map(|known| known.trim().trim_start_matches("W/")).any(|known| known == tag)
    }
}

impl<T: Tabular + ToJSON + Send> IntoResponse for FormattedAnswer<T> {
    /// The tag is made of the answer itself, so it is never that of another; a client asks each time whether it still holds.
    fn into_response(self) -> Response {
        let Self { answer, format } = self;
        let write = || match format.form {
            Form::Json => serde_json::to_vec(&answer.to_json()),
            Form::Csv => Ok(text(&answer).into_bytes()),
            Form::Excel => Ok((BYTE_ORDER_MARK.to_owned() + &text(&answer)).into_bytes()),
        };
        let written = work::long_if(answer.len() >= LARGE, write);
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
        response.content_type(if format.form == Form::Json { JSON } else { CSV }).body(written)
    }
}

/// A table as RFC 4180 writes it, with line feeds.
fn text(table: &impl Tabular) -> String {
    let rows = table.rows().into_iter().map(|row| row.into_iter().map(harmless).collect());
    let mut text = String::new();
    for row in std::iter::once(table.header()).chain(rows) {
        let fields: Vec<String> = row.into_iter().map(quoted).collect();
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

/// The libraries for CSV write nothing and the empty text alike.
fn quoted(field: String) -> String {
    if field == NOTHING {
        String::new()
    } else if field.is_empty() || field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field
    }
}

/// Spreadsheets run what begins like a formula, and texts are what strangers have sent. Numbers are never negative here.
fn harmless(field: String) -> String {
    if field.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{field}") } else { field }
}

impl<T: Type> ApiResponse for FormattedAnswer<T> {
    fn meta() -> MetaResponses {
        let json = MetaMediaType { content_type: Json::<T>::CONTENT_TYPE, schema: Json::<T>::schema_ref() };
        let table = MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        let csv = MetaMediaType { content_type: "text/csv", schema: table };
        let response = MetaResponse {
            description: "The answer; with `Accept: text/csv`, or `format`, as a table",
            status: Some(200),
            status_range: None,
            content: vec![json, csv],
            headers: vec![
                optional_header(
                    "ETag",
                    "Send it as `If-None-Match` to be sent only another answer. Absent if there are warnings.",
                ),
                optional_header(TOTAL, "Of a list in pages: how many there are in all."),
                optional_header(NEXT, "Of a list in pages: the `cursor` of the next one, if there is one."),
            ],
        };
        let not_modified = MetaResponse {
            description: "The answer is that of `If-None-Match`",
            status: Some(304),
            status_range: None,
            content: vec![],
            headers: vec![optional_header(
                "ETag",
                "Send it as `If-None-Match` to be sent only another answer. Absent if there are warnings.",
            )],
        };
        MetaResponses { responses: vec![response, not_modified] }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

fn optional_header(name: &str, description: &str) -> MetaHeader {
    MetaHeader {
        name: name.into(),
        description: Some(description.into()),
        required: false,
        deprecated: false,
        schema: String::schema_ref(),
    }
}
