//! The HTTP/1.1 server of the API: poem's has no bound on connections, and none on how long the head of a request takes.
//!
//! HTTP/2 and TLS are the business of the proxy before it.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::{
    Addr, Endpoint, Response,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{config::Http, metrics};

/// Bytes of a request's head.
const HEAD: usize = 32 << 10;
/// A client that takes nothing of its answer for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// File descriptors besides those of connections: the database's, the servers', the log's.
const OTHER_FILES: u64 = 256;
/// After a connection could not be accepted, which is seldom the last time.
const PAUSE: Duration = Duration::from_millis(100);

const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: application/problem+json\r\nRetry-After: 2\r\nConnection: close\r\nContent-Length: 164\r\n\r\n\
    {\"type\":\"https://weir.dev/problems/overloaded\",\"title\":\"Too much to do\",\"status\":503,\"code\":\"overloaded\",\
    \"detail\":\"Too many connections are open.\",\"request_id\":\"-\"}";

/// Serves until `ending`; requests under way then have the configured grace to end.
pub async fn serve<E>(
    listener: TcpListener,
    endpoint: E,
    http: &Http,
    ending: CancellationToken,
) -> io::Result<()>
where
    E: Endpoint<Output = Response> + 'static,
{
    let most = http.max_connections as usize;
    raise_file_limit(http.max_connections.into());
    let endpoint = Arc::new(endpoint);
    let local = listener.local_addr()?;
    let room = Arc::new(Semaphore::new(most));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ending.cancelled() => break,
        };
        match accepted {
            Ok((socket, remote)) => match room.clone().try_acquire_owned() {
                Ok(place) => {
                    metrics::connections(most - room.available_permits());
                    let connection = Connection { local, remote, idle: http.idle_timeout, _place: place };
                    let serving =
                        connection.serve(socket, endpoint.clone(), ending.clone(), http.shutdown_grace);
                    connections.spawn(serving);
                }
                Err(_) => refuse(&socket),
            },
            // A client that went away at once is its own business; no file descriptors are ours.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}

struct Connection {
    local: SocketAddr,
    remote: SocketAddr,
    idle: Duration,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve<E>(self, socket: TcpStream, endpoint: Arc<E>, ending: CancellationToken, grace: Duration)
    where
        E: Endpoint<Output = Response> + 'static,
    {
        socket.set_nodelay(true).ok(); // without it an answer may wait for the ack of its head
        let mut stream = TimeoutStream::new(socket);
        stream.set_write_timeout(Some(WRITE_TIMEOUT));
        let service = service_fn(|request: Request<Incoming>| {
            let addresses =
                (LocalAddr(Addr::SocketAddr(self.local)), RemoteAddr(Addr::SocketAddr(self.remote)));
            let request = poem::Request::from((request, addresses.0, addresses.1, Scheme::HTTP));
            let endpoint = endpoint.clone();
            async move { Ok::<_, Infallible>(endpoint.get_response(request).await.into()) }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.idle)
                .max_buf_size(HEAD)
                .serve_connection(TokioIo::new(Box::pin(stream)), service)
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = ending.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(grace, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            debug!(%error, "a connection ended early");
        }
    }
}

/// Tells a client that there is no room, as far as that goes without waiting for it.
fn refuse(socket: &TcpStream) {
    metrics::connection_refused();
    socket.try_write(REFUSAL).ok();
}

/// A process may have far fewer files open by default than by its hard limit.
fn raise_file_limit(connections: u64) {
    let wanted = connections + OTHER_FILES;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit < wanted => {
            warn!(limit, wanted, "fewer files may be open than WEIR_MAX_CONNECTIONS needs: see ulimit -n");
        }
        Ok(_) => {}
        Err(error) => warn!(%error, "the limit of open files cannot be raised"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
