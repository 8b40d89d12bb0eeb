//! What the OpenAPI document knows: paths, their methods, and the parameters of each operation. Taken from the document
//! itself, so that none can be forgotten.

use std::{borrow::Cow, collections::BTreeMap};

use poem::http::Method;
use serde_json::Value;

use super::meant::{listed, meant};
use crate::http::respond::problem::{Code, FieldError, Problem};

/// Unknown parameters that are reported at once.
const MOST_REPORTED: usize = 20;
/// Of paths that the document does not have: they are documents themselves.
const OTHER_METHODS: &str = "GET, HEAD, OPTIONS";

/// Marks operations of which the document does not say all parameters.
pub const ANY_PARAMETER: &str = "x-any-parameter";

/// The operations of the document.
pub struct KnownPaths {
    paths: BTreeMap<String, KnownPath>,
}

struct KnownPath {
    /// The names of the query's parameters, by method. Absent: it may have any.
    parameters: Vec<(Method, Option<Vec<String>>)>,
    /// The value of the header `Allow`.
    methods: String,
}

impl KnownPaths {
    /// # Panics
    /// If `document` is not an OpenAPI document.
    pub fn from_document(document: &Value) -> Self {
        let paths = document["paths"].as_object().expect("the document has paths");
        let schemes = &document["components"]["securitySchemes"];
        let path = |(path, operations): (&String, &Value)| {
            let operations = operations.as_object().expect("a path has operations");
            let parameters: Vec<(Method, Option<Vec<String>>)> = operations
                .iter()
                .map(|(method, operation)| {
                    let method = method.to_uppercase().parse().expect("a method");
                    let any = operation[ANY_PARAMETER] == true;
                    (method, (!any).then(|| parameters(operation, schemes)))
                })
                .collect();
            (path.clone(), KnownPath { methods: allowed(&parameters), parameters })
        };
        Self { paths: paths.iter().map(path).collect() }
    }

    /// The path as the document has it, with `{names}` for what differs from request to request.
    pub fn path(&self, path: &str) -> Option<&str> {
        self.find(path).map(|(path, _)| path)
    }

    /// The path that was probably meant: the same but for a slash too many.
    pub fn meant(&self, path: &str) -> Option<String> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let meant = format!("/{}", parts.join("/"));
        (meant != path && self.path(&meant).is_some()).then_some(meant)
    }

    /// The methods of a path, as in the header `Allow`.
    pub fn methods(&self, path: &str) -> &str {
        self.find(path).map_or(OTHER_METHODS, |(_, path)| &path.methods)
    }

    fn find(&self, path: &str) -> Option<(&str, &KnownPath)> {
        let found =
            self.paths.get_key_value(path).or_else(|| self.paths.iter().find(|(one, _)| fits(path, one)));
        found.map(|(path, operations)| (path.as_str(), operations))
    }

    /// Refuses parameters that the operation does not know.
    pub fn check(&self, method: &Method, path: &str, query: Option<&str>) -> Result<(), Problem> {
        let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(()) };
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let operation =
            self.find(path).and_then(|(_, path)| path.parameters.iter().find(|(one, _)| one == method));
        let Some((_, Some(known))) = operation else { return Ok(()) };
        let names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
        let unknown: Vec<String> =
            names.filter(|name| !known.iter().any(|known| known == name)).map(Cow::into_owned).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(unknown_parameters(path, &unknown[..unknown.len().min(MOST_REPORTED)], known))
    }
}

/// Whether a path is one of those that a path of the document with `{names}` stands for.
fn fits(path: &str, documented: &str) -> bool {
    let same = |(part, name): (&str, &str)| name == part || (name.starts_with('{') && !part.is_empty());
    path.split('/').count() == documented.split('/').count()
        && path.split('/').zip(documented.split('/')).all(same)
}

/// The names that an operation takes in the query: its parameters, and the key if that may stand there.
fn parameters(operation: &Value, schemes: &Value) -> Vec<String> {
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let keys = items(&operation["security"]).into_iter().filter_map(|requirement| {
        let (scheme, _) = requirement.as_object()?.iter().next()?;
        Some(schemes[scheme].clone())
    });
    items(&operation["parameters"])
        .into_iter()
        .chain(keys)
        .filter(|parameter| parameter["in"] == "query")
        .filter_map(|parameter| parameter["name"].as_str().map(str::to_owned))
        .collect()
}

fn allowed(operations: &[(Method, Option<Vec<String>>)]) -> String {
    let mut methods: Vec<&str> = operations.iter().map(|(method, _)| method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.join(", ")
}

fn unknown_parameters(path: &str, unknown: &[String], known: &[String]) -> Problem {
    let shown = |name: &String| name.chars().take(64).collect::<String>();
    let takes = match known {
        [] => "This endpoint takes no parameters.".to_owned(),
        known => format!("This endpoint takes {}.", listed(known)),
    };
    let errors: Vec<FieldError> = unknown
        .iter()
        .map(|name| {
            let message = meant(path, name, known).unwrap_or_else(|| takes.clone());
            FieldError::new(shown(name), "unknown_parameter", message)
        })
        .collect();
    let names: Vec<String> = unknown.iter().map(|name| format!("'{}'", shown(name))).collect();
    let detail = match &errors[..] {
        [one] => format!("Unknown query parameter {}. {}", names[0], one.message),
        _ => format!("Unknown query parameters {}. {takes}", listed(&names)),
    };
    Problem::invalid(Code::ValidationFailed, detail, errors)
}
