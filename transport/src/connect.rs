//! A connection to a server, with TLS where its address says so.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;

use crate::tls;

/// How long a connection may take, and how long its handshake.
const LONGEST: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers.
    #[error(transparent)]
    Tcp(Box<dyn std::error::Error + Send + Sync>),
    /// Who answers is not trusted, or does not trust us.
    #[error("no secure connection: {0}")]
    Tls(String),
    /// The address wants TLS and has no name to verify.
    #[error("the address names no server")]
    Address,
    /// It was not set up.
    #[error("https is not set up")]
    NoTls,
    /// It took too long.
    #[error("the secure connection was not made within {} s", LONGEST.as_secs())]
    Slow,
}

/// Opens connections.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    /// None where no address wants it.
    tls: Option<Arc<ClientConfig>>,
}

impl Connector {
    pub(crate) fn new(tls: Option<Arc<ClientConfig>>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(LONGEST));
        Self { tcp, tls }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.tcp.poll_ready(context).map_err(|error| ConnectError::Tcp(error.into()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let (connecting, tls) = (self.tcp.call(address.clone()), self.tls.clone());
        Box::pin(async move {
            let tcp = connecting.await.map_err(|error| ConnectError::Tcp(error.into()))?.into_inner();
            if address.scheme_str() != Some("https") {
                return Ok(TokioIo::new(Stream(Box::pin(tcp))));
            }
            // An IPv6 address stands in brackets.
            let host = address.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Address)?;
            let handshake = TlsConnector::from(tls.ok_or(ConnectError::NoTls)?).connect(name, tcp);
            let secure = tokio::time::timeout(LONGEST, handshake).await.map_err(|_| ConnectError::Slow)?;
            Ok(TokioIo::new(Stream(Box::pin(secure.map_err(|error| ConnectError::Tls(tls::explain(&error)))?))))
        })
    }
}

trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// A connection, secure or not.
pub(crate) struct Stream(Pin<Box<dyn Io>>);

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream(..)")
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(context)
    }
}
