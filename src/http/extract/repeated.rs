//! Members that an object of a body has more than once: what they mean is anybody's guess, and serde takes the last.

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::body_schema::inside;
use crate::http::respond::problem::FieldError;

/// Faults of a text that is JSON, by their places, such as `steps[1].event_type`.
pub(crate) fn faults(json: &[u8]) -> Vec<FieldError> {
    let mut places = Vec::new();
    let value = PlacedValue { place: String::new(), repeated: &mut places };
    // What is not JSON is reported by whoever reads it.
    value.deserialize(&mut serde_json::Deserializer::from_slice(json)).ok();
    let fault = |place| FieldError::new(place, "repeated_field", "the field was sent more than once");
    places.into_iter().map(fault).collect()
}

/// A value at a place.
struct PlacedValue<'a> {
    place: String,
    repeated: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for PlacedValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PlacedValue<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            let place = inside(&self.place, &name);
            if !names.insert(name) && !self.repeated.contains(&place) {
                self.repeated.push(place.clone());
            }
            members.next_value_seed(PlacedValue { place, repeated: self.repeated })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for index in 0.. {
            let place = format!("{}[{index}]", self.place);
            if items.next_element_seed(PlacedValue { place, repeated: self.repeated })?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_member_is_named_once_by_its_place() {
        let json = br#"{"a": 1, "steps": [{"x": [null, true]}, {"x": 1, "x": 2, "x": "3"}], "a": {"b": 1.5, "b": -1}}"#;
        let fields: Vec<_> = faults(json).into_iter().filter_map(|fault| fault.field).collect();
        assert_eq!(fields, ["steps[1].x", "a", "a.b"]);
        assert!(faults(br#"{"a": {"b": 1}, "b": {"b": 1}}"#).is_empty());
    }
}
