//! What is wrong with a body, by the schema that the document has of it: each fault by its place, such as
//! `steps[1].event_type`. poem-openapi's parser reports the first one, in words of its own.

use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef, Registry},
    types::Type,
};
use serde_json::Value;

use crate::http::respond::problem::FieldError;
use crate::model::did_you_mean::nearest;

/// Faults that are reported at once.
const MOST_TOLD: usize = 20;

/// The faults of a value that cannot be read as a `T`; none, if the schema knows none.
pub(crate) fn faults<T: Type>(value: &Value) -> Vec<FieldError> {
    let mut registry = Registry::new();
    T::register(&mut registry);
    let mut faults = Vec::new();
    validate(&registry, &T::schema_ref(), value, "", &mut faults);
    faults.truncate(MOST_TOLD);
    faults
}

fn validate(
    registry: &Registry,
    schema: &MetaSchemaRef,
    value: &Value,
    place: &str,
    faults: &mut Vec<FieldError>,
) {
    if faults.len() >= MOST_TOLD {
        return;
    }
    let Some(schema) = resolved(registry, schema) else { return };
    let mut refuse = |code, message: String| {
        let place = if place.is_empty() { "body" } else { place };
        faults.push(FieldError::new(place, code, message));
    };
    match (schema.ty, value) {
        ("object", Value::Object(members)) => {
            let known = || schema.properties.iter().map(|(name, _)| *name);
            for (name, member) in members {
                if faults.len() >= MOST_TOLD {
                    return; // a guess at each of thousands of names would take long
                }
                let place = inside(place, name);
                match schema.properties.iter().find(|(known, _)| known == name) {
                    Some(_) if member.is_null() && !schema.required.contains(&name.as_str()) => {}
                    Some((_, schema)) => validate(registry, schema, member, &place, faults),
                    None => {
                        let names = known().collect::<Vec<_>>().join(", ");
                        let message = match nearest(name, known()) {
                            Some(known) => format!("did you mean '{known}'?"),
                            None => format!("expected one of {names}"),
                        };
                        faults.push(FieldError::new(place, "unknown_field", message));
                    }
                }
            }
            for name in schema.required.iter().filter(|name| !members.contains_key(**name)) {
                faults.push(FieldError::new(inside(place, name), "missing", "this field is required"));
            }
        }
        ("array", Value::Array(items)) => {
            let bounds = schema.min_items.unwrap_or(0)..=schema.max_items.unwrap_or(usize::MAX);
            if !bounds.contains(&items.len()) {
                let most = schema.max_items.map_or(String::new(), |most| format!(" to {most}"));
                refuse(
                    "out_of_range",
                    format!("expected {}{most} of them, got {}", bounds.start(), items.len()),
                );
            }
            for (index, item) in items.iter().enumerate().filter(|_| schema.items.is_some()) {
                let schema = schema.items.as_ref().expect("it is some");
                validate(registry, schema, item, &format!("{place}[{index}]"), faults);
            }
        }
        ("string", Value::String(_)) => {
            let choices: Vec<&str> = schema.enum_items.iter().filter_map(Value::as_str).collect();
            if !schema.enum_items.is_empty() && !schema.enum_items.contains(value) {
                refuse("invalid_choice", format!("expected {}, got {value}", choices.join(" or ")));
            }
        }
        ("integer" | "number", Value::Number(number)) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            let (least, most) = (schema.minimum.unwrap_or(f64::MIN), schema.maximum.unwrap_or(f64::MAX));
            if !(least..=most).contains(&number) {
                refuse("out_of_range", format!("expected a number from {least} to {most}, got {value}"));
            } else if schema.ty == "integer" && number.fract() != 0.0 {
                refuse("wrong_type", format!("expected a whole number, got {value}"));
            }
        }
        ("boolean", Value::Bool(_)) | ("", _) => {}
        (expected, value) => {
            refuse("wrong_type", format!("expected {}, got {}", with_article(expected), kind(value)));
        }
    }
}

/// A schema may be another's name, with a description.
fn resolved<'r>(registry: &'r Registry, schema: &'r MetaSchemaRef) -> Option<&'r MetaSchema> {
    let schema = match schema {
        MetaSchemaRef::Inline(schema) => schema,
        MetaSchemaRef::Reference(name) => registry.schemas.get(name)?,
    };
    match schema.all_of.first() {
        Some(other) if schema.ty.is_empty() => resolved(registry, other),
        _ => Some(schema),
    }
}

pub(super) fn inside(place: &str, name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    if place.is_empty() { name } else { format!("{place}.{name}") }
}

fn with_article(kind: &str) -> &'static str {
    match kind {
        "object" => "an object",
        "array" => "a list",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        _ => "a string",
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
