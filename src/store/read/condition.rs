//! A filter as the database takes it: sets of event types, and conditions on properties as one jsonpath.

use std::fmt::Write;

use crate::stats::filter::{self, Comparison, Filter, Property, Value};

/// The parameters of a statement that looks for events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Of these types; nothing: of any.
    pub only: Option<Vec<String>>,
    /// Of none of these.
    pub except: Vec<String>,
    /// A jsonpath that must be true of the properties; nothing: of any.
    pub properties: Option<String>,
}

impl Condition {
    pub fn of(filter: &Filter) -> Self {
        let paths: Vec<String> =
            filter.properties.iter().map(|(property, condition)| path(property, condition)).collect();
        Self {
            only: filter.only.as_ref().map(|types| types.iter().cloned().collect()),
            except: filter.except.iter().cloned().collect(),
            properties: (!paths.is_empty()).then(|| paths.join(" && ")),
        }
    }
}

/// In lax mode, which is jsonpath's own: a list holds if an element does, and what is not there compares with nothing.
fn path(property: &Property, condition: &filter::Condition) -> String {
    let (accessors, absent) = accessors(property.name());
    let mut alternatives = Vec::new();
    for value in &condition.values {
        match value {
            Value::Missing => alternatives.push(absent.clone()),
            value => alternatives.extend(accessors.iter().map(|accessor| compare(accessor, value))),
        }
    }
    let any = alternatives.join(" || ");
    // A comparison of a text with a number is neither true nor false, and so is its negation.
    if condition.negated { format!("(!({any}) || (({any}) is unknown))") } else { format!("({any})") }
}

/// The ways to a property, and what is true when it is missing: a name with dots is a key, or else a way.
fn accessors(name: &str) -> (Vec<String>, String) {
    let mut accessors = vec![format!("$.{}", quoted(name))];
    if name.contains('.') {
        let mut way = "$".to_owned();
        for part in name.split('.') {
            write!(way, ".{}", quoted(part)).expect("a text takes all");
        }
        accessors.push(way);
    }
    let missing = |accessor: &String| format!("(!exists({accessor}) || {accessor} == null)");
    let absent = accessors.iter().map(missing).collect::<Vec<_>>().join(" && ");
    (accessors, absent)
}

/// A way to a property that leads through lists, where there is more than one value: what is there, except null. Nothing, if
/// its name leads nowhere.
pub(crate) fn through_lists(property: &Property) -> Option<String> {
    let (accessors, _) = accessors(property.name());
    accessors.get(1).map(|way| format!("{way} ? (@ != null)"))
}

fn compare(accessor: &str, value: &Value) -> String {
    match value {
        Value::Missing => format!("{accessor} == null"),
        Value::Text(text) => format!("{accessor} == {}", quoted(text)),
        Value::Plain(text) => {
            let mut same = format!("{accessor} == {}", quoted(text));
            if matches!(text.as_str(), "true" | "false") {
                write!(same, " || {accessor} == {text}").expect("a text takes all");
            } else if let Some(number) = filter::Number::parse(text) {
                write!(same, " || {accessor} == {}", number.text()).expect("a text takes all");
            }
            same
        }
        Value::Compared(comparison, number) => {
            let sign = match comparison {
                Comparison::Less => "<",
                Comparison::LessOrEqual => "<=",
                Comparison::Greater => ">",
                Comparison::GreaterOrEqual => ">=",
            };
            format!("{accessor} {sign} {}", number.text())
        }
    }
}

/// A text as jsonpath writes it, which is as JSON does.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::filter::Segment;

    fn path_of(text: &str) -> String {
        let filter = Filter::of([Segment::parse(text).expect("a segment")]);
        Condition::of(&filter).properties.expect("a condition on properties")
    }

    #[test]
    fn texts_cannot_leave_their_quotes() {
        assert_eq!(path_of(r#"properties.a"b:x" || true"#), r#"($."a\"b" == "x\" || true")"#);
        assert_eq!(path_of(r#"properties.x:"\"""#), r#"($."x" == "\"")"#);
    }

    #[test]
    fn a_value_is_a_text_and_what_it_reads_as() {
        assert_eq!(path_of("properties.x:49.9"), r#"($."x" == "49.9" || $."x" == 49.9)"#);
        assert_eq!(
            path_of("properties.x:true,null"),
            r#"($."x" == "true" || $."x" == true || (!exists($."x") || $."x" == null))"#
        );
        assert_eq!(path_of("properties.x:>=-1"), r#"($."x" >= -1)"#);
        assert_eq!(path_of("properties.x:!a"), r#"(!($."x" == "a") || (($."x" == "a") is unknown))"#);
    }
}
