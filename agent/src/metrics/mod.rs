//! The agent's own figures for Prometheus and its like: `GET /metrics` on an address that the configuration opens.
//!
//! `text` writes the exposition format; this serves it, to few clients at a time and none for long: whoever may connect
//! must not be able to cost the agent memory or threads.

mod text;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::engine::EngineStats;
use crate::progress::Progress;
use crate::stop::StopFlag;

/// Clients that are served at once; others wait in the listener's queue.
const CLIENTS: usize = 8;
/// How long a client may take to send its request's head.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long it may stay in all.
const WHOLE_TIME: Duration = Duration::from_secs(10);
/// The largest head of a request, in bytes (the least that hyper allows).
const HEAD_BYTES: usize = 8192;
/// How long the server waits after it could not accept.
const PAUSE: Duration = Duration::from_millis(250);

/// Where the figures come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// What the engine counts.
    pub stats: Arc<EngineStats>,
    /// What the other threads count.
    pub progress: Arc<Progress>,
}

/// Serves the figures.
#[derive(Debug)]
pub struct Server {
    listener: StdListener,
    source: Source,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn bind(address: SocketAddr, source: Source) -> Result<Self> {
        let open = || {
            let listener = StdListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(listener)
        };
        let listener = open().with_context(|| format!("the agent's figures cannot be served at {address}; set another metrics.listen"))?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "the agent's figures are served to other hosts than this one, to anybody who asks");
        }
        Ok(Self { listener, source })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the flag is raised.
    pub async fn run(self, stop: &StopFlag) {
        let listener = match TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the agent's figures are not served"),
        };
        tokio::select! {
            () = accept(listener, self.source) => {}
            () = stop.raised() => {}
        }
    }
}

async fn accept(listener: TcpListener, source: Source) {
    let clients = Arc::new(Semaphore::new(CLIENTS));
    // The semaphore is never closed, so a permit comes when a client goes.
    while let Ok(permit) = Arc::clone(&clients).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let source = source.clone();
                tokio::spawn(async move {
                    serve(stream, source).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a reader of the figures could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, source: Source) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&request, &source);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_BYTES).keep_alive(false);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(WHOLE_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a reader of the figures went away"),
        Err(_) => tracing::debug!("a reader of the figures took too long"),
    }
}

fn answer(request: &Request<Incoming>, source: &Source) -> Response<Full<Bytes>> {
    let plain = |status, text: &'static str| {
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "the figures are at /metrics\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "the figures can be read only\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let mut response = Response::new(Full::new(Bytes::from(text::write(source))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(text::CONTENT_TYPE));
    response
}

#[cfg(test)]
mod tests;
