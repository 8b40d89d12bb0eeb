//! What a statement that looks for events or activity asks: a filter as the database takes it, and the values of the statement.

use std::fmt::{self, Display, Write};

use chrono::{DateTime, Utc};
use sqlx::{
    Arguments, AssertSqlSafe, Encode, FromRow, Postgres, Type,
    error::BoxDynError,
    postgres::{PgArguments, PgRow},
    query::QueryAs,
};

use crate::store::StoreError;
use crate::{
    model::project::ProjectId,
    stats::filter::{self, Comparison, Filter, Property, PropertyValue},
};

/// The values of a statement. Each gives the placeholder that stands for it in the text, so nobody counts them.
#[derive(Default)]
pub(crate) struct Binds {
    arguments: PgArguments,
    error: Option<BoxDynError>,
}

/// `$1`, `$2`, …
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placeholder(usize);

impl Display for Placeholder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "${}", self.0)
    }
}

impl Binds {
    pub fn add<'t, T: Encode<'t, Postgres> + Type<Postgres>>(&mut self, value: T) -> Placeholder {
        if let Err(error) = self.arguments.add(value) {
            self.error.get_or_insert(error);
        }
        Placeholder(self.arguments.len())
    }

    /// The statement with these values. Its text is weir's own: whatever comes from outside is a value.
    pub fn query<'q, T>(self, text: String) -> Result<QueryAs<'q, Postgres, T, PgArguments>, StoreError>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        match self.error {
            None => Ok(sqlx::query_as_with(AssertSqlSafe(text), self.arguments)),
            Some(error) => Err(sqlx::Error::Encode(error).into()),
        }
    }

    /// The events of a project in some time for which a condition holds.
    pub fn events(
        &mut self,
        project_id: ProjectId,
        (begin, end): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
        condition: &Condition,
    ) -> String {
        let mut all = vec![format!("project_id = {}", self.add(project_id.get()))];
        all.extend(begin.map(|begin| format!("occurred_at >= {}", self.add(begin))));
        all.extend(end.map(|end| format!("occurred_at < {}", self.add(end))));
        all.push(condition.text(self));
        all.join(" and ")
    }
}

/// A condition on type and properties, of events or of activity.
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

    /// The condition in a statement with these values.
    pub fn text(&self, binds: &mut Binds) -> String {
        let mut all = Vec::new();
        if let Some(only) = &self.only {
            all.push(format!("event_type = any({})", binds.add(only)));
        }
        if !self.except.is_empty() {
            all.push(format!("event_type <> all({})", binds.add(&self.except)));
        }
        all.extend(self.properties_text(binds));
        if all.is_empty() { "true".into() } else { format!("({})", all.join(" and ")) }
    }

    /// The part of it that is on properties.
    pub fn properties_text(&self, binds: &mut Binds) -> Option<String> {
        let path = self.properties.as_deref()?;
        Some(format!("properties @@ {}::text::jsonpath", binds.add(path)))
    }

    /// The part of it that is on types.
    #[must_use]
    pub fn of_types(&self) -> Self {
        Self { properties: None, ..self.clone() }
    }
}

/// In lax mode, which is jsonpath's own: a list holds if an element does, and what is not there compares with nothing.
fn path(property: &Property, condition: &filter::PropertyCondition) -> String {
    let (accessors, absent) = accessors(property.name());
    let mut alternatives = Vec::new();
    for value in &condition.values {
        match value {
            PropertyValue::Missing => alternatives.push(absent.clone()),
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

fn compare(accessor: &str, value: &PropertyValue) -> String {
    match value {
        PropertyValue::Missing => format!("{accessor} == null"),
        PropertyValue::Text(text) => format!("{accessor} == {}", quoted(text)),
        PropertyValue::Plain(text) => {
            let mut same = format!("{accessor} == {}", quoted(text));
            if matches!(text.as_str(), "true" | "false") {
                write!(same, " || {accessor} == {text}").expect("a text takes all");
            } else if let Some(number) = filter::Number::parse(text) {
                write!(same, " || {accessor} == {}", number.text()).expect("a text takes all");
            }
            same
        }
        PropertyValue::Compared(comparison, number) => {
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
    fn a_statement_asks_for_nothing_that_holds_for_every_event() {
        let text = |segments: &[&str]| {
            let segments = segments.iter().map(|text| Segment::parse(text).expect("a segment"));
            Condition::of(&Filter::of(segments)).text(&mut Binds::default())
        };
        assert_eq!(text(&[]), "true");
        assert_eq!(text(&["event_type:!a"]), "(event_type <> all($1))");
        assert_eq!(
            text(&["event_type:a,b", "event_type:!b", "properties.x:1", "properties.y:2"]),
            "(event_type = any($1) and event_type <> all($2) and properties @@ $3::text::jsonpath)"
        );
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
