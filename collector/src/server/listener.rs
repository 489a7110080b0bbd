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

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at once; more wait in the kernel's queue.
    connections: u32,
    /// How long a handshake may take.
    handshake: Duration,
    /// How long the head of a request may take, and how long a connection may stay without one.
    head: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4096, handshake: Duration::from_secs(10), head: Duration::from_secs(75) }
    }
}

/// After the system could not give a connection (it has no descriptor left, perhaps).
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// How often it is said in the log that handshakes fail.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// What is counted of connections.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Limits,
    free: Arc<Semaphore>,
    failed_handshakes: AtomicU64,
    said: Mutex<Option<Instant>>,
}

impl Default for Connections {
    fn default() -> Self {
        Self::within(Limits::default())
    }
}

impl Connections {
    fn within(limits: Limits) -> Self {
        let free = Arc::new(Semaphore::new(limits.connections as usize));
        Self { limits, free, failed_handshakes: AtomicU64::new(0), said: Mutex::new(None) }
    }

    /// Those that are open.
    pub(super) fn open(&self) -> usize {
        (self.limits.connections as usize).saturating_sub(self.free.available_permits())
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
            let limits = connections.limits;
            tokio::spawn(async move {
                match tls {
                    None => answer(stream, peer, router, (limits.head, closes)).await,
                    Some(tls) => match tokio::time::timeout(limits.handshake, tls.acceptor().accept(stream)).await {
                        Ok(Ok(secure)) => answer(secure, peer, router, (limits.head, closes)).await,
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
        _ = self.connections.free.acquire_many(self.connections.limits.connections).await;
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
    (head_time, mut closes): (Duration, watch::Receiver<()>),
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        // A router is always ready.
        let answer = router.clone().call(request);
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_time);
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::path::Path;

    use flamekeeper_transport::tls::ServerFiles;

    use super::*;

    const SOON: Duration = Duration::from_millis(300);
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A listener with these limits, on a thread of its own for the rest of the test.
    fn listen(limits: Limits, tls: Option<Tls>) -> (SocketAddr, Arc<Connections>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Connections::within(limits));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener =
                    Listener { listener: TcpListener::from_std(listener).unwrap(), tls: tls.map(Arc::new), connections: counted };
                let router = Router::new().fallback(axum::routing::get(|| std::future::ready("here")));
                listener.serve(router, std::future::pending()).await;
            });
        });
        (address, connections)
    }

    fn connect(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn is_answered(stream: &mut TcpStream) -> bool {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).is_ok() && start == *b"HTTP/1.1 200"
    }

    /// A head that comes byte by byte, and a connection without a request, end after their time and no sooner.
    #[test]
    fn slow_heads_end() {
        let (address, _) = listen(Limits { head: SOON, ..Limits::default() }, None);
        let mut idle = connect(address);
        let mut slow = connect(address);
        let begun = Instant::now();
        assert!(slow.write_all(b"GET / HTTP/1.1\r\n").is_ok());
        let mut rest = Vec::new();
        let feeder = {
            let mut slow = slow.try_clone().unwrap();
            std::thread::spawn(move || {
                while slow.write_all(b"a").is_ok() && begun.elapsed() < PATIENCE {
                    std::thread::sleep(Duration::from_millis(50));
                }
            })
        };
        // Bytes that were sent to a connection that was closed reset it: that is an end too.
        _ = slow.read_to_end(&mut rest);
        assert!((SOON..PATIENCE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
        assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0, "an idle connection stays");
        feeder.join().unwrap();
    }

    /// What is more than there may be at once waits until another has ended, and is answered then.
    #[test]
    fn too_many_wait() {
        let (address, connections) = listen(Limits { connections: 2, ..Limits::default() }, None);
        let (mut first, mut second) = (connect(address), connect(address));
        assert!(is_answered(&mut first) && is_answered(&mut second));
        assert_eq!(connections.open(), 2);
        let mut third = connect(address);
        third.set_read_timeout(Some(SOON)).unwrap();
        assert!(!is_answered(&mut third), "it was answered beyond the limit");
        third.set_read_timeout(Some(PATIENCE)).unwrap();
        drop(first);
        let mut start = [0; 12];
        third.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
    }

    /// Certificate and key of a server, by openssl.
    fn certificate(folder: &Path) -> ServerFiles {
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let mut command = std::process::Command::new("openssl");
        command.args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2", "-subj", "/CN=test"]);
        command.arg("-addext").arg("basicConstraints=critical,CA:FALSE").arg("-keyout").arg(&key).arg("-out").arg(&cert);
        assert!(command.output().unwrap().status.success(), "openssl makes no certificate");
        ServerFiles { cert, key, client_ca: None }
    }

    /// A handshake that does not go on ends after its time, is counted, and gives its place to others.
    #[test]
    fn slow_handshakes_end() {
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls::read(certificate(folder.path())).unwrap();
        let (address, connections) = listen(Limits { handshake: SOON, connections: 1, ..Limits::default() }, Some(tls));
        let begun = Instant::now();
        let mut silent = connect(address);
        assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
        assert!((SOON..PATIENCE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        // A client's hello that was begun, and no more.
        let mut begun = connect(address);
        begun.write_all(&[22, 3, 1, 1, 0, 1]).unwrap();
        assert_eq!(begun.read(&mut [0; 1]).unwrap_or(0), 0);
        // The connection ends a moment before it is counted.
        let begun = Instant::now();
        while connections.failed_handshakes() < 2 {
            assert!(begun.elapsed() < PATIENCE, "{} were counted", connections.failed_handshakes());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
