//! HTTPS, for clients that know nothing else.

use std::{net::SocketAddr, path::PathBuf, process::Stdio, sync::Arc};

use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    process::Command,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use super::{find, front::Front};

/// What takes HTTPS, and hands it on to a server that knows HTTP.
pub struct Tls {
    address: SocketAddr,
    folder: TempDir,
}

impl Tls {
    /// With a certificate of its own, which `openssl` makes.
    pub async fn before(front: &Front) -> Option<Self> {
        let openssl = find(&["openssl"], "openssl")?;
        let folder = TempDir::new().unwrap();
        let mut command = Command::new(openssl);
        command.args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "key",
            "-out",
            "certificate",
        ]);
        command.args(["-days", "2", "-subj", "/CN=weir", "-addext", "subjectAltName=IP:127.0.0.1"]);
        command.current_dir(folder.path()).stdin(Stdio::null());
        let made = command.output().await.unwrap();
        assert!(made.status.success(), "{made:?}");
        let certificate = CertificateDer::from_pem_file(folder.path().join("certificate")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.path().join("key")).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let behind = front.url().trim_start_matches("http://").to_owned();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    let mut connection = acceptor.accept(connection).await?;
                    let mut behind = TcpStream::connect(behind).await?;
                    copy_bidirectional(&mut connection, &mut behind).await
                });
            }
        });
        Some(Self { address, folder })
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The file of whom clients have to believe.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate")
    }
}
