//! What a question that costs too much may be narrowed by.

use crate::{
    http::respond::problem::{Code, FieldError, Problem},
    model::{duration::in_words, range::DayRange},
    stats::filter::{Filter, Property},
    store::{ErrorKind, StoreError, read::snapshot::Reader},
};

/// What a question asks, as far as it decides what it costs.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    days: i64,
    hints: Vec<FieldError>,
}

impl Cost {
    pub(crate) fn of_days(days: DayRange) -> Self {
        Self { days: days.length(), hints: Vec::new() }
    }

    /// The question reads events, because of conditions in this parameter.
    #[must_use]
    pub(crate) fn with_filter(mut self, field: &'static str, filter: &Filter) -> Self {
        for (property, _) in &filter.properties {
            let message = format!(
                "reads events because of {property}; event types, and one promoted property, are answered without"
            );
            self.hints.push(FieldError::new(field, "reads_events", message));
        }
        self
    }

    #[must_use]
    pub(crate) fn with_breakdown(mut self, property: Option<&Property>) -> Self {
        if let Some(property) = property {
            let message = format!(
                "reads events because of {property}; event_type, and a promoted property, are answered without"
            );
            self.hints.push(FieldError::new("breakdown", "reads_events", message));
        }
        self
    }

    /// The question reads events, because of this choice.
    #[must_use]
    pub(crate) fn with_choice(mut self, applies: bool, field: &'static str, message: &str) -> Self {
        if applies {
            self.hints.push(FieldError::new(field, "reads_events", message));
        }
        self
    }

    /// A failure of the store: if the question is too expensive, with what to narrow.
    pub(crate) fn problem(self, error: StoreError, reader: &Reader) -> Problem {
        if error.kind() != ErrorKind::TooExpensive {
            return error.into();
        }
        let mut hints = Vec::new();
        if self.days > 1 {
            let message = format!("ask for fewer days than {}", self.days);
            hints.push(FieldError::new("from", "too_many_days", message));
        }
        hints.extend(self.hints);
        let limit = in_words(reader.timeout());
        let why = match error {
            StoreError::TooManyRows(rows) => format!("has more than {rows} values in all periods"),
            _ => format!("takes longer than {limit}"),
        };
        Problem::invalid(Code::QueryTooExpensive, format!("the answer {why}: narrow the question"), hints)
    }
}
