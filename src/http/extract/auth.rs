//! Who asks: the key of a request, and the project behind it.

use std::{
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use poem::{
    Addr, Request, RequestBody,
    http::{HeaderName, HeaderValue, header},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};
use tracing::{Span, record_all, warn};

use crate::{
    config::{self, ClientAddress},
    limits::rate::{Rate, local::Addresses},
    model::{
        key::{Key, KeyKind},
        origin::Origins,
        project::Project,
    },
    telemetry::metrics,
};
use crate::{
    http::respond::{
        problem::{Code, Problem},
        warnings,
    },
    projects::key_cache::{Keys, Principal},
};

/// The parameter of a query that holds a key.
const KEY_PARAMETER: &str = "key";

/// Finds the project of a request by its key, and refuses requests whose key may not do what they ask for.
pub struct Authenticator {
    keys: Keys,
    addresses: Addresses,
    client_address: ClientAddress,
    /// Of web pages, for projects that have none of their own.
    allowed_origins: Origins,
    /// When the log last had that the proxy does not say who its clients are.
    warned_at: Mutex<Option<Instant>>,
}

impl Authenticator {
    pub fn new(keys: Keys, rates: &config::Rates, http: &config::Http) -> Self {
        Self {
            keys,
            addresses: Addresses::new(Rate::of_addresses(rates)),
            client_address: http.client_address.clone(),
            allowed_origins: http.allowed_origins.clone(),
            warned_at: Mutex::default(),
        }
    }

    async fn authenticate<N: Needs>(&self, request: &Request) -> Result<Arc<Project>, Problem> {
        self.admit(request)?;
        let (key, in_query) = presented::<N>(request).ok_or_else(|| {
            let detail =
                "Send a key of your project in the header X-API-Key, or as `Authorization: Bearer KEY`.";
            Problem::new(Code::Unauthorized, detail)
        })?;
        let (project, kind) = self.project_of(&key).await?;
        if !kind.allows(N::KIND) {
            let needed = if N::KIND == KeyKind::Admin { "" } else { " or admin" };
            let detail = format!(
                "This call needs a key of kind {}{needed}. Yours is of kind {}.",
                N::KIND.name(),
                kind.name()
            );
            return Err(Problem::new(Code::Forbidden, detail));
        }
        if in_query && kind != KeyKind::Write {
            let detail = format!(
                "Only a key of kind write may be in the address, because logs keep addresses. Send this key, of kind {}, in the header X-API-Key.",
                kind.name()
            );
            return Err(Problem::new(Code::Forbidden, detail));
        }
        self.check_origin(request, &project)?;
        Ok(project)
    }

    /// Takes the token of a request, whoever sends it.
    pub fn admit(&self, request: &Request) -> Result<(), Problem> {
        let taken = self.addresses.take(self.address(request));
        taken.inspect_err(|_| metrics::rate_limit_exceeded("address"))?;
        Ok(())
    }

    /// The project of a key that an SDK sends, wherever its request has it.
    pub async fn authenticate_sdk(&self, request: &Request, key: &str) -> Result<Arc<Project>, Problem> {
        let (project, kind) = self.project_of(&Key::from_text(key.trim())).await?;
        if kind != KeyKind::Write {
            let detail = format!(
                "SDKs need a key of kind write, because others may see it. Yours is of kind {}.",
                kind.name()
            );
            return Err(Problem::new(Code::Forbidden, detail));
        }
        self.check_origin(request, &project)?;
        Ok(project)
    }

    async fn project_of(&self, key: &Key) -> Result<(Arc<Project>, KeyKind), Problem> {
        let found = self.keys.principal(key).await.map_err(Problem::key_not_looked_up)?;
        let Principal { project, key_id, kind } =
            found.ok_or_else(|| Problem::new(Code::Unauthorized, "The key is unknown or revoked."))?;
        // At once: each time, the JSON of all fields is made anew.
        record_all!(Span::current(), project_id = project.id.get(), key_id);
        Ok((project, kind))
    }

    /// Whether the page that sends, if it is one, may use the project's keys. Programs send no origin; and weir's own
    /// page has weir's.
    fn check_origin(&self, request: &Request, project: &Project) -> Result<(), Problem> {
        let Some(origin) = request.header(header::ORIGIN) else { return Ok(()) };
        let allowed = project.overrides.allowed_origins.as_ref().unwrap_or(&self.allowed_origins);
        let own = request.header(header::HOST).is_some_and(|host| {
            origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
        });
        if own || allowed.allow(origin) {
            return Ok(());
        }
        let detail = format!(
            "Web pages of {origin} may not use this project's keys. `weir project set NAME --origins` allows them."
        );
        Err(Problem::new(Code::OriginNotAllowed, detail))
    }

    /// Warns that clients share one bucket, which their operator does not want.
    fn warn_of_header(&self, name: &HeaderName, value: Option<&HeaderValue>) {
        let mut warned_at = self.warned_at.lock().unwrap_or_else(PoisonError::into_inner);
        if warned_at.is_none_or(|warned_at| warned_at.elapsed() >= WARNING) {
            *warned_at = Some(Instant::now());
            warn!(
                header = name.as_str(),
                ?value,
                "the header of WEIR_CLIENT_ADDRESS names no address: clients share the rate of the proxy's"
            );
        }
    }

    /// The address that a request comes from; the connection's, if the proxy says none.
    pub fn address(&self, request: &Request) -> IpAddr {
        let client = match &self.client_address {
            ClientAddress::Connection => None,
            ClientAddress::Header(name) => {
                // A client may have sent the header too: what the proxy adds, to its line or in another, stands last.
                let last = request.headers().get_all(name).iter().next_back();
                let client = last.and_then(|line| address_in(line.to_str().ok()?.rsplit(',').next()?.trim()));
                if client.is_none() {
                    self.warn_of_header(name, last);
                }
                client
            }
        };
        client.unwrap_or(match &request.remote_addr().0 {
            Addr::SocketAddr(address) => address.ip(),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        })
    }
}

/// Once in this time the log has that a proxy does not say who its clients are.
const WARNING: Duration = Duration::from_mins(1);

/// What an operation needs of a key.
pub trait Needs {
    const KIND: KeyKind;
    /// Whether the key may stand in the address, for senders that can set no header: `navigator.sendBeacon`.
    const IN_QUERY: bool = false;
}

/// For operations that send.
pub struct Write;

impl Needs for Write {
    const KIND: KeyKind = KeyKind::Write;
    const IN_QUERY: bool = true;
}

/// For operations that ask.
pub struct Read;

impl Needs for Read {
    const KIND: KeyKind = KeyKind::Read;
}

/// For operations that manage.
pub struct Admin;

impl Needs for Admin {
    const KIND: KeyKind = KeyKind::Admin;
}

/// The caller of an operation: the project of a key that may do what the operation needs. There is no other way for a
/// handler to come by a project.
pub struct Caller<N> {
    pub project: Arc<Project>,
    needs: PhantomData<fn() -> N>,
}

/// The last is for keys in the address.
const SCHEMES: [(&str, MetaSecurityScheme); 4] = [
    (
        "key",
        MetaSecurityScheme {
            ty: "apiKey",
            description: Some("The header `X-API-Key` with a key of the project."),
            name: Some("X-API-Key"),
            key_in: Some("header"),
            ..SCHEME
        },
    ),
    (
        "bearer",
        MetaSecurityScheme {
            ty: "http",
            scheme: Some("bearer"),
            description: Some("`Authorization: Bearer KEY`."),
            ..SCHEME
        },
    ),
    (
        "basic",
        MetaSecurityScheme {
            ty: "http",
            scheme: Some("basic"),
            description: Some("The key as the user name, without a password."),
            ..SCHEME
        },
    ),
    (
        "query",
        MetaSecurityScheme {
            ty: "apiKey",
            description: Some(
                "The parameter `key`, with a key of kind write: for `navigator.sendBeacon`, which cannot set a header.",
            ),
            name: Some(KEY_PARAMETER),
            key_in: Some("query"),
            ..SCHEME
        },
    ),
];

const SCHEME: MetaSecurityScheme = MetaSecurityScheme {
    ty: "",
    description: None,
    name: None,
    key_in: None,
    scheme: None,
    bearer_format: None,
    flows: None,
    openid_connect_url: None,
};

impl<'a, N: Needs> ApiExtractor<'a> for Caller<N> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        for (name, scheme) in SCHEMES {
            registry.create_security_scheme(name, scheme);
        }
    }

    fn security_schemes() -> Vec<&'static str> {
        let schemes = if N::IN_QUERY { &SCHEMES[..] } else { &SCHEMES[..SCHEMES.len() - 1] };
        schemes.iter().map(|(name, _)| *name).collect()
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let authenticator: &Arc<Authenticator> =
            request.data().expect("the application has an authenticator");
        let project = authenticator.authenticate::<N>(request).await?;
        warnings::note_project(project.id);
        Ok(Self { project, needs: PhantomData })
    }
}

/// The key that a request presents: `X-API-Key`, a bearer token, the user name of basic authentication, or the query's;
/// and whether it is the query's.
fn presented<N: Needs>(request: &Request) -> Option<(Key, bool)> {
    if let Some(key) = request.header("X-API-Key") {
        return Some((Key::from_text(key.trim()), false));
    }
    let Some(authorization) = request.header(header::AUTHORIZATION) else {
        let query = request.uri().query().filter(|_| N::IN_QUERY)?;
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        return pairs.find(|(name, _)| name == KEY_PARAMETER).map(|(_, key)| (Key::from_text(&key), true));
    };
    let (scheme, credentials) = authorization.split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((Key::from_text(credentials), false));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(BASE64_STANDARD.decode(credentials).ok()?).ok()?;
        return Some((Key::from_text(decoded.split(':').next()?), false));
    }
    None
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address_in(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::address_in;

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        for (text, address) in [
            ("198.51.100.77", Some("198.51.100.77")),
            ("198.51.100.77:51234", Some("198.51.100.77")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("unknown", None),
            ("", None),
        ] {
            assert_eq!(address_in(text), address.map(|address| address.parse().unwrap()), "{text}");
        }
    }
}
