//! One kept connection, with one request at a time.

use std::{io, net::SocketAddr};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(super) struct ClientConnection {
    stream: TcpStream,
    /// What was read of the answer.
    read: Vec<u8>,
}

/// What a server says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerAnswer {
    pub status: u16,
    pub accepted: u64,
    pub duplicates: u64,
}

impl ServerAnswer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The answer to a batch, or to an event that was sent by itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum AnswerBody {
    Batch { accepted: u64, duplicates: u64 },
    Single { status: Status },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Accepted,
    Duplicate,
}

impl ClientConnection {
    pub async fn open(target: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(4 << 10) })
    }

    /// Sends a request, and waits for the whole answer.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<ServerAnswer> {
        self.stream.write_all(request).await?;
        self.read.clear();
        loop {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(answer) = parse(&self.read)? {
                return Ok(answer);
            }
        }
    }
}

/// Nothing, if more is to come.
fn parse(bytes: &[u8]) -> io::Result<Option<ServerAnswer>> {
    let invalid = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(body_at) = head.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let length = length.ok_or_else(|| invalid("an answer without Content-Length"))?;
    let Some(body) = bytes.get(body_at..body_at + length) else { return Ok(None) };
    let status = head.code.ok_or_else(|| invalid("an answer without status"))?;
    if !(200..300).contains(&status) {
        return Ok(Some(ServerAnswer { status, accepted: 0, duplicates: 0 }));
    }
    let (accepted, duplicates) = match serde_json::from_slice(body)? {
        AnswerBody::Batch { accepted, duplicates } => (accepted, duplicates),
        AnswerBody::Single { status: Status::Accepted } => (1, 0),
        AnswerBody::Single { status: Status::Duplicate } => (0, 1),
    };
    Ok(Some(ServerAnswer { status, accepted, duplicates }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_when_its_whole_body_is_there() {
        let body = r#"{"accepted":97,"duplicates":2,"rejected":[],"request_id":"r"}"#;
        let bytes = format!("HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes.as_bytes()[..end]).unwrap(), None);
        }
        let answer = ServerAnswer { status: 202, accepted: 97, duplicates: 2 };
        assert_eq!(parse(bytes.as_bytes()).unwrap(), Some(answer));
    }

    #[test]
    fn an_event_by_itself_counts_as_one_and_a_refusal_as_none() {
        let of = |head: &str, body: &str| {
            let bytes = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let answer = parse(bytes.as_bytes()).unwrap().unwrap();
            (answer.status, answer.accepted, answer.duplicates)
        };
        assert_eq!(of("202 Accepted", r#"{"status":"accepted","event_id":"e"}"#), (202, 1, 0));
        assert_eq!(of("200 OK", r#"{"status":"duplicate","event_id":"e"}"#), (200, 0, 1));
        assert_eq!(of("503 Service Unavailable", r#"{"status":503}"#), (503, 0, 0));
    }
}
