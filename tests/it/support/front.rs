//! A server before weir that can do to answers what networks and busy servers do.

use std::sync::{Arc, Mutex};

use poem::{
    Endpoint, EndpointExt, IntoResponse, Request, Response, Server,
    endpoint::make,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    listener::TcpAcceptor,
};
use serde_json::Value;
use tokio::net::TcpListener;

use super::Weir;

/// What becomes of requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// All pass.
    Plain,
    /// The first batch reaches weir and its answer is lost, all others pass.
    Losing,
    /// As before, and the second is refused.
    Troubled,
}

/// A `POST` that came, and the status with which it was answered.
#[derive(Clone, Debug)]
pub struct Post {
    pub target: String,
    pub content_type: String,
    /// A text, or what is left of one.
    pub body: String,
    pub status: u16,
}

impl Post {
    pub fn events(&self) -> Vec<Value> {
        let mut batch: Value = serde_json::from_str(&self.body).expect("JSON");
        let Value::Array(events) = batch["events"].take() else { panic!("a batch: {}", self.body) };
        events
    }
}

pub struct Front {
    address: String,
    /// Of weir.
    leads_to: Arc<Mutex<String>>,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Front {
    pub async fn start(weir: &Weir, manner: Manner) -> Self {
        let posts = Arc::<Mutex<Vec<Post>>>::default();
        let leads_to = Arc::new(Mutex::new(weir.url("")));
        let (kept, http, weir) = (posts.clone(), weir.http.clone(), leads_to.clone());
        let pass = make(move |request| {
            let (kept, http, weir) = (kept.clone(), http.clone(), weir.lock().unwrap().clone());
            async move { pass(request, manner, &kept, &http, &weir).await }
        });
        Self { address: serve(pass).await, leads_to, posts }
    }

    /// From now on to this weir, which was started anew.
    pub fn lead_to(&self, weir: &Weir) {
        *self.leads_to.lock().unwrap() = weir.url("");
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }
}

/// Serves on a port of its own until the test ends; its address.
pub async fn serve(endpoint: impl Endpoint + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener).unwrap());
    tokio::spawn(server.run(endpoint.map_to_response()));
    address
}

async fn pass(
    mut request: Request,
    manner: Manner,
    posts: &Mutex<Vec<Post>>,
    http: &reqwest::Client,
    weir: &str,
) -> poem::Result<Response> {
    let (method, target) = (request.method().clone(), request.original_uri().to_string());
    let mut headers = request.headers().clone();
    let body = request.take_body().into_bytes().await?;
    if method != Method::POST {
        return Ok(forward(http, method, &format!("{weir}{target}"), headers, body).await);
    }
    let turn = posts.lock().unwrap().len();
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
    let text = String::from_utf8_lossy(&body).into_owned();
    headers.remove(header::EXPECT);
    let mut response = if manner == Manner::Troubled && turn == 1 {
        let refusal =
            Response::builder().status(StatusCode::TOO_MANY_REQUESTS).header(header::RETRY_AFTER, 1);
        let page = headers.get(header::ORIGIN).cloned().unwrap_or(HeaderValue::from_static("*"));
        let refusal = refusal.header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        refusal.header(header::ACCESS_CONTROL_ALLOW_ORIGIN, page).finish()
    } else {
        forward(http, method, &format!("{weir}{target}"), headers, body).await
    };
    if manner != Manner::Plain && turn == 0 {
        assert!(response.status().is_success(), "weir has taken the events");
        response.set_status(StatusCode::SERVICE_UNAVAILABLE);
        response.headers_mut().insert(header::RETRY_AFTER, 0.into());
        response.set_body("the answer is lost");
    }
    posts.lock().unwrap().push(Post {
        target,
        content_type: content_type.unwrap_or_default(),
        body: text,
        status: response.status().as_u16(),
    });
    Ok(response)
}

async fn forward(
    http: &reqwest::Client,
    method: Method,
    url: &str,
    mut headers: HeaderMap,
    body: bytes::Bytes,
) -> Response {
    // These are of a connection, and there are two.
    let of_a_connection =
        [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    for name in &of_a_connection {
        headers.remove(name);
    }
    let Ok(answer) = http.request(method, url).headers(headers).body(body).send().await else {
        return Response::builder().status(StatusCode::BAD_GATEWAY).finish();
    };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    for name in &of_a_connection {
        headers.remove(name);
    }
    let mut response = answer.bytes().await.unwrap().into_response();
    response.set_status(status);
    *response.headers_mut() = headers;
    response
}
