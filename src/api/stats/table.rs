//! An answer as JSON or, for whoever accepts `text/csv`, as a table.

use poem::{FromRequest, IntoResponse, Request, RequestBody, Response, http::header, web::Accept};
use poem_openapi::{
    ApiResponse,
    payload::{Json, Payload},
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
    types::{ToJSON, Type},
};

use crate::api::problem::Problem;

const CSV: &str = "text/csv; charset=utf-8";

/// What a client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Format {
    Json,
    Csv,
}

/// An answer that is also a table.
pub(in crate::api) trait Table {
    fn header(&self) -> Vec<String>;
    /// Each as long as the header.
    fn rows(&self) -> Vec<Vec<String>>;
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
        let known = types.iter().find_map(|mime| match mime.essence_str() {
            "text/csv" => Some(Self::Csv),
            "application/json" | "application/*" | "*/*" => Some(Self::Json),
            _ => None,
        });
        Ok(known.unwrap_or(Self::Json))
    }
}

impl<T: Table + ToJSON + Send> IntoResponse for Told<T> {
    fn into_response(self) -> Response {
        let mut response = match self.format {
            Format::Json => Json(self.answer).into_response(),
            Format::Csv => match text(&self.answer) {
                Ok(text) => Response::builder().content_type(CSV).body(text),
                Err(error) => poem::Error::from(Problem::internal(error)).into_response(),
            },
        };
        response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept"));
        response
    }
}

fn text(table: &impl Table) -> Result<Vec<u8>, std::io::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(table.header())?;
    for row in table.rows() {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
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
            headers: vec![],
        };
        MetaResponses { responses: vec![response] }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
