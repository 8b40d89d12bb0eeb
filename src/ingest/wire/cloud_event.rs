//! CloudEvents 1.0: <https://github.com/cloudevents/spec>.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{RawEvent, fields::Members, put};

/// Extension attributes that are kept, to be judged.
pub(crate) const MAX_EXTENSIONS: usize = 32;

/// The attributes of a CloudEvent, each as it was sent.
#[derive(Debug, Default)]
pub struct RawCloudEvent<'a> {
    pub specversion: Option<&'a RawValue>,
    pub id: Option<&'a RawValue>,
    pub source: Option<&'a RawValue>,
    /// The attribute `type`.
    pub event_type: Option<&'a RawValue>,
    pub subject: Option<&'a RawValue>,
    pub time: Option<&'a RawValue>,
    pub datacontenttype: Option<&'a RawValue>,
    pub data: Option<&'a RawValue>,
    pub data_base64: Option<&'a RawValue>,
    /// `dataschema` and extensions: one more than [`MAX_EXTENSIONS`] if there were too many.
    pub extensions: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// The first attribute that stood there twice.
    pub repeated: Option<&'static str>,
}

impl<'a> Members<'a> for RawCloudEvent<'a> {
    fn put(&mut self, name: Cow<'a, str>, value: &'a RawValue) {
        let (name, slot) = match &*name {
            "specversion" => ("specversion", &mut self.specversion),
            "id" => ("id", &mut self.id),
            "source" => ("source", &mut self.source),
            "type" => ("type", &mut self.event_type),
            "subject" => ("subject", &mut self.subject),
            "time" => ("time", &mut self.time),
            "datacontenttype" => ("datacontenttype", &mut self.datacontenttype),
            "data" => ("data", &mut self.data),
            "data_base64" => ("data_base64", &mut self.data_base64),
            _ => {
                if self.extensions.len() <= MAX_EXTENSIONS {
                    self.extensions.push((name, value));
                }
                return;
            }
        };
        if !put(slot, value) {
            self.repeated.get_or_insert(name);
        }
    }

    fn into_event(self) -> RawEvent<'a> {
        RawEvent::CloudEvent(Box::new(self))
    }
}

/// Why a request in binary mode is no CloudEvent.
#[derive(Debug, thiserror::Error)]
pub enum BinaryModeError {
    #[error("the header ce-{0} is not valid: expected UTF-8, percent-encoded where it is not ASCII")]
    Header(String),
    #[error("the body is not valid JSON: {0}")]
    Data(#[from] serde_json::Error),
}

/// A CloudEvent in binary mode, attributes in headers and data in the body, as the same event in structured mode.
///
/// `headers` are the names behind `ce-` with their values.
pub fn structured<'h>(
    headers: impl Iterator<Item = (&'h str, &'h [u8])>,
    data: &[u8],
) -> Result<Vec<u8>, BinaryModeError> {
    let mut event = serde_json::Map::new();
    for (name, value) in headers {
        let value = attribute(value).ok_or_else(|| BinaryModeError::Header(name.to_owned()))?;
        event.insert(name.to_owned(), value.into());
    }
    let mut text = serde_json::to_vec(&event)?;
    if !data.trim_ascii().is_empty() {
        let data: &RawValue = serde_json::from_slice(data)?;
        text.pop(); // the closing brace
        text.extend(if event.is_empty() { &b"\"data\":"[..] } else { b",\"data\":" });
        text.extend(data.get().as_bytes());
        text.push(b'}');
    }
    Ok(text)
}

/// A header's value: quotes around it go, then it is percent-decoded, once.
fn attribute(value: &[u8]) -> Option<String> {
    let value = std::str::from_utf8(value).ok()?.trim();
    let unquoted = match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) => unescaped(inside),
        None => value.to_owned(),
    };
    percent_encoding::percent_decode_str(&unquoted).decode_utf8().ok().map(Cow::into_owned)
}

/// The inside of a quoted string, without the backslashes that protect a character.
fn unescaped(inside: &str) -> String {
    let mut characters = inside.chars();
    let next = || match characters.next() {
        Some('\\') => characters.next(),
        other => other,
    };
    std::iter::from_fn(next).collect()
}
