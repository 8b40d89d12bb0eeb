//! Why an event was refused.

use std::borrow::Cow;

/// The kind of reason. Stable: clients may act on it, and metrics count by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    NotAnObject,
    InvalidJson,
    UnknownField,
    RepeatedField,
    Missing,
    WrongType,
    Empty,
    TooLong,
    InvalidText,
    InvalidValue,
    InvalidTime,
    TooOld,
    TooFarAhead,
    TooLarge,
    TooDeep,
    NumberTooLarge,
    TooManyEventTypes,
    Bot,
}

impl Reason {
    pub const ALL: [Self; 18] = [
        Self::NotAnObject,
        Self::InvalidJson,
        Self::UnknownField,
        Self::RepeatedField,
        Self::Missing,
        Self::WrongType,
        Self::Empty,
        Self::TooLong,
        Self::InvalidText,
        Self::InvalidValue,
        Self::InvalidTime,
        Self::TooOld,
        Self::TooFarAhead,
        Self::TooLarge,
        Self::TooDeep,
        Self::NumberTooLarge,
        Self::TooManyEventTypes,
        Self::Bot,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::NotAnObject => "not_an_object",
            Self::InvalidJson => "invalid_json",
            Self::UnknownField => "unknown_field",
            Self::RepeatedField => "repeated_field",
            Self::Missing => "missing",
            Self::WrongType => "wrong_type",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::InvalidText => "invalid_text",
            Self::InvalidValue => "invalid_value",
            Self::InvalidTime => "invalid_time",
            Self::TooOld => "too_old",
            Self::TooFarAhead => "too_far_ahead",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::NumberTooLarge => "number_too_large",
            Self::TooManyEventTypes => "too_many_event_types",
            Self::Bot => "bot",
        }
    }
}

/// What is wrong with an event: the first thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The event's id as it was sent, if it can be shown.
    pub event_id: Option<String>,
    /// As the sender calls it. Absent when the event as a whole is wrong.
    pub field: Option<Cow<'static, str>>,
    pub reason: Reason,
    /// What was expected and what came.
    pub message: String,
}

impl Rejection {
    pub fn new(field: &'static str, reason: Reason, message: String) -> Self {
        Self { event_id: None, field: Some(field.into()), reason, message }
    }

    /// Of a field whose name the sender chose.
    pub(in crate::ingest) fn of_name(name: &str, reason: Reason, message: String) -> Self {
        Self { event_id: None, field: Some(super::shortened(name).into()), reason, message }
    }

    pub(in crate::ingest) fn of_event(reason: Reason, message: String) -> Self {
        Self { event_id: None, field: None, reason, message }
    }

    pub(in crate::ingest) fn with_id(self, event_id: Option<Cow<'_, str>>) -> Self {
        Self { event_id: event_id.map(Cow::into_owned), ..self }
    }

    pub(in crate::ingest) fn repeated(field: &'static str) -> Self {
        Self::new(field, Reason::RepeatedField, "the field was sent more than once".into())
    }

    pub(in crate::ingest) fn missing(field: &'static str, what: &str) -> Self {
        Self::new(field, Reason::Missing, format!("{what} is required"))
    }

    /// A field that should be JSON and is not.
    pub fn invalid_json(field: &'static str, text: &str, error: &serde_json::Error) -> Self {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let (why, column) = (error.to_string().replace(&place, ""), error.column());
        let text = super::shortened(text);
        Self::new(
            field,
            Reason::InvalidText,
            format!("not valid JSON at its character {column} ({why}); got '{text}'"),
        )
    }

    pub fn too_many_event_types(event_type: &str, limit: u32) -> Self {
        let event_type = super::shortened(event_type);
        let message = format!(
            "the project already has {limit} event types, the most that it may have, so '{event_type}' is refused; \
             put what varies into 'properties'"
        );
        Self::new("event_type", Reason::TooManyEventTypes, message)
    }
}
