//! The calls of other vendors' SDKs: each as its protocol in [`wire::sdks`] has it, in front of the same way in.

use std::sync::Arc;

use poem::{
    Endpoint, IntoResponse, Request, Response, Route,
    http::{Method, StatusCode},
};

use super::events::some_valid;
use crate::http::{
    extract::{
        auth::Authenticator,
        body::{is_from_bot, read_of_sdk},
        receiver::Receiver,
    },
    respond::problem::{Code, Problem, RATE_LIMIT, RATE_LIMIT_POLICY},
};
use crate::{
    ingest::{
        self,
        receipt::Receipt,
        wire::{
            Asked,
            sdks::{
                Does, Outcome, PROTOCOLS, Protocol, RefusedRequest, SdkAnswer, SdkCall, SdkRequest, Taking,
                Unpacked,
            },
        },
    },
    limits::admission::{LARGE, NOBODY},
    model::request_id::RequestId,
    work,
};

/// Where the calls of all protocols stand.
pub const PREFIX: &str = "/in/";

/// Bytes of a part of a path, such as a key.
pub const LONGEST_PART: usize = 200;

/// The calls of all protocols.
pub fn routes(receiver: &Receiver) -> Route {
    let mut route = Route::new();
    for protocol in PROTOCOLS {
        for call in protocol.calls {
            let path = path(protocol, call).replace('{', ":").replace('}', "");
            route = route.at(path, SdkEndpoint { protocol, call, receiver: receiver.clone() });
        }
    }
    route
}

/// A call's path as the document has it.
pub fn path(protocol: &Protocol, call: &SdkCall) -> String {
    format!("{PREFIX}{}{}", protocol.name, call.path)
}

/// Where a request of an SDK is served, if that is not where it was sent: some stand at the root, too, and a slash at the
/// end means nothing.
pub fn served_at(path: &str) -> Option<String> {
    let below =
        |begin: &&str| path.strip_prefix(*begin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let at_root = |protocol: &&Protocol| protocol.at_root.iter().any(below);
    let prefixed = match PROTOCOLS.iter().find(at_root) {
        Some(protocol) => format!("{PREFIX}{}{path}", protocol.name),
        None if path.starts_with(PREFIX) && path.ends_with('/') => path.to_owned(),
        None => return None,
    };
    Some(prefixed.trim_end_matches('/').to_owned())
}

struct SdkEndpoint {
    protocol: &'static Protocol,
    call: &'static SdkCall,
    receiver: Receiver,
}

impl Endpoint for SdkEndpoint {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let is_head_of_get = request.method() == Method::HEAD && matches!(self.call.does, Does::Say(_));
        let method = if is_head_of_get { &Method::GET } else { request.method() };
        if !self.call.methods.contains(method) {
            return Err(Problem::new(Code::MethodNotAllowed, "").into());
        }
        if request.uri().path().split('/').any(|part| part.len() > LONGEST_PART) {
            return Err(Problem::new(Code::NotFound, "The path is too long.").into());
        }
        let body = request.take_body();
        let query = request.uri().query().unwrap_or_default();
        let mut parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        match &self.call.does {
            Does::Say(answer) => Ok(respond(answer(&self.read(&request, &parameters, None)))),
            Does::Take(taking) => {
                let received = Box::pin(self.receive(taking, &request, &mut parameters, body)).await;
                let answer =
                    |outcome: Outcome<'_>| (taking.answer)(&self.read(&request, &parameters, None), outcome);
                Ok(answered(received, answer)?)
            }
        }
    }
}

impl SdkEndpoint {
    fn read<'r>(
        &self,
        request: &'r Request,
        parameters: &'r [(String, String)],
        body: Option<&'r [u8]>,
    ) -> SdkRequest<'r> {
        let path = request.uri().path().strip_prefix(PREFIX);
        let path = path.and_then(|path| path.strip_prefix(self.protocol.name)).unwrap_or_default();
        SdkRequest { path, headers: request.headers(), parameters, body }
    }

    /// Takes events; to the parameters, those of a form are added.
    async fn receive(
        &self,
        taking: &Taking,
        request: &Request,
        parameters: &mut Vec<(String, String)>,
        body: poem::Body,
    ) -> Result<Receipt, Problem> {
        let Receiver { admission, limits, .. } = &self.receiver;
        let authenticator: &Arc<Authenticator> =
            request.data().expect("the application has an authenticator");
        authenticator.admit(request)?;
        let early = match (taking.key)(&self.read(request, parameters, None)) {
            Some(key) => Some(authenticator.authenticate_sdk(request, &key).await?),
            None => None,
        };
        let room = match &early {
            Some(project) => (admission.memory(project.id), project.id),
            None => (admission.memory_of_stranger(authenticator.address(request)), NOBODY),
        };
        let (mut bytes, _memory) = read_of_sdk(request, body, *limits, admission, room).await?;
        let is_large = bytes.len() >= LARGE;
        if let Some(unpack) = taking.unpack {
            let packed = self.read(request, parameters, Some(&bytes));
            if let Some(Unpacked { body, parameters: of_form }) = work::long_if(is_large, || unpack(&packed))?
            {
                parameters.extend(of_form);
                bytes = body.into();
            }
        }
        let project = if let Some(project) = early {
            project
        } else {
            let unpacked = self.read(request, parameters, Some(&bytes));
            let key = work::long_if(is_large, || (taking.key)(&unpacked));
            let missing = || {
                let detail = "The request has no key of a project, or several that are not the same.";
                Problem::new(Code::Unauthorized, detail)
            };
            authenticator.authenticate_sdk(request, &key.ok_or_else(missing)?).await?
        };
        let request_id: &RequestId = request.data().expect("every request has an id");
        let asked = ingest::Request {
            project: &project,
            request_id: request_id.as_str(),
            idempotency_key: None,
            format: &taking.format,
            is_from_bot: is_from_bot(request),
            call: Asked { path: self.call.path, headers: Some(request.headers()), parameters },
        };
        self.receiver.charged(&project, self.receiver.take(&asked, bytes).await).await
    }
}

/// What became of a request, in its vendor's words.
fn answered(
    received: Result<Receipt, Problem>,
    answer: impl Fn(Outcome<'_>) -> SdkAnswer,
) -> Result<Response, Problem> {
    let refused = |mut problem: Problem, receipt: Option<&Receipt>| {
        let (status, code, detail) = (problem.status().as_u16(), problem.code.name(), &*problem.detail);
        let refused = RefusedRequest { status, code, detail, receipt, allowance: problem.allowance };
        problem.answer = Some(Box::new(answer(Outcome::Refused(refused))));
        problem
    };
    let receipt = received.map_err(|problem| refused(problem, None))?;
    some_valid(&receipt).map_err(|problem| refused(problem, Some(&receipt)))?;
    let response = respond(answer(Outcome::Taken(&receipt)));
    let response = response.with_header(RATE_LIMIT_POLICY, receipt.allowance.policy());
    Ok(response.with_header(RATE_LIMIT, receipt.allowance.limit()).into_response())
}

fn respond(SdkAnswer { status, content_type, body }: SdkAnswer) -> Response {
    let status = StatusCode::from_u16(status).expect("protocols answer with statuses of HTTP");
    Response::builder().status(status).content_type(content_type).body(body.into_owned())
}

#[cfg(test)]
mod tests {
    use super::served_at;

    #[test]
    fn some_calls_stand_at_the_root_too_and_a_slash_at_the_end_means_nothing() {
        for (path, served) in [
            ("/v1/batch", Some("/in/segment/v1/batch")),
            ("/v1/batch/", Some("/in/segment/v1/batch")),
            ("/v1events", None),
            ("/in/segment/v1/t/", Some("/in/segment/v1/t")),
            ("/in/segment/v1/t", None),
            ("/e/", Some("/in/posthog/e")),
            ("/array/weir_wk_x/config", Some("/in/posthog/array/weir_wk_x/config")),
            ("/event", None),
            ("/batch", None),
            ("/events", None),
            ("/events/", None),
        ] {
            assert_eq!(served_at(path).as_deref(), served, "{path}");
        }
    }
}
