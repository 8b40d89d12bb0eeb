//! The HTTP/1.1 server of the API: poem's has no bound on connections, and none on how long the head of a request takes.
//!
//! HTTP/2 and TLS are the business of the proxy before it.

use std::{convert::Infallible, future::poll_fn, io, net::SocketAddr, sync::Arc, time::Duration};

use futures::FutureExt;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::{
    Addr, Endpoint, Response,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{
    config::{ClientAddress, Http},
    limits::connections::{ConnectionPermit, Connections, NotAdmitted},
    telemetry::metrics,
};

/// Bytes of a request's head.
const HEAD: usize = 32 << 10;
/// Bytes that the kernel holds of answers to a client that does not read; it grows to megabytes by itself.
const SEND_BUFFER: usize = 128 << 10;
/// A client that takes nothing of its answer for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// File descriptors besides those of connections: the database's, the servers', the log's.
const OTHER_FILES: u64 = 256;
/// After a connection could not be accepted, which is seldom the last time.
const PAUSE: Duration = Duration::from_millis(100);

/// An answer may come before the whole body: whoever is still sending would meet a connection that is reset, and not see
/// the answer. So what they send is read and dropped, for so long and so many bytes, before the connection is let go.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 64 << 20;

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
    raise_file_limit(http.max_connections.into());
    // Sockets have it from the one that listens.
    SockRef::from(&listener).set_send_buffer_size(SEND_BUFFER)?;
    let endpoint = Arc::new(endpoint);
    let local = listener.local_addr()?;
    let share = matches!(http.client_address, ClientAddress::Connection).then_some(http.address_connections);
    let permits = Connections::new(http.max_connections, share);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ending.cancelled() => break,
        };
        match accepted {
            Ok((socket, remote)) => match permits.try_acquire(remote.ip()) {
                Ok(permit) => {
                    let connection = Connection { local, remote, idle: http.idle_timeout, _permit: permit };
                    let serving =
                        connection.serve(socket, endpoint.clone(), ending.clone(), http.shutdown_grace);
                    connections.spawn(serving);
                }
                Err(not_admitted) => refuse(&socket, not_admitted),
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
    _permit: ConnectionPermit,
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
            let (local, remote) = (Addr::SocketAddr(self.local), Addr::SocketAddr(self.remote));
            let request = poem::Request::from((request, LocalAddr(local), RemoteAddr(remote), Scheme::HTTP));
            let endpoint = endpoint.clone();
            async move { Ok::<_, Infallible>(endpoint.get_response(request).await.into()) }.boxed()
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.idle)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let ended = tokio::select! {
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
            () = ending.cancelled() => {
                Pin::new(&mut connection).graceful_shutdown();
                let rest = poll_fn(|context| connection.poll_without_shutdown(context));
                tokio::time::timeout(grace, rest).await.unwrap_or(Ok(()))
            }
        };
        match ended {
            Ok(()) if ending.is_cancelled() => {} // nobody waits for slow clients then
            Ok(()) => linger(connection.into_parts().io.into_inner()).await,
            Err(error) => debug!(%error, "a connection ended early"),
        }
    }
}

/// Ends the sending side, and drops what still comes.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let drop_all = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES as u64), &mut tokio::io::sink()).await
    };
    // Whatever happens to it now, it is over.
    tokio::time::timeout(LINGER, drop_all).await.ok();
}

/// Tells a client that there are too many connections, as far as that goes without waiting for it.
fn refuse(socket: &TcpStream, not_admitted: NotAdmitted) {
    metrics::connection_refused();
    let detail = match not_admitted {
        NotAdmitted::Full => "Too many connections are open.",
        NotAdmitted::OfAddress => "Too many connections from this address are open.",
    };
    socket.try_write(refusal(&uuid::Uuid::now_v7().to_string(), detail).as_bytes()).ok();
}

/// The whole answer, as it goes over the wire: nobody has read a request yet.
fn refusal(request_id: &str, detail: &str) -> String {
    let body = serde_json::json!({
        "type": "https://weir.dev/problems/overloaded",
        "title": "weir is busy",
        "status": 503,
        "code": "overloaded",
        "detail": detail,
        "request_id": request_id,
    })
    .to_string();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 2\r\n\
         Connection: close\r\nAccess-Control-Allow-Origin: *\r\nX-Request-Id: {request_id}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
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
