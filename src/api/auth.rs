//! Who asks: the key of a request, and the project behind it.

use std::{
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use moka::future::Cache;
use poem::{Request, RequestBody, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};
use sqlx::PgPool;
use tracing::warn;

use super::problem::{Code, Problem};
use crate::{
    key::{Key, KeyHash, KeyKind},
    project::Project,
    store::{self, StoreError},
    telemetry,
};

/// A change of a key takes effect within this time.
const FRESH: Duration = Duration::from_secs(5);
/// How long a request waits for the database to say whose its key is.
const PATIENCE: Duration = Duration::from_secs(1);
/// Keys remembered, unknown ones among them.
const REMEMBERED: u64 = 100_000;

/// Looks keys up, and remembers them.
#[derive(Clone)]
pub struct Keys {
    pool: PgPool,
    known: Cache<KeyHash, Known>,
}

#[derive(Clone)]
struct Known {
    /// Absent: there is no such key.
    holder: Option<(Arc<Project>, KeyKind)>,
    looked_up: Instant,
}

impl Keys {
    pub fn new(pool: PgPool) -> Self {
        Self { pool, known: Cache::new(REMEMBERED) }
    }

    /// The project and kind of a key. While the database is away, what was known of the key holds on.
    async fn holder(&self, key: &Key) -> Result<Option<(Arc<Project>, KeyKind)>, StoreError> {
        let hash = key.hash();
        let known = self.known.get(&hash).await;
        if let Some(known) = known.as_ref().filter(|known| known.looked_up.elapsed() < FRESH) {
            return Ok(known.holder.clone());
        }
        let lookup = tokio::time::timeout(PATIENCE, store::keys::lookup(&self.pool, &hash)).await;
        let holder = match (lookup.unwrap_or(Err(StoreError::TimedOut)), known) {
            (Ok(found), _) => found.map(|(project, kind)| (Arc::new(project), kind)),
            (Err(error), Some(known)) => {
                warn!(
                    error = telemetry::chain(&error),
                    "a key cannot be looked up; what was known of it holds on"
                );
                known.holder
            }
            (Err(error), None) => return Err(error),
        };
        self.known.insert(hash, Known { holder: holder.clone(), looked_up: Instant::now() }).await;
        Ok(holder)
    }
}

/// What an operation needs of a key.
pub trait Needs {
    const KIND: KeyKind;
}

/// For operations that send.
pub struct Write;

impl Needs for Write {
    const KIND: KeyKind = KeyKind::Write;
}

/// For operations that ask.
pub struct Read;

impl Needs for Read {
    const KIND: KeyKind = KeyKind::Read;
}

/// The caller of an operation: the project of a key that may do what the operation needs. There is no other way for a
/// handler to come by a project.
pub struct Caller<N> {
    pub project: Arc<Project>,
    needs: PhantomData<fn() -> N>,
}

const SCHEMES: [(&str, MetaSecurityScheme); 3] = [
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
            description: Some("The key as user name, no password."),
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
        SCHEMES.iter().map(|(name, _)| *name).collect()
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let keys: &Keys = request.data().expect("the application has keys");
        Ok(Self::identify(request, keys).await?)
    }
}

impl<N: Needs> Caller<N> {
    async fn identify(request: &Request, keys: &Keys) -> Result<Self, Problem> {
        let unauthorized = |detail| Problem::new(Code::Unauthorized, detail);
        let key = presented(request).ok_or_else(|| {
            unauthorized("Send a key of the project as `X-API-Key: KEY` or `Authorization: Bearer KEY`.")
        })?;
        let (project, kind) = keys
            .holder(&key)
            .await
            .map_err(cannot_be_looked_up)?
            .ok_or_else(|| unauthorized("The key is unknown or revoked."))?;
        if kind.allows(N::KIND) {
            Ok(Self { project, needs: PhantomData })
        } else {
            let detail =
                format!("This needs a key of kind {} or admin, not {}.", N::KIND.name(), kind.name());
            Err(Problem::new(Code::Forbidden, detail))
        }
    }
}

fn cannot_be_looked_up(error: StoreError) -> Problem {
    let mut problem = Problem::from(error);
    problem.detail = "The key cannot be looked up now.".into();
    problem
}

/// The key that a request presents: `X-API-Key`, a bearer token, or the user name of basic authentication.
fn presented(request: &Request) -> Option<Key> {
    if let Some(key) = request.header("X-API-Key") {
        return Some(Key::from_text(key.trim()));
    }
    let (scheme, credentials) = request.header(header::AUTHORIZATION)?.split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Key::from_text(credentials));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(BASE64_STANDARD.decode(credentials).ok()?).ok()?;
        return Some(Key::from_text(decoded.split(':').next()?));
    }
    None
}
