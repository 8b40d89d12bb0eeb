//! The values of promoted properties, taken out of events as they are stored.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use sqlx::PgConnection;

use super::rows::EventRow;
use crate::{
    model::project::ProjectId,
    store::{
        StoreError,
        promotions::known::{MISSING, Promoted},
    },
};

/// Gives rows the numbers of their values. Of projects without promotions nothing is read.
pub(super) async fn number_values(
    connection: &mut PgConnection,
    promoted: &Promoted,
    rows: &mut [EventRow<'_>],
) -> Result<(), StoreError> {
    let mut values: BTreeMap<(ProjectId, &str), HashMap<&str, Vec<usize>>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        let names = promoted.of(row.project.id);
        if names.is_empty() {
            continue;
        }
        for (name, value) in names.iter().zip(values_of(&row.event.properties, names)) {
            let rows = values.entry((row.project.id, name)).or_default().entry(value).or_default();
            rows.push(index);
        }
    }
    for ((project_id, property), values) in values {
        let sent = values.keys().copied();
        let numbers = promoted.find_or_add(connection, project_id, property, sent).await?;
        for (value, indices) in values {
            let Some(&number) = numbers.get(value) else { continue };
            for index in indices {
                rows[index].value_nos.push(number);
            }
        }
    }
    Ok(())
}

/// The values of the properties of these names, as they were written.
fn values_of<'a>(properties: &'a str, names: &[Box<str>]) -> Vec<&'a str> {
    let wanted = WantedMembers { names, values: vec![MISSING; names.len()] };
    // What cannot be read here the database refuses too, and then nothing of it counts.
    wanted
        .deserialize(&mut serde_json::Deserializer::from_str(properties))
        .unwrap_or_else(|_| vec![MISSING; names.len()])
}

struct WantedMembers<'n, 'a> {
    names: &'n [Box<str>],
    values: Vec<&'a str>,
}

impl<'a> DeserializeSeed<'a> for WantedMembers<'_, 'a> {
    type Value = Vec<&'a str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for WantedMembers<'_, 'a> {
    type Value = Vec<&'a str>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    /// Of several values under one name the last is taken, as jsonb does.
    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some(MemberName(name)) = map.next_key()? {
            match self.names.iter().position(|wanted| **wanted == *name) {
                Some(index) => self.values[index] = map.next_value::<&RawValue>()?.get(),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(self.values)
    }
}

#[derive(serde::Deserialize)]
struct MemberName<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_as_they_were_written() {
        let names = ["x".into(), "y z".into()];
        for (properties, x, y) in [
            (r"{}", "null", "null"),
            (r#"{"x":1.0,"y z":"a"}"#, "1.0", r#""a""#),
            (r#" { "y z" : [1, {"x": 2}] , "w" : {"x": 3} } "#, "null", r#"[1, {"x": 2}]"#),
            (r#"{"x":1,"x":null,"\u0078":true}"#, "true", "null"),
            (r#"{"x":"\u0061","y z":{"b":1}}"#, r#""\u0061""#, r#"{"b":1}"#),
            ("[1]", "null", "null"),
        ] {
            assert_eq!(values_of(properties, &names), [x, y], "{properties}");
        }
    }
}
