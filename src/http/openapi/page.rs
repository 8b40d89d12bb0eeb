//! Texts that are made once: Swagger's page and the document. Compressed, with a tag, so that they are sent once to whoever keeps
//! them.

use std::{io::Write, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use poem::{
    Endpoint, Request, Response,
    endpoint::make_sync,
    get,
    http::{StatusCode, header},
};
use sha2::{Digest, Sha256};

/// A text, as it is and compressed.
struct StaticPage {
    content_type: &'static str,
    text: Bytes,
    compressed: Bytes,
    tag: String,
}

/// Answers with a text.
pub(crate) fn page(content_type: &'static str, text: String) -> impl Endpoint {
    let page = Arc::new(StaticPage::new(content_type, text));
    get(make_sync(move |request| page.answer(&request)))
}

impl StaticPage {
    fn new(content_type: &'static str, text: String) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text.as_bytes()).expect("memory takes all");
        let compressed = encoder.finish().expect("memory takes all").into();
        let tag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(&text)[..16]));
        Self { content_type, text: text.into(), compressed, tag }
    }

    fn answer(&self, request: &Request) -> Response {
        let response = Response::builder()
            .header(header::ETAG, &self.tag)
            .header(header::CACHE_CONTROL, "public, no-cache")
            .header(header::VARY, "Accept-Encoding")
            // No other page may show it in a frame, where its buttons could be pressed for others.
            .header(header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'");
        let named = |name, wanted: &str| {
            let named = request.header(name).unwrap_or_default();
            named.split(',').any(|one: &str| one.split(';').next().unwrap_or_default().trim() == wanted)
        };
        if named(header::IF_NONE_MATCH, &self.tag) || named(header::IF_NONE_MATCH, &format!("W/{}", self.tag))
        {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        let response = response.content_type(self.content_type);
        if named(header::ACCEPT_ENCODING, "gzip") {
            response.header(header::CONTENT_ENCODING, "gzip").body(self.compressed.clone())
        } else {
            response.body(self.text.clone())
        }
    }
}
