//! A connection to a server, with TLS where its address says so.
//!
//! hyper and rustls by themselves, as in `flamekeeper_transport`, whose client reads answers whole: these are too large for that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Uri;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Why no server can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file of certificates could not be read, or holds none.
    #[error("cannot read certificates from {path}: {error}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: pem::Error,
    },
    /// Neither this host nor the configuration has any.
    #[error("this host trusts no certificates (there are none in /etc/ssl/certs), so that no https server can be known: {0}")]
    None(String),
    /// TLS cannot be set up.
    #[error("cannot set TLS up: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the address names no server")]
    Address,
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no secure connection: {0}")]
    Tls(io::Error),
    #[error("https is not set up")]
    NoTls,
    #[error("no connection within {0:?}")]
    Slow(Duration),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// Opens connections.
pub(crate) struct Connector {
    /// None where no server wants it.
    tls: Option<TlsConnector>,
    longest: Duration,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("tls", &self.tls.is_some()).field("longest", &self.longest).finish()
    }
}

/// A connection that is open for one request, and ends when it is dropped.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connector {
    /// With TLS, where wanted, that trusts the host's certificates and those in a file.
    pub(crate) fn new(with_tls: bool, ca: Option<&Path>, longest: Duration) -> Result<Self, TrustError> {
        let tls = if with_tls { Some(tls(ca)?) } else { None };
        Ok(Self { tls, longest })
    }

    /// Connects to the server that an address names.
    pub(crate) async fn open(&self, address: &Uri) -> Result<Connection, ConnectError> {
        let opened = tokio::time::timeout(self.longest, self.connect(address)).await;
        opened.unwrap_or(Err(ConnectError::Slow(self.longest)))
    }

    async fn connect(&self, address: &Uri) -> Result<Connection, ConnectError> {
        let host = address.host().ok_or(ConnectError::Address)?;
        // An IPv6 address stands in brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let secure = is_secure(address);
        let port = address.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tcp = TcpStream::connect((host, port)).await.map_err(ConnectError::Connect)?;
        if !secure {
            return connection(tcp).await;
        }
        let tls = self.tls.as_ref().ok_or(ConnectError::NoTls)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Address)?;
        connection(tls.connect(name, tcp).await.map_err(ConnectError::Tls)?).await
    }
}

/// Whether an address wants TLS.
pub(super) fn is_secure(address: &Uri) -> bool {
    address.scheme_str() == Some("https")
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Connection, ConnectError> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move {
        // The request or its body tells the error too.
        _ = connection.await;
    });
    Ok(Connection { sender, driver })
}

fn tls(ca: Option<&Path>) -> Result<TlsConnector, TrustError> {
    let mut roots = RootCertStore::empty();
    let host = rustls_native_certs::load_native_certs();
    // What a host trusts and this version cannot read is left out, as elsewhere.
    roots.add_parsable_certificates(host.certs);
    if let Some(path) = ca {
        let failed = |error| TrustError::File { path: path.to_owned(), error };
        let mut own = CertificateDer::pem_file_iter(path).map_err(failed)?.peekable();
        if own.peek().is_none() {
            return Err(failed(pem::Error::NoItemsFound));
        }
        for certificate in own {
            roots.add(certificate.map_err(failed)?)?;
        }
    }
    if roots.is_empty() {
        return Err(TrustError::None(host.errors.first().map_or_else(String::new, ToString::to_string)));
    }
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}
