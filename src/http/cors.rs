//! What browsers ask before they let a page send (CORS).
//!
//! A preflight carries no key, so nobody can know whose it is: it is always answered yes, with a constant and without
//! asking anybody. Whether a page may use a project's keys is decided by the request itself, which is refused if not
//! (`auth`). Answers may be read by any page: who has the key has the right to, and browsers add no credentials. Some SDKs
//! ask for credentials, which weir does not read; to them browsers show an answer only if it names their page.

use poem::{
    Request, Response,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
};

const ANY: HeaderValue = HeaderValue::from_static("*");

/// The answer to a request with the method OPTIONS, if this is one; `methods` are those of its path.
pub fn preflight(request: &Request, methods: &str, is_sdk: bool) -> Option<Response> {
    if request.method() != Method::OPTIONS {
        return None;
    }
    let response = Response::builder().status(StatusCode::NO_CONTENT).header(header::ALLOW, methods);
    if !request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return Some(response.finish());
    }
    let asked = |name| request.headers().get(name).cloned();
    let response = match asked(header::ORIGIN).filter(|_| is_sdk) {
        Some(page) => response
            .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, page)
            .header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")
            .header(header::VARY, "Origin, Access-Control-Request-Headers")
            .header(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                asked(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or(ANY),
            ),
        None => response
            .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")
            // The star does not stand for Authorization, and not at all for older browsers.
            .header(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "*, Authorization, Content-Type, Content-Encoding, Idempotency-Key, X-API-Key, X-Request-Id",
            ),
    };
    let response = response
        .header(header::ACCESS_CONTROL_ALLOW_METHODS, methods)
        // In seconds; browsers shorten it to what they like.
        .header(header::ACCESS_CONTROL_MAX_AGE, "86400");
    Some(response.finish())
}

/// Lets a page read an answer.
pub fn expose(headers: &mut HeaderMap, page: HeaderValue, is_sdk: bool) {
    if is_sdk {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    } else {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    }
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, ETag, X-Total-Count, X-Next-Cursor, X-Warning",
        ),
    );
}
