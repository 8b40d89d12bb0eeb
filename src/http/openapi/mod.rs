//! The OpenAPI document: poem-openapi's, with what that cannot say.
//!
//! The bodies of operations that send are read by weir's own decoder, so their schemas and examples stand in
//! `document.json`, which is merged in.

pub mod known;
mod meant;
pub mod page;
mod sdks;
mod tag;

use std::{
    collections::{BTreeSet, HashMap},
    marker::PhantomData,
};

use poem::{endpoint::BoxEndpoint, http::Method};
use poem_openapi::{
    ExtraHeader, LicenseObject, OpenApi, OpenApiService,
    registry::{MetaApi, Registry},
};
use serde_json::{Value, json};

pub use self::tag::Tag;
use super::respond::{
    problem::{self, Code, FieldError, Problem},
    table, warnings,
};
use crate::ingest::validate::Reason;

/// Names of headers as they are usually written: poem-openapi writes its own in capitals.
const HEADERS: [&str; 4] = ["X-Request-Id", "RateLimit-Policy", "RateLimit", "ETag"];

/// Groups of operations, in the order in which a newcomer wants to read them: poem-openapi's is that of the alphabet.
const TAGS: [&str; 6] = ["Events", "Statistics", "Users", "SDKs", "Earlier systems", "Operation"];

/// Ways to send a key, the most usual one first, likewise.
const KEYS: [&str; 4] = ["key", "bearer", "basic", "query"];

/// Operations, as poem-openapi serves and describes them.
pub fn service<T: OpenApi>(operations: T) -> OpenApiService<T, ()> {
    OpenApiService::new(operations, "weir", env!("CARGO_PKG_VERSION"))
        .description(include_str!("description.md"))
        .license(LicenseObject::new("MIT OR Apache-2.0"))
        .extra_response_header::<String, _>(
            ExtraHeader::new("X-Request-Id").description("The request's id: the caller's, or a new one."),
        )
}

/// The document of operations that need not be there.
pub fn describe<T: OpenApi>() -> Value {
    complete(&service(DescribedOnly::<T>(PhantomData)).spec())
}

/// The whole document.
///
/// # Panics
/// If one of its two parts is not JSON.
pub fn complete(spec: &str) -> Value {
    let mut document = serde_json::from_str(spec).expect("poem-openapi writes JSON");
    merge(&mut document, serde_json::from_str(include_str!("document.json")).expect("document.json is JSON"));
    spread_groups(&mut document);
    rename_headers(&mut document);
    add_format(&mut document);
    add_warnings(&mut document);
    add_problems(&mut document);
    sdks::add(&mut document);
    name_codes(&mut document["components"]["schemas"]);
    order_keys(&mut document["components"]["securitySchemes"]);
    if let Some(tags) = document["tags"].as_array_mut() {
        tags.sort_by_key(|tag| TAGS.iter().position(|name| tag["name"] == *name));
    }
    document
}

/// Swagger writes whatever has `json` in its name as JSON, also the text of lines, which this undoes.
const SEND_LINES: &str = r#"requestInterceptor: request => {
        if (request.headers["Content-Type"] === "application/x-ndjson" && request.body.startsWith('"')) {
            request.body = JSON.parse(request.body);
        }
        return request;
    },"#;

/// Swagger's page with this document, from the page with poem-openapi's. It keeps the keys that were entered, in the
/// browser, when it is loaded anew.
pub fn page(page: &str, spec: &str, mut document: Value) -> String {
    keep_one_way(&mut document);
    // Inside a script: an end tag in a text would end it.
    let document = document.to_string().replace("</", "<\\/");
    page.replace(spec, &document)
        .replace("<title>Swagger UI</title>", "<title>weir</title><link rel=\"icon\" href=\"data:,\">")
        .replace(
            "deepLinking: true,",
            &format!(
                "deepLinking: true, persistAuthorization: true, displayRequestDuration: true, {SEND_LINES}"
            ),
        )
}

/// RFC 7396.
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, patch) in patch {
                if patch.is_null() {
                    target.shift_remove(&name);
                } else {
                    merge(target.entry(name).or_insert(Value::Null), patch);
                }
            }
        }
        (target, patch) => *target = patch,
    }
}

/// Lists every code that a problem and an event's rejection can have.
fn name_codes(schemas: &mut Value) {
    schemas["Problem"]["properties"]["code"]["enum"] = Code::ALL.map(Code::name).as_slice().into();
    let reasons = Reason::ALL.map(|reason| format!("`{}`", reason.code())).join(", ");
    let description = format!("A stable name of the reason. Of events: {reasons}.");
    schemas["FieldError"]["properties"]["code"]["description"] = description.into();
}

/// An example of each problem that an operation can answer with: what it says stands in the response's description.
fn add_problems(document: &mut Value) {
    for operation in operations(document) {
        let sends = operation["requestBody"].is_object() && operation["tags"][0] == "Events";
        let has_range = operation["parameters"][0]["name"] == "from";
        for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            let description = response["description"].as_str().unwrap_or_default().to_owned();
            let content =
                response.get_mut("content").and_then(|content| content.get_mut(problem::CONTENT_TYPE));
            let code = match (status.as_str(), sends) {
                ("400", true) => continue, // the schema's own example
                ("400", false) => Some(Code::ValidationFailed),
                ("422", false) => Some(Code::QueryTooExpensive),
                ("503", false) => Some(Code::StoreUnavailable),
                ("503", true) => Some(Code::StreamUnavailable),
                (status, _) => Code::ALL.into_iter().find(|code| code.status().as_str() == status),
            };
            if let Some((code, content)) = code.zip(content) {
                let message = "expected a day of the calendar as YYYY-MM-DD, got '2024-13-01'";
                let error = FieldError::new("from", "invalid_date", message);
                let errors = Some(error).filter(|_| code == Code::ValidationFailed && has_range);
                let problem = Problem::invalid(code, description, errors.into_iter().collect());
                content["example"] = problem.to_json("0199a6f0-2222-7000-8000-000000000002").into();
            }
        }
    }
}

/// Leaves one way to send a key, which fits everywhere. Of several, Swagger's dialog puts the cursor into the last.
fn keep_one_way(document: &mut Value) {
    if let Some(schemes) = document["components"]["securitySchemes"].as_object_mut() {
        schemes.retain(|name, _| name == KEYS[0]);
    }
    for operation in operations(document) {
        if let Some(security) = operation.get_mut("security").and_then(Value::as_array_mut) {
            security.retain(|scheme| scheme.get(KEYS[0]).is_some());
        }
    }
}

/// Each parameter of a group by itself: see [`super::extract::group`].
fn spread_groups(document: &mut Value) {
    for operation in operations(document) {
        if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
            *parameters = std::mem::take(parameters).into_iter().flat_map(spread).collect();
        }
    }
}

fn spread(parameter: Value) -> Vec<Value> {
    let Value::Object(members) = parameter["schema"]["properties"].clone() else { return vec![parameter] };
    let required = parameter["schema"]["required"].as_array().cloned().unwrap_or_default();
    let one = |(name, mut schema): (String, Value)| {
        let description = schema.as_object_mut().and_then(|schema| schema.shift_remove("description"));
        let description = description.as_ref().and_then(Value::as_str).unwrap_or_default();
        let lines: Vec<&str> = description.lines().map(str::trim).collect();
        let required = required.iter().any(|required| *required == name);
        json!({
            "name": name, "schema": schema, "in": "query", "description": lines.join("\n"),
            "required": required, "deprecated": false, "explode": true,
        })
    };
    members.into_iter().map(one).collect()
}

/// The way to send a key that fits everywhere stands first.
fn order_keys(schemes: &mut Value) {
    if let Some(schemes) = schemes.as_object_mut() {
        let mut ordered: Vec<_> = std::mem::take(schemes).into_iter().collect();
        ordered.sort_by_key(|(name, _)| KEYS.iter().position(|known| known == name));
        schemes.extend(ordered);
    }
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.filter_map(|(_, path)| path.as_object_mut()).flat_map(|path| path.values_mut())
}

/// The parameter of every operation that can answer with a table.
fn add_format(document: &mut Value) {
    let parameter = json!({
        "name": table::PARAMETER, "in": "query", "required": false, "deprecated": false, "explode": true,
        "schema": {"type": "string", "enum": table::FORMS},
        "description": "The form of the answer, if `Accept` does not tell it: for links. `excel` is CSV with a byte order mark, \
                        without which Excel shows letters wrongly.",
    });
    for operation in operations(document) {
        if operation["responses"]["200"]["content"]["text/csv"].is_null() {
            continue;
        }
        match operation["parameters"].as_array_mut() {
            Some(parameters) => parameters.push(parameter.clone()),
            None => operation["parameters"] = json!([parameter]),
        }
    }
}

/// What every answer that can be a table may have: warnings are added to it when it is made.
fn add_warnings(document: &mut Value) {
    let list = json!({
        "type": "array", "maxItems": warnings::MOST, "items": {"type": "string"},
        "description": "What may be wrong with the question: an event type that weir does not know in this project. Absent \
                        if there is nothing.",
    });
    let header = json!({
        "description": "The same as `warnings`, for tables; letters beyond ASCII are percent-encoded.", "required": false,
        "schema": {"type": "string"},
    });
    let mut answers = BTreeSet::new();
    for operation in operations(document) {
        let Some(response) = operation.pointer_mut("/responses/200") else { continue };
        if response["content"].get("text/csv").is_none() {
            continue;
        }
        response["headers"][warnings::HEADER] = header.clone();
        let json =
            response["content"].as_object().into_iter().flatten().find(|(kind, _)| kind.contains("json"));
        let name = json.and_then(|(_, json)| json["schema"]["$ref"].as_str()?.rsplit('/').next());
        answers.extend(name.map(str::to_owned));
    }
    for name in answers {
        document["components"]["schemas"][&name]["properties"]["warnings"] = list.clone();
    }
}

fn rename_headers(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::Object(headers)) = members.get_mut("headers") {
                *headers =
                    std::mem::take(headers).into_iter().map(|(name, header)| (usual(name), header)).collect();
            }
            members.values_mut().for_each(rename_headers);
        }
        Value::Array(items) => items.iter_mut().for_each(rename_headers),
        _ => {}
    }
}

fn usual(name: String) -> String {
    HEADERS.into_iter().find(|usual| usual.eq_ignore_ascii_case(&name)).map_or(name, Into::into)
}

/// Operations that are only described: their document needs no servers.
struct DescribedOnly<T>(PhantomData<fn() -> T>);

impl<T: OpenApi> OpenApi for DescribedOnly<T> {
    fn meta() -> Vec<MetaApi> {
        T::meta()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn add_routes(self, _routes: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_replaces_adds_and_removes() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge(&mut target, json!({"a": {"b": null, "e": {"f": 3}}, "d": [2]}));
        assert_eq!(target, json!({"a": {"c": 2, "e": {"f": 3}}, "d": [2]}));
    }
}
