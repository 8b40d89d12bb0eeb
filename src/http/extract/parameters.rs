//! Parameters of questions: all that are wrong are reported at once, each with what was expected.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, Utc};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseFromParameter, ParseResult, ToJSON, Type},
};

pub use super::segments::Segments;
use super::text::{Date, Text};
use crate::http::respond::{
    problem::{Code, FieldError, Problem},
    warnings,
};
use crate::{
    model::{range::DayRange, rfc3339},
    stats::filter::{self, Filter, Segment},
};

/// Days in a range: five years and a bit, so that an answer stays an answer.
pub const MAX_DAYS: u32 = 2_000;

/// Characters of a segment.
const MAX_SEGMENT: usize = 2_000;

/// A value that a parameter can have.
pub trait ParameterValue: Sized + Send + Sync {
    /// A name for the reason if a text is not such a value.
    const INVALID: &'static str;
    /// What is expected, after "expected ".
    fn expected() -> String;
    fn parse(text: &str) -> Option<Self>;
    /// What is wrong with a text that is not such a value.
    fn wrong(text: &str) -> String {
        format!("expected {}, got '{text}'", Self::expected())
    }
    /// Notes what the answer may warn of.
    fn note(&self, _name: &str) {}
    fn schema() -> MetaSchema;
}

/// A parameter as it was sent: it always extracts, and [`Checks`] validates it together with the others. `REQUIRED` is what
/// the OpenAPI document says of it.
pub struct Param<T, const REQUIRED: bool = false>(SentValue<T>);

pub type Required<T> = Param<T, true>;

enum SentValue<T> {
    Absent,
    Valid(T),
    Invalid(String),
    Repeated,
    /// Stands in the documentation, and is never sent.
    Example(&'static str),
}

impl<T, const REQUIRED: bool> Param<T, REQUIRED> {
    pub fn example(text: &'static str) -> Self {
        Self(SentValue::Example(text))
    }

    fn is_absent(&self) -> bool {
        matches!(self.0, SentValue::Absent | SentValue::Example(_))
    }
}

impl<T: ParameterValue, const REQUIRED: bool> ToJSON for Param<T, REQUIRED> {
    fn to_json(&self) -> Option<serde_json::Value> {
        match self.0 {
            SentValue::Example(text) => Some(text.into()),
            _ => None,
        }
    }
}

impl<T: ParameterValue, const REQUIRED: bool> Type for Param<T, REQUIRED> {
    const IS_REQUIRED: bool = REQUIRED;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        T::expected().into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(T::schema()))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        None
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::empty())
    }
}

impl<T: ParameterValue, const REQUIRED: bool> ParseFromParameter for Param<T, REQUIRED> {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        Ok(Self(T::parse(text).map_or_else(|| SentValue::Invalid(text.to_owned()), SentValue::Valid)))
    }

    fn parse_from_parameters<I: IntoIterator<Item = A>, A: AsRef<str>>(texts: I) -> ParseResult<Self> {
        let mut texts = texts.into_iter();
        match (texts.next(), texts.next()) {
            (None, _) => Ok(Self(SentValue::Absent)),
            (Some(text), None) => Self::parse_from_parameter(text.as_ref()),
            (Some(_), Some(_)) => Ok(Self(SentValue::Repeated)),
        }
    }
}

/// Validates the parameters of one request.
#[derive(Default)]
pub struct Checks {
    errors: Vec<FieldError>,
}

impl Checks {
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// A parameter that must be there. Nothing, if it is not or is not valid: [`Checks::finish`] reports it.
    pub fn required<T: ParameterValue, const R: bool>(
        &mut self,
        name: &str,
        param: Param<T, R>,
    ) -> Option<T> {
        if matches!(param.0, SentValue::Absent) {
            self.refuse(name, "missing", format!("expected {}", T::expected()));
        }
        self.optional(name, param)
    }

    pub fn optional<T: ParameterValue, const R: bool>(
        &mut self,
        name: &str,
        param: Param<T, R>,
    ) -> Option<T> {
        match param.0 {
            SentValue::Absent | SentValue::Example(_) => None,
            SentValue::Valid(value) => {
                value.note(name);
                Some(value)
            }
            SentValue::Repeated => {
                self.refuse(name, "repeated", "expected one value, got several".into());
                None
            }
            SentValue::Invalid(text) => {
                self.refuse(name, T::INVALID, T::wrong(&text));
                None
            }
        }
    }

    /// The events for which all segments hold.
    pub fn segments(&mut self, name: &'static str, segments: Segments) -> Filter {
        self.texts(name, segments.0)
    }

    /// The same, of texts that came in another way.
    pub fn texts(&mut self, name: &str, segments: Vec<String>) -> Filter {
        if segments.len() > filter::MOST {
            self.refuse(name, "too_many", format!("expected at most {}", filter::MOST));
            return Filter::default();
        }
        let mut filter = Filter::default();
        for text in segments {
            if text.chars().count() > MAX_SEGMENT {
                self.refuse(name, "too_long", format!("expected at most {MAX_SEGMENT} characters"));
                continue;
            }
            match Segment::parse(&text) {
                Ok(segment) => filter = filter.and(segment),
                Err(message) => self.refuse(name, "invalid_segment", format!("{message}, got '{text}'")),
            }
        }
        warnings::note_event_types(filter.only.iter().flatten().chain(&filter.except));
        filter
    }

    /// A text that came in a body.
    pub fn text(&mut self, name: &str, Text(text): Text) -> Option<String> {
        self.optional::<String, true>(
            name,
            Param(String::parse(&text).map_or(SentValue::Invalid(text), SentValue::Valid)),
        )
    }

    /// A day that came in a body.
    pub fn date(&mut self, name: &str, Date(text): Date) -> Option<NaiveDate> {
        let param = NaiveDate::parse(&text).map_or(SentValue::Invalid(text), SentValue::Valid);
        self.optional::<NaiveDate, true>(name, Param(param))
    }

    /// Refuses a parameter for a reason that lies beyond its own form.
    pub fn refuse(&mut self, name: &str, code: &'static str, message: String) {
        self.errors.push(FieldError::new(name, code, message));
    }

    /// The parameters if all are valid; otherwise everything that is wrong with them.
    pub fn finish<T>(self, parameters: Option<T>) -> Result<T, Problem> {
        match parameters {
            Some(parameters) if self.errors.is_empty() => Ok(parameters),
            _ => Err(Problem::invalid(Code::ValidationFailed, listed(&self.errors), self.errors)),
        }
    }
}

/// All that is wrong, in one sentence.
fn listed(errors: &[FieldError]) -> String {
    let name = |error: &FieldError| format!("'{}'", error.field.as_deref().unwrap_or_default());
    match errors {
        [one] if one.code == "missing" => format!("{} is missing: {}", name(one), one.message),
        [one] => format!("{} is not valid: {}", name(one), one.message),
        _ => {
            let mut names: Vec<String> = errors.iter().map(name).collect();
            names.dedup();
            format!("Missing or not valid: {}", names.join(", "))
        }
    }
}

impl ParameterValue for NaiveDate {
    const INVALID: &'static str = "invalid_date";

    fn expected() -> String {
        "a day of the calendar as YYYY-MM-DD".into()
    }

    fn parse(text: &str) -> Option<Self> {
        // chrono takes signs, spaces and other lengths too.
        let digit =
            |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
        if text.len() == 10 && text.bytes().enumerate().all(digit) { text.parse().ok() } else { None }
    }

    fn schema() -> MetaSchema {
        MetaSchema::new_with_format("string", "date")
    }
}

impl ParameterValue for DateTime<Utc> {
    const INVALID: &'static str = "invalid_time";

    fn expected() -> String {
        rfc3339::EXPECTED.into()
    }

    fn parse(text: &str) -> Option<Self> {
        // A plus that was not escaped in an address comes as a space.
        rfc3339::parse(&text.replace(' ', "+")).ok()
    }

    fn wrong(text: &str) -> String {
        rfc3339::parse(text).map_or_else(|wrong| format!("{wrong}; got '{text}'"), |_| Self::expected())
    }

    fn schema() -> MetaSchema {
        MetaSchema::new_with_format("string", "date-time")
    }
}

impl ParameterValue for String {
    const INVALID: &'static str = "invalid_text";

    fn expected() -> String {
        "1 to 200 characters".into()
    }

    fn parse(text: &str) -> Option<Self> {
        // As in events, blanks around it mean nothing.
        let is_one = text.chars().count() <= 200 && !text.contains('\0') && !text.trim().is_empty();
        is_one.then(|| text.trim().to_owned())
    }

    fn note(&self, name: &str) {
        warnings::note_parameter(name, self);
    }

    fn schema() -> MetaSchema {
        MetaSchema { min_length: Some(1), max_length: Some(200), ..MetaSchema::new("string") }
    }
}

/// A number from 1 to `MAX`.
#[derive(Clone, Copy, Debug)]
pub struct UpTo<const MAX: u32>(pub u32);

impl<const MAX: u32> ParameterValue for UpTo<MAX> {
    const INVALID: &'static str = "out_of_range";

    fn expected() -> String {
        format!("a number from 1 to {MAX}")
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| (1..=MAX).contains(number)).map(Self)
    }

    fn schema() -> MetaSchema {
        MetaSchema {
            minimum: Some(1.0),
            maximum: Some(MAX.into()),
            ..MetaSchema::new_with_format("integer", "uint32")
        }
    }
}

/// A number from 0 to `MAX`.
#[derive(Clone, Copy, Debug)]
pub struct Whole<const MAX: u32>(pub u32);

impl<const MAX: u32> ParameterValue for Whole<MAX> {
    const INVALID: &'static str = "out_of_range";

    fn expected() -> String {
        format!("a number from 0 to {MAX}")
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| *number <= MAX).map(Self)
    }

    fn schema() -> MetaSchema {
        MetaSchema {
            minimum: Some(0.0),
            maximum: Some(MAX.into()),
            ..MetaSchema::new_with_format("integer", "uint32")
        }
    }
}

/// A range of days with both its ends.
pub fn range<const R: bool>(
    checks: &mut Checks,
    from: Param<NaiveDate, R>,
    to: Param<NaiveDate, R>,
) -> Option<DayRange> {
    let (from, to) = (checks.required("from", from), checks.required("to", to));
    let range = from.zip(to).map(|(from, to)| DayRange::new(from, to))?;
    days(checks, range);
    Some(range)
}

/// Either one day, under its own name, or a range.
pub enum AskedDays {
    One(NaiveDate),
    Range(DayRange),
}

/// A day under this name, or instead of it a range of days.
pub fn day_or_range(
    checks: &mut Checks,
    name: &'static str,
    day: Param<NaiveDate>,
    from: Param<NaiveDate>,
    to: Param<NaiveDate>,
) -> Option<AskedDays> {
    match (day.is_absent(), from.is_absent() && to.is_absent()) {
        (false, true) => checks.optional(name, day).map(AskedDays::One),
        (true, false) => range(checks, from, to).map(AskedDays::Range),
        (true, true) => {
            checks.refuse(name, "missing", format!("expected {name}, or from and to, as YYYY-MM-DD"));
            None
        }
        (false, false) => {
            checks.refuse(name, "not_both", format!("expected either {name}, or from and to"));
            None
        }
    }
}

/// Whether days make a range.
pub fn days(checks: &mut Checks, range: DayRange) {
    let (DayRange { from, to }, days) = (range, range.length());
    if days < 1 {
        checks.refuse("to", "before_from", format!("expected {from} or later, got '{to}'"));
    }
    if days > i64::from(MAX_DAYS) {
        checks.refuse("to", "too_large", format!("expected at most {MAX_DAYS} days, got {days}"));
    }
}
