//! What the columns of a file are.

use std::collections::BTreeSet;

use anyhow::{anyhow, bail, ensure};
use csv::StringRecord;
use weir::{
    ingest::wire::field_names::{FIELD_NAMES, Field},
    model::did_you_mean::nearest,
};

/// The column of properties as JSON.
const PROPERTIES: &str = "properties_json";
/// What a column of one property begins with.
const PROPERTY: &str = "properties.";

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Field(Field),
    /// A property of this name.
    Property(String),
}

/// The columns of a file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns(Vec<Column>);

/// `FILE=WEIR`: a column of the file, and what it is.
#[derive(Clone, Debug)]
pub(super) struct Renaming {
    from: String,
    to: Column,
}

/// Several of them, separated by commas. A name may have commas, too: what has no `=` belongs to what follows.
#[derive(Clone, Debug)]
pub(super) struct Renamings(pub(super) Vec<Renaming>);

impl std::str::FromStr for Renamings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut renamings, mut name) = (Vec::new(), String::new());
        for part in text.split(',') {
            match part.rsplit_once('=') {
                None => {
                    name.push_str(part);
                    name.push(',');
                }
                Some((rest, to)) => {
                    name.push_str(rest);
                    let to = Column::named(to).ok_or_else(|| {
                        format!(
                            "'{to}' is not a column of weir: expected event_id, event_type, user_id, occurred_at, {PROPERTIES} \
                             or {PROPERTY}NAME"
                        )
                    })?;
                    renamings.push(Renaming { from: std::mem::take(&mut name).trim().to_owned(), to });
                }
            }
        }
        if name.is_empty() {
            Ok(Self(renamings))
        } else {
            Err("expected NAME=COLUMN, such as when=occurred_at".into())
        }
    }
}

/// How others call weir's columns, alone or with one of [`ENDINGS`].
const FOREIGN_NAMES: [(&str, &[&str]); 4] = [
    (
        "occurred_at",
        &["when", "time", "date", "datetime", "created", "happened", "datum", "zeit", "zeitpunkt"],
    ),
    ("user_id", &["user", "uid", "customer", "client", "visitor", "member", "email", "kunde"]),
    ("event_type", &["type", "action", "activity", "kind", "aktion", "art"]),
    ("event_id", &["uuid", "order", "transaction", "invoice", "booking"]),
];
const ENDINGS: [&str; 6] = ["id", "at", "on", "no", "nr", "name"];
/// What may part the fields of a file.
const DELIMITERS: [(char, &str); 5] = [('|', "'|'"), (';', "';'"), ('\t', "tab"), (',', "','"), ('^', "'^'")];

impl Column {
    /// As weir and the systems before it name it, however it is spelt: `Event Type`, `eventType`.
    fn named(name: &str) -> Option<Self> {
        if let Some(property) = name.strip_prefix(PROPERTY).filter(|property| !property.is_empty()) {
            return Some(Self::Property(property.to_owned()));
        }
        let name = spelt(name);
        let field = FIELD_NAMES.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
        // What is known of a user is no column of events.
        let field = field.filter(|field| !matches!(field, Field::Traits | Field::InitialTraits));
        field.or_else(|| (name == PROPERTIES).then_some(Field::Properties)).map(Self::Field)
    }
}

/// In small letters, with `_` between words.
fn spelt(name: &str) -> String {
    let mut spelt = String::new();
    let mut small = false;
    for character in name.trim().chars() {
        if character.is_uppercase() && small {
            spelt.push('_');
        }
        small = character.is_lowercase();
        spelt.extend(if character == ' ' || character == '-' {
            vec!['_']
        } else {
            character.to_lowercase().collect()
        });
    }
    spelt
}

impl Columns {
    /// From the names of a file. Others than weir's must be renamed, or become properties.
    pub(super) fn of(
        header: &StringRecord,
        renamings: &[Renaming],
        others_are_properties: bool,
    ) -> anyhow::Result<Self> {
        is_a_table(header)?;
        for Renaming { from, .. } in renamings {
            ensure!(
                header.iter().any(|name| name.trim() == from),
                "the file has no column '{from}'; it has {}",
                told(header)
            );
        }
        let (mut columns, mut unknown, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
        for name in header.iter().map(str::trim) {
            let renamed =
                renamings.iter().find(|renaming| renaming.from == name).map(|renaming| renaming.to.clone());
            let column = match renamed.or_else(|| Column::named(name)) {
                Some(column) => column,
                None if others_are_properties && !name.is_empty() => Column::Property(name.to_owned()),
                None => {
                    unknown.push(name);
                    continue;
                }
            };
            ensure!(
                known.insert(format!("{column:?}")),
                "the file has two columns for '{}': remove or rename one",
                column.name()
            );
            columns.push(column);
        }
        if !unknown.is_empty() {
            return Err(unknown_columns(header, &unknown));
        }
        for required in [Field::EventType, Field::OccurredAt] {
            ensure!(
                columns.contains(&Column::Field(required)),
                "the file has no column '{0}'; it has {1}. Say which it is: --columns \"NAME={0}\"",
                required.name(),
                told(header)
            );
        }
        Ok(Self(columns))
    }

    /// What a row has of a field; an empty one is as good as absent.
    pub(super) fn field<'r>(&self, row: &'r StringRecord, field: Field) -> Option<&'r str> {
        let index = self.0.iter().position(|column| *column == Column::Field(field))?;
        row.get(index).filter(|text| !text.is_empty())
    }

    /// The properties that have columns of their own, in the order of their names.
    pub(super) fn properties<'c>(&'c self, row: &'c StringRecord) -> Vec<(&'c str, &'c str)> {
        let columns = self.0.iter().zip(row).filter(|(_, text)| !text.is_empty());
        let mut properties: Vec<(&str, &str)> = columns
            .filter_map(|(column, text)| match column {
                Column::Property(name) => Some((name.as_str(), text)),
                Column::Field(_) => None,
            })
            .collect();
        properties.sort_unstable();
        properties
    }
}

impl Column {
    fn name(&self) -> String {
        match self {
            Self::Field(field) => field.name().to_owned(),
            Self::Property(name) => format!("{PROPERTY}{name}"),
        }
    }
}

/// Refuses a first line that is not one of names: JSON, or with another separator.
fn is_a_table(header: &StringRecord) -> anyhow::Result<()> {
    let first = header.get(0).unwrap_or_default().trim();
    ensure!(
        !first.starts_with(['{', '[']),
        "this looks like JSON, and weir import reads CSV. Send a file with one event as JSON in each line with curl: \
         POST /events, Content-Type: application/x-ndjson"
    );
    if header.len() == 1
        && let Some((character, delimiter)) = DELIMITERS.iter().find(|(one, _)| first.contains(*one))
    {
        let names = first.split(*character).count();
        bail!(
            "the first line is one column, '{first}'. It looks like {names} columns: add --delimiter {delimiter}"
        );
    }
    Ok(())
}

/// The column that a name probably means. A wrong guess is worse than none.
fn guess(name: &str) -> Option<&'static str> {
    let spelt = spelt(name);
    let words: Vec<&str> = spelt.split('_').filter(|word| !word.is_empty()).collect();
    let foreign = match words[..] {
        [one] => Some(one),
        [one, ending] if ENDINGS.contains(&ending) => Some(one),
        _ => None,
    };
    let meant = foreign.and_then(|one| FOREIGN_NAMES.iter().find(|(_, names)| names.contains(&one)));
    let fields = FIELD_NAMES.iter().map(|(known, _)| *known);
    meant.map(|(column, _)| *column).or_else(|| nearest(&spelt, fields))
}

/// What to say of columns that weir does not know.
fn unknown_columns(header: &StringRecord, unknown: &[&str]) -> anyhow::Error {
    let is_there = |column: &str| header.iter().any(|name| spelt(name) == column);
    let mut guessed: Vec<(&str, &str)> = Vec::new();
    let all = unknown.iter().filter_map(|name| Some((*name, guess(name)?)));
    for (name, column) in all.filter(|(_, column)| !is_there(column)) {
        if guessed.iter().all(|(_, known)| *known != column) {
            guessed.push((name, column));
        }
    }
    let example = if guessed.is_empty() {
        "--columns \"NAME=COLUMN\"".to_owned()
    } else {
        let pairs: Vec<String> = guessed.iter().map(|(name, column)| format!("{name}={column}")).collect();
        format!("perhaps --columns \"{}\"", pairs.join(","))
    };
    anyhow!(
        "weir does not know the columns {} of the file. Say what they are: {example}, where a column is event_type, occurred_at, \
         user_id, event_id or properties.NAME. Or add --properties, which takes all others as properties",
        unknown.join(", ")
    )
}

fn told(header: &StringRecord) -> String {
    header.iter().map(str::trim).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(header: &[&str]) -> String {
        Columns::of(&StringRecord::from(header.to_vec()), &[], false).expect_err("is refused").to_string()
    }

    #[test]
    fn a_column_is_guessed_from_its_name_or_not_at_all() {
        let said = wrong(&["Order no", "Customer", "When", "Action", "Amount"]);
        let guess =
            "perhaps --columns \"Order no=event_id,Customer=user_id,When=occurred_at,Action=event_type\"";
        assert!(said.contains(guess), "{said}");
        let said = wrong(&["id", "customer country", "phone number", "event_type", "occurred_at"]);
        assert!(said.contains("Say what they are: --columns \"NAME=COLUMN\""), "{said}");
    }

    #[test]
    fn another_separator_and_another_format_are_recognised() {
        assert!(wrong(&["event_type|occurred_at"]).ends_with("It looks like 2 columns: add --delimiter '|'"));
        assert!(wrong(&["event_type;occurred_at;user_id"]).ends_with("3 columns: add --delimiter ';'"));
        assert!(wrong(&["{\"event_type\": \"a\"", "\"user_id\": \"b\"}"]).contains("looks like JSON"));
    }

    #[test]
    fn a_name_may_have_commas_and_equal_signs() {
        let Renamings(renamings) =
            "Name, first=user_id,When=occurred_at,a=b=event_type".parse().expect("renamings");
        let names: Vec<&str> = renamings.iter().map(|renaming| renaming.from.as_str()).collect();
        assert_eq!(names, ["Name, first", "When", "a=b"]);
        assert!("when".parse::<Renamings>().is_err());
        assert!("when=soon".parse::<Renamings>().is_err());
    }
}
