//! What HTTP asks of a server: one host, headers that protect persons and pages, hints, and a share for each address.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Weir, json as json_of};

/// The answer to some lines of a request, as text.
async fn raw(weir: &Weir, head: &str) -> String {
    let mut stream = TcpStream::connect(&weir.api.address).await.unwrap();
    stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_request_names_one_host() {
    let weir = Weir::start().await;
    for (head, status) in [
        ("GET /health HTTP/1.1\r\nHost: weir", 200),
        ("GET /health HTTP/1.0", 200),
        ("GET /health HTTP/1.1", 400),
        ("GET /health HTTP/1.1\r\nHost: weir\r\nHost: other", 400),
    ] {
        let answer = raw(&weir, head).await;
        assert!(answer.split(' ').nth(1) == Some(&status.to_string()), "{head}: {answer}");
        assert!(answer.contains("x-request-id: "), "{answer}");
    }
    weir.stop().await;
}

#[tokio::test]
async fn answers_about_persons_are_kept_by_nobody_and_pages_stand_in_no_frame() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let header = async |path: &str, name: &str| {
        let answer = weir.get(&project, path).send().await.unwrap();
        answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(header("/events?user_id=u", "cache-control").await.as_deref(), Some("private, no-store"));
    assert_eq!(header("/events?user_id=u", "x-content-type-options").await.as_deref(), Some("nosniff"));
    assert_eq!(header("/docs", "content-security-policy").await.as_deref(), Some("frame-ancestors 'none'"));
    for path in ["/docs", "/openapi.json", "/openapi.yaml"] {
        let get = || weir.http.get(weir.url(path));
        let plain = get().send().await.unwrap();
        let tag = plain.headers()["etag"].clone();
        let text = plain.bytes().await.unwrap();
        let compressed = get().header("Accept-Encoding", "gzip, br").send().await.unwrap();
        assert_eq!(compressed.headers()["content-encoding"], "gzip", "{path}");
        assert!(compressed.bytes().await.unwrap().len() * 3 < text.len(), "{path}");
        let again = get().header("If-None-Match", tag).send().await.unwrap();
        assert_eq!((again.status().as_u16(), again.bytes().await.unwrap().len()), (304, 0), "{path}");
    }
    let root = weir.http.get(weir.url("/")).send().await.unwrap();
    assert!(root.url().path() == "/docs" && root.status() == 200, "a browser lands on the documentation");
    weir.stop().await;
}

#[tokio::test]
async fn a_slash_too_many_is_reported() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    for path in ["//events", "/events/"] {
        let request = weir.http.post(weir.url(path)).header("X-API-Key", &project.write);
        let (status, problem) =
            json_of(request.json(&json!({"event_type": "e"})).send().await.unwrap()).await;
        assert_eq!(status, 404);
        assert!(problem["detail"].as_str().unwrap().ends_with("Did you mean /events?"), "{problem}");
    }
    weir.stop().await;
}

#[tokio::test]
async fn one_address_has_a_share_of_the_connections() {
    let weir = Weir::start_with(&[("WEIR_ADDRESS_CONNECTIONS", "3")]).await;
    let mut open = Vec::new();
    let mut refused = None;
    // The test's own client may have one open.
    for _ in 0..5 {
        let mut stream = TcpStream::connect(&weir.api.address).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: weir\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 1024];
        let read = stream.read(&mut answer).await.unwrap_or(0);
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        if answer.contains("503") {
            refused = Some(answer);
            break;
        }
        open.push(stream);
    }
    assert!(refused.is_some_and(|answer| answer.contains("Too many connections from this address")));
    assert!((2..=3).contains(&open.len()), "{}", open.len());
    weir.stop().await;
}
