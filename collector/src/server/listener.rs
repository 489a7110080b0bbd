//! The listener: connections, with TLS where it is configured, each within limits of time, and not more than so many at once.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower_service::Service as _;

use crate::access::Tls;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: u32 = 4096;
/// How long a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long the head of a request may take, and how long a connection may stay without one.
const HEAD_TIME: Duration = Duration::from_secs(75);
/// After the system could not give a connection (it has no descriptor left, perhaps).
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// How often it is said in the log that handshakes fail.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// What is counted of connections.
#[derive(Debug)]
pub(super) struct Connections {
    free: Arc<Semaphore>,
    failed_handshakes: AtomicU64,
    said: Mutex<Option<Instant>>,
}

impl Default for Connections {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(CONNECTIONS as usize)), failed_handshakes: AtomicU64::new(0), said: Mutex::new(None) }
    }
}

impl Connections {
    /// Those that are open.
    pub(super) fn open(&self) -> usize {
        (CONNECTIONS as usize).saturating_sub(self.free.available_permits())
    }

    /// Connections that ended before a request, because there was no secure one.
    pub(super) fn failed_handshakes(&self) -> u64 {
        self.failed_handshakes.load(Ordering::Relaxed)
    }

    fn handshake_failed(&self, peer: SocketAddr, why: &str) {
        self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(peer = %peer.ip(), why, "a secure connection was not made");
        }
    }
}

/// Where connections come in.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) connections: Arc<Connections>,
}

impl Listener {
    /// Serves until `shutdown` is ready, and then until what is under way has ended.
    pub(super) async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) {
        let (closing, closes) = watch::channel(());
        tokio::pin!(shutdown);
        loop {
            let (stream, peer, permit) = tokio::select! {
                accepted = self.accept() => accepted,
                () = &mut shutdown => break,
            };
            let (router, tls, connections) = (router.clone(), self.tls.clone(), Arc::clone(&self.connections));
            let closes = closes.clone();
            tokio::spawn(async move {
                match tls {
                    None => answer(stream, peer, router, closes).await,
                    Some(tls) => match tokio::time::timeout(HANDSHAKE_TIME, tls.acceptor().accept(stream)).await {
                        Ok(Ok(secure)) => answer(secure, peer, router, closes).await,
                        Ok(Err(error)) => connections.handshake_failed(peer, &error.to_string()),
                        Err(_) => connections.handshake_failed(peer, "it took too long"),
                    },
                }
                drop(permit);
            });
        }
        drop(self.listener);
        drop(closes);
        // There are receivers as long as connections are open; without one there is nobody to tell.
        _ = closing.send(());
        // The semaphore is never closed.
        _ = self.connections.free.acquire_many(CONNECTIONS).await;
    }

    async fn accept(&self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        loop {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&self.connections.free).acquire_owned().await else { continue };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Answers are written whole: nothing is gained by waiting for more.
                    _ = stream.set_nodelay(true);
                    return (stream, peer, permit);
                }
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Whether a connection that could not be taken was ended by who made it: accept(2).
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Answers the requests of one connection, which know their peer.
async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    mut closes: watch::Receiver<()>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        // A router is always ready.
        let answer = router.clone().call(request);
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = closes.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}
