//! Which events a question is about: segments, all of which must hold.
//!
//! A segment is `SUBJECT:VALUES`. The subject is `event_type` or `properties.NAME`; a dot in the name goes a level deeper,
//! unless there is a property of that whole name; a name with a colon stands in quotes, as JSON writes it:
//! `properties."utm:source":x`. Values are separated by commas and one of them must hold; with `!` before
//! them none may.
//!
//! | value | holds for |
//! |---|---|
//! | `UA`, `49.9`, `true` | the text; the number or the truth value too, if it reads as one |
//! | `"UA,PL"` | this text only, as JSON writes it |
//! | `null` | an event without the property, or with null |
//! | `>10`, `>=10`, `<10`, `<=10` | numbers |
//!
//! A list holds if one of its elements does.

use std::collections::BTreeSet;

use crate::model::properties;

/// Values of a segment, and segments of a question.
pub const MOST: usize = 50;

/// A condition on events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub subject: Subject,
    /// None of the values may hold, instead of one.
    pub negated: bool,
    pub values: Vec<PropertyValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    EventType,
    Property(Property),
}

/// The name of a property.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Property(String);

/// What a property may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyValue {
    /// Not there, or null.
    Missing,
    /// The text, and whatever it reads as.
    Plain(String),
    /// The text alone.
    Text(String),
    Compared(Comparison, Number),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A number of JSON, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number(String);

/// The events that a question is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of these types; nothing: of any.
    pub only: Option<BTreeSet<String>>,
    /// Of none of these types.
    pub except: BTreeSet<String>,
    /// Conditions on properties. Activity knows those that are promoted, one at a time; others are answered from the events
    /// themselves.
    pub properties: Vec<(Property, PropertyCondition)>,
}

/// A condition on a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyCondition {
    pub negated: bool,
    pub values: Vec<PropertyValue>,
}

impl Property {
    /// From `properties.NAME`.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix("properties.")?;
        let unquoted: Option<String> =
            name.starts_with('"').then(|| serde_json::from_str(name).ok()).flatten();
        let name = unquoted.as_deref().unwrap_or(name);
        let valid = !name.is_empty() && name.split('.').all(|part| !part.is_empty()) && !name.contains('\0');
        (valid && name.chars().count() <= 200).then(|| Self(name.to_owned()))
    }

    /// For the store, which writes the names that it was given.
    pub(crate) fn from_stored(name: String) -> Self {
        Self(name)
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether the name may be that of a property of a property.
    pub fn is_nested(&self) -> bool {
        self.0.contains('.')
    }
}

impl std::fmt::Display for Property {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "properties.{}", self.0)
    }
}

impl Number {
    /// Numbers that events can have; the database would refuse others.
    pub fn parse(text: &str) -> Option<Self> {
        let _: serde_json::Number = serde_json::from_str(text).ok()?;
        properties::check(text, 0).ok()?;
        Some(Self(text.to_owned()))
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Segment {
    /// Reads a segment; if it is none, says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || "expected event_type:VALUE or properties.NAME:VALUE".to_owned();
        if text.contains('\0') {
            return Err("U+0000 stands in no event".into());
        }
        let (subject, values) = split(text).ok_or_else(expected)?;
        let (negated, values) = match values.strip_prefix('!') {
            Some(values) => (true, values),
            None => (false, values),
        };
        let subject = match subject {
            "event_type" => Subject::EventType,
            property => Subject::Property(Property::parse(property).ok_or_else(expected)?),
        };
        let values = values_of(values)?;
        if values.len() > MOST {
            return Err(format!("expected at most {MOST} values"));
        }
        if subject == Subject::EventType
            && values
                .iter()
                .any(|value| matches!(value, PropertyValue::Compared(..) | PropertyValue::Missing))
        {
            return Err("an event type is a text: write \"null\" or \"<…\" in quotes".into());
        }
        Ok(Self { subject, negated, values })
    }
}

/// The subject and the values of a segment. A colon in quotes separates nothing.
fn split(text: &str) -> Option<(&str, &str)> {
    const QUOTED: &str = "properties.\"";
    if !text.starts_with(QUOTED) {
        return text.split_once(':');
    }
    let begin = QUOTED.len() - 1;
    let mut name = serde_json::Deserializer::from_str(&text[begin..]).into_iter::<String>();
    name.next()?.ok()?;
    let (subject, rest) = text.split_at(begin + name.byte_offset());
    Some((subject, rest.strip_prefix(':')?))
}

fn values_of(mut text: &str) -> Result<Vec<PropertyValue>, String> {
    let mut values = Vec::new();
    loop {
        let rest = if text.starts_with('"') {
            let mut quoted = serde_json::Deserializer::from_str(text).into_iter::<String>();
            let Some(Ok(value)) = quoted.next() else {
                return Err("a text in quotes does not end, or is not as JSON writes it".into());
            };
            let rest = &text[quoted.byte_offset()..];
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err("expected a comma after a text in quotes".into());
            }
            if value.contains('\0') {
                return Err("U+0000 stands in no event".into());
            }
            values.push(PropertyValue::Text(value));
            rest
        } else {
            let end = text.find(',').unwrap_or(text.len());
            values.push(plain(&text[..end])?);
            &text[end..]
        };
        match rest.strip_prefix(',') {
            Some(next) => text = next,
            None => return Ok(values),
        }
    }
}

fn plain(text: &str) -> Result<PropertyValue, String> {
    let compared = [
        (">=", Comparison::GreaterOrEqual),
        ("<=", Comparison::LessOrEqual),
        (">", Comparison::Greater),
        ("<", Comparison::Less),
    ];
    for (sign, comparison) in compared {
        if let Some(number) = text.strip_prefix(sign) {
            let number = Number::parse(number).ok_or_else(|| format!("expected a number after {sign}"))?;
            return Ok(PropertyValue::Compared(comparison, number));
        }
    }
    match text {
        "" => Err("expected a value: null means that there is none, \"\" is the empty text".into()),
        "null" => Ok(PropertyValue::Missing),
        text => Ok(PropertyValue::Plain(text.to_owned())),
    }
}

impl Filter {
    /// Events for which all segments hold.
    pub fn of(segments: impl IntoIterator<Item = Segment>) -> Self {
        segments.into_iter().fold(Self::default(), Self::and)
    }

    /// Events of this type only, besides.
    #[must_use]
    pub fn of_type(mut self, event_type: &str) -> Self {
        self.keep_only([event_type.to_owned()].into());
        self
    }

    #[must_use]
    pub fn and(mut self, segment: Segment) -> Self {
        match segment.subject {
            Subject::Property(property) => {
                let condition = PropertyCondition { negated: segment.negated, values: segment.values };
                self.properties.push((property, condition));
            }
            Subject::EventType => {
                let types = segment.values.into_iter().filter_map(|value| match value {
                    PropertyValue::Plain(text) | PropertyValue::Text(text) => Some(text),
                    PropertyValue::Missing | PropertyValue::Compared(..) => None,
                });
                if segment.negated {
                    self.except.extend(types);
                } else {
                    self.keep_only(types.collect());
                }
            }
        }
        self
    }

    /// Events that both take.
    #[must_use]
    pub fn and_all(mut self, other: Self) -> Self {
        if let Some(only) = other.only {
            self.keep_only(only);
        }
        self.except.extend(other.except);
        self.properties.extend(other.properties);
        self
    }

    fn keep_only(&mut self, types: BTreeSet<String>) {
        self.only = Some(match self.only.take() {
            None => types,
            Some(only) => only.intersection(&types).cloned().collect(),
        });
    }

    /// The property that all conditions on properties are on.
    pub fn only_property(&self) -> Option<&Property> {
        let (first, rest) = self.properties.split_first()?;
        rest.iter().all(|(property, _)| *property == first.0).then_some(&first.0)
    }

    /// Whether there is no condition on properties.
    pub fn is_of_types_alone(&self) -> bool {
        self.properties.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> (bool, Vec<PropertyValue>) {
        let segment = Segment::parse(&format!("properties.x:{text}")).expect(text);
        (segment.negated, segment.values)
    }

    fn plain(text: &str) -> PropertyValue {
        PropertyValue::Plain(text.into())
    }

    #[test]
    fn values_are_texts_numbers_and_what_is_missing() {
        assert_eq!(values("UA"), (false, vec![plain("UA")]));
        assert_eq!(values("UA,PL"), (false, vec![plain("UA"), plain("PL")]));
        assert_eq!(values("!UA,null"), (true, vec![plain("UA"), PropertyValue::Missing]));
        assert_eq!(values("https://a:8"), (false, vec![plain("https://a:8")]));
        let quoted = PropertyValue::Text("a,\"b".into());
        assert_eq!(values(r#""a,\"b",null,"","!""#).1[..2], [quoted, PropertyValue::Missing]);
        let ten = Number("1e1".into());
        assert_eq!(values(">=1e1"), (false, vec![PropertyValue::Compared(Comparison::GreaterOrEqual, ten)]));
    }

    #[test]
    fn names_with_colons_stand_in_quotes() {
        for (text, name) in [
            (r#"properties."utm:source":x"#, "utm:source"),
            (r#"properties."a \"b\", c":x"#, "a \"b\", c"),
            (r#"properties.a "b":x"#, "a \"b\""),
        ] {
            let segment = Segment::parse(text).expect(text);
            assert_eq!(segment.subject, Subject::Property(Property(name.into())), "{text}");
            assert_eq!(segment.values, [plain("x")], "{text}");
        }
        assert_eq!(Property::parse(r#"properties."utm:source""#), Some(Property("utm:source".into())));
        assert!(Segment::parse(r#"properties."a:x"#).is_err(), "the quote does not end");
    }

    #[test]
    fn what_is_no_segment_is_told_what_was_expected() {
        for (text, expected) in [
            ("country:UA", "expected event_type:VALUE or properties.NAME:VALUE"),
            ("properties.country", "expected event_type:VALUE or properties.NAME:VALUE"),
            ("properties.:1", "expected event_type:VALUE or properties.NAME:VALUE"),
            ("properties.a..b:1", "expected event_type:VALUE or properties.NAME:VALUE"),
            ("properties.x:", "expected a value: null means that there is none, \"\" is the empty text"),
            ("properties.x:a,", "expected a value: null means that there is none, \"\" is the empty text"),
            ("properties.x:>ten", "expected a number after >"),
            ("properties.x:>1e999", "expected a number after >"),
            ("properties.x:>1e-20000", "expected a number after >"),
            ("properties.x:\"a", "a text in quotes does not end, or is not as JSON writes it"),
            ("properties.x:\"a\"b", "expected a comma after a text in quotes"),
            ("event_type:<5", "an event type is a text: write \"null\" or \"<…\" in quotes"),
        ] {
            assert_eq!(Segment::parse(text), Err(expected.into()), "{text}");
        }
    }

    #[test]
    fn segments_on_types_become_sets() {
        let of =
            |texts: &[&str]| Filter::of(texts.iter().map(|text| Segment::parse(text).expect("a segment")));
        let filter = of(&["event_type:a,b,c", "event_type:b,c,d", "event_type:!c"]);
        assert_eq!(filter.only, Some(["b".to_owned(), "c".to_owned()].into()));
        assert_eq!(filter.except, ["c".to_owned()].into());
        assert!(filter.is_of_types_alone());
        assert_eq!(of(&["event_type:a", "event_type:b"]).only, Some(BTreeSet::new()));
        assert!(!of(&["properties.x:1"]).is_of_types_alone());
    }
}
