//! A way to a server that a test can disturb.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A way to a server that can be made silent: what is sent arrives nowhere, and nothing comes back.
pub struct Way {
    pub address: String,
    pub gate: Arc<Gate>,
}

#[derive(Default)]
pub struct Gate {
    pub silent: AtomicBool,
    /// Pieces that were sent while it was silent.
    pub swallowed: AtomicUsize,
    /// The next question that holds this is lost, and with it the connection.
    pub cut: Mutex<Option<&'static str>>,
}

impl Gate {
    fn cuts(&self, piece: &[u8]) -> bool {
        let mut cut = self.cut.lock().unwrap();
        let holds = cut.is_some_and(|word| String::from_utf8_lossy(piece).contains(word));
        if holds {
            *cut = None;
        }
        holds
    }
}

impl Way {
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let gate = Arc::<Gate>::default();
        let way = Self { address, gate: gate.clone() };
        let server = server.to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(forward(from_client, to_server, gate.clone(), true));
                tokio::spawn(forward(from_server, to_client, gate.clone(), false));
            }
        });
        way
    }
}

async fn forward(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    gate: Arc<Gate>,
    from_client: bool,
) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if gate.silent.load(Ordering::SeqCst) {
            gate.swallowed.fetch_add(from_client.into(), Ordering::SeqCst);
        } else if (from_client && gate.cuts(&bytes[..read])) || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
