//! What a breakdown counts separately.

use super::filter::Property;

/// Values that a breakdown reads at most, before those without a place of their own are put together: of a time series those of
/// each period.
pub const MOST_VALUES: usize = 50_000;

/// By what an answer is broken down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breakdown {
    EventType,
    Property(Property),
}

impl Breakdown {
    pub fn property(&self) -> Option<&Property> {
        match self {
            Self::EventType => None,
            Self::Property(property) => Some(property),
        }
    }
}

/// Whose events are counted together. In the order in which an answer has values of equal size.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// Of this value; nothing: of events without one.
    Value(Option<String>),
    /// Of all values that have no place of their own; and of those that never have one: lists, objects and long texts.
    Other,
}

impl Label {
    /// Of events without a value.
    pub const NONE: Self = Self::Value(None);

    /// How an answer shows it: the value, and whether it is the rest.
    pub fn shown(self) -> (Option<String>, bool) {
        match self {
            Self::Value(value) => (value, false),
            Self::Other => (Some("$other".into()), true),
        }
    }
}
