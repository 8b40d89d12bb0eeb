//! The calls of other vendors' SDKs in the document, from the tables of their protocols.

use poem::http::Method;
use serde_json::{Value, json};

use super::{known::ANY_PARAMETER, problem};
use crate::{
    http::routes::sdks::{LONGEST_PART, path},
    ingest::wire::sdks::{Does, PROTOCOLS, Protocol, SdkCall},
};

const TAG: &str = "SDKs";

const DESCRIPTION: &str = "Calls of other vendors' SDKs, which work unchanged but for an address and a key: see \
    docs/sdks.md. Bodies and answers are as the vendor documents them, so they are not described here.";

/// What these calls answer, each in its vendor's words.
const ANSWERS: [(&str, &str); 11] = [
    ("200", "Every event that is valid is durable, or was taken before"),
    ("204", "The same, to an SDK that wants no body"),
    ("400", "The request cannot be read, or none of its events is valid"),
    ("401", "There is no key, or it is unknown or revoked"),
    ("403", "The key is not of kind write, or the page may not use it"),
    ("404", "A part of the path is too long"),
    ("408", "The body came too slowly"),
    ("413", "Too many bytes or events"),
    ("415", "The body is compressed in a way that is not supported"),
    ("429", "Too many events or requests at once"),
    ("503", "weir is busy, or cannot make events durable now"),
];

/// Adds all calls.
pub(super) fn add(document: &mut Value) {
    for protocol in PROTOCOLS {
        for call in protocol.calls {
            let operations = call
                .methods
                .iter()
                .map(|method| (method.as_str().to_lowercase(), operation(protocol, call, method)));
            document["paths"][path(protocol, call)] = Value::Object(operations.collect());
        }
    }
    if let Some(tags) = document["tags"].as_array_mut() {
        tags.push(json!({"name": TAG, "description": DESCRIPTION}));
    }
}

fn operation(protocol: &Protocol, call: &SdkCall, method: &Method) -> Value {
    let name = format!("{}{}_{}", protocol.name, call.path, method.as_str().to_lowercase());
    let letter = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let names = call.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> = names
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "maxLength": LONGEST_PART}}))
        .collect();
    let mut operation = json!({
        "tags": [TAG],
        "summary": format!("{}: {}", protocol.vendor, call.summary),
        "operationId": name.chars().map(letter).collect::<String>(),
        "parameters": parameters,
        "responses": answers(&call.does),
        ANY_PARAMETER: true,
    });
    if matches!(call.does, Does::Take(_)) && method == Method::POST {
        let any = json!({"schema": {}});
        operation["requestBody"] = json!({"content": {"application/json": any, "text/plain": any}});
    }
    operation
}

fn answers(does: &Does) -> Value {
    let content = json!({"schema": {}});
    let content = json!({
        "application/json": content, "text/plain": content, "text/javascript": content, "image/gif": content,
        problem::CONTENT_TYPE: content,
    });
    let fits = |status: &str| matches!(does, Does::Take(_)) || matches!(status, "200" | "400" | "404");
    let answers = ANSWERS.iter().filter(|(status, _)| fits(status));
    let answer = |&(status, description): &(&str, &str)| {
        (status.to_owned(), json!({"description": description, "content": content}))
    };
    Value::Object(answers.map(answer).collect())
}
