//! The protocols of other vendors' SDKs, a file each: which calls they make, where a request says its key, how its events
//! are read, and which answers they understand. Around them stands what `POST /events` has: bounds, keys, rates,
//! deduplication, validation and publishing.
//!
//! The calls of a protocol stand under `/in/{name}`. A new protocol is a file here and its line in [`PROTOCOLS`].

mod amplitude;
mod clock;
mod mixpanel;
mod object;
mod posthog;
mod segment;

use std::borrow::Cow;

use ::http::{HeaderMap, Method, header};
use base64::{Engine, prelude::BASE64_STANDARD};

use super::{BodyError, Format};
use crate::{
    ingest::{receipt::Receipt, validate::Rejection},
    limits::rate::Allowance,
};

pub const PROTOCOLS: &[Protocol] =
    &[segment::PROTOCOL, posthog::PROTOCOL, mixpanel::PROTOCOL, amplitude::PROTOCOL];

/// How SDKs of a vendor talk.
pub struct Protocol {
    /// In paths and metrics.
    pub name: &'static str,
    /// As its users know it.
    pub vendor: &'static str,
    pub calls: &'static [SdkCall],
    /// Paths that stand at the root, too, with all below them: some SDKs cannot be given a path.
    pub at_root: &'static [&'static str],
}

/// A call of an SDK.
pub struct SdkCall {
    /// Below the protocol's own, with `{names}` for what differs from request to request.
    pub path: &'static str,
    pub methods: &'static [Method],
    /// What it is for, in a line.
    pub summary: &'static str,
    pub does: Does,
}

/// What a call does.
pub enum Does {
    /// It takes events.
    Take(Taking),
    /// It answers what keeps SDKs working, and takes nothing.
    Say(fn(&SdkRequest<'_>) -> SdkAnswer),
}

/// How a call takes events.
#[derive(Clone, Copy)]
pub struct Taking {
    /// The key, if the request has it in what is there of it: first without its body, then with it.
    pub key: for<'a> fn(&SdkRequest<'a>) -> Option<Cow<'a, str>>,
    /// Makes what is to be parsed of what was sent, if that is something else.
    pub unpack: Option<UnpackRequest>,
    pub format: Format,
    pub answer: fn(&SdkRequest<'_>, Outcome<'_>) -> SdkAnswer,
}

/// A request of an SDK, as far as it is read.
#[derive(Clone, Copy, Debug)]
pub struct SdkRequest<'a> {
    /// Below the protocol's own.
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    /// Of the query, and of a form.
    pub parameters: &'a [(String, String)],
    /// What was sent, unpacked. Absent: it has not been read.
    pub body: Option<&'a [u8]>,
}

/// Takes what was sent out of its package, if it is in one.
pub type UnpackRequest = fn(&SdkRequest<'_>) -> Result<Option<Unpacked>, BodyError>;

/// What was sent in a form, or as base64.
#[derive(Debug)]
pub struct Unpacked {
    pub body: Vec<u8>,
    /// What else the form has.
    pub parameters: Vec<(String, String)>,
}

/// What became of a request that sends events.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'r> {
    /// At least one event is durable, or none was sent that is not valid.
    Taken(&'r Receipt),
    /// Nothing was taken.
    Refused(RefusedRequest<'r>),
}

/// Why nothing of a request was taken.
#[derive(Clone, Copy, Debug)]
pub struct RefusedRequest<'r> {
    /// Of HTTP, as weir's own calls answer.
    pub status: u16,
    /// A stable name.
    pub code: &'r str,
    /// For people.
    pub detail: &'r str,
    /// What became of its events, if they were read.
    pub receipt: Option<&'r Receipt>,
    /// What may still be sent, if that was looked at.
    pub allowance: Option<Allowance>,
}

/// What an SDK is answered.
#[derive(Debug, PartialEq, Eq)]
pub struct SdkAnswer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Cow<'static, str>,
}

impl RefusedRequest<'_> {
    /// What is wrong, with the first event's fault if its events are.
    pub fn message(&self) -> String {
        let rejected = self.receipt.and_then(|receipt| receipt.rejected.first());
        match rejected.map(|rejected| &rejected.rejection) {
            Some(Rejection { field: Some(field), message, .. }) => {
                format!("{}: {field}: {message}", self.detail)
            }
            Some(Rejection { field: None, message, .. }) => format!("{}: {message}", self.detail),
            None => self.detail.to_owned(),
        }
    }
}

impl SdkAnswer {
    pub(super) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { status, content_type: "application/json", body: body.to_string().into() }
    }
}

impl<'a> SdkRequest<'a> {
    /// The first parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The user name of basic authentication. A colon after it may be missing.
    pub fn basic_user(&self) -> Option<Cow<'a, str>> {
        self.basic().map(|(user, _)| user.into())
    }

    /// The password of basic authentication.
    pub fn basic_password(&self) -> Option<Cow<'a, str>> {
        self.basic()?.1.map(Cow::Owned)
    }

    /// User name and password, if that is there.
    fn basic(&self) -> Option<(String, Option<String>)> {
        let decoded = String::from_utf8(BASE64_STANDARD.decode(self.authorization("basic")?).ok()?).ok()?;
        let (user, password) = decoded.split_once(':').unwrap_or((&decoded, ""));
        let password = Some(password).filter(|password| !password.is_empty()).map(str::to_owned);
        (!user.is_empty()).then(|| (user.to_owned(), password))
    }

    pub fn bearer(&self) -> Option<Cow<'a, str>> {
        self.authorization("bearer").map(Cow::Borrowed)
    }

    fn authorization(&self, wanted: &str) -> Option<&'a str> {
        let (scheme, credentials) =
            self.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case(wanted).then(|| credentials.trim())
    }
}
