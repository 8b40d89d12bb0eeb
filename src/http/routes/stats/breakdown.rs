//! By what an answer is broken down.

use poem_openapi::registry::MetaSchema;

use crate::{
    http::extract::parameters::ParameterValue,
    stats::{filter::Property, label::Breakdown},
};

impl ParameterValue for Breakdown {
    const INVALID: &'static str = "invalid_breakdown";

    fn expected() -> String {
        "event_type or properties.NAME, one of them; a name with a comma stands in quotes".into()
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "event_type" => Some(Self::EventType),
            // One at a time: what has a comma may be two names.
            text if text.contains(',') && !text.starts_with("properties.\"") => None,
            text => Property::parse(text).map(Self::Property),
        }
    }

    fn schema() -> MetaSchema {
        MetaSchema { pattern: Some(r"^(event_type|properties\..+)$".into()), ..MetaSchema::new("string") }
    }
}
