//! What the columns of a file are.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};
use csv::StringRecord;
use weir::{
    ingest::wire::{FIELD_NAMES, Field},
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

impl std::str::FromStr for Renaming {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('=').ok_or("expected NAME=COLUMN, such as when=occurred_at")?;
        let to = Column::named(to).ok_or_else(|| {
            format!("'{to}' is not a column of weir: expected event_id, event_type, user_id, occurred_at, {PROPERTIES} or {PROPERTY}NAME")
        })?;
        Ok(Self { from: from.to_owned(), to })
    }
}

impl Column {
    /// As weir and the systems before it name it, however it is spelt: `Event Type`, `eventType`.
    fn named(name: &str) -> Option<Self> {
        if let Some(property) = name.strip_prefix(PROPERTY).filter(|property| !property.is_empty()) {
            return Some(Self::Property(property.to_owned()));
        }
        let name = spelt(name);
        let field = FIELD_NAMES.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
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
            ensure!(known.insert(format!("{column:?}")), "the file has two columns for '{}'", column.name());
            columns.push(column);
        }
        if let Some(first) = unknown.first() {
            let names = FIELD_NAMES.iter().map(|(known, _)| *known);
            let hint =
                nearest(first, names).map_or(String::new(), |known| format!("; '{first}' may be '{known}'"));
            bail!(
                "weir does not know the columns {} of the file{hint}. Say what they are, such as --columns \"{first}=user_id\", or \
                 take them as properties with --properties",
                unknown.join(", ")
            );
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

fn told(header: &StringRecord) -> String {
    header.iter().map(str::trim).collect::<Vec<_>>().join(", ")
}
