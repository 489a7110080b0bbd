//! An HTTP client of the collector: one request, one answer, with the token and the certificates of the moment.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::connect::Connector;
use crate::{Credentials, Stamp, TlsError, TokenError, TokenFile, tls};

/// How long a connection that is not used is kept.
const IDLE: Duration = Duration::from_secs(60);
/// How often it is looked whether certificates have changed.
const LOOK: Duration = Duration::from_secs(1);

type Http = legacy::Client<Connector, Full<Bytes>>;

/// The client cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("a connection cannot be set up: {0}")]
pub struct ClientError(#[from] TlsError);

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The certificates have changed and are of no use now.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It did not come in time.
    #[error("it did not answer in time")]
    Slow,
    /// There is no connection, or it broke: the innermost reason.
    #[error("{0}")]
    Failed(String),
}

/// An answer, read whole or up to a limit.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or its start.
    pub body: Bytes,
}

/// Goes straight to the collector: no proxies of the environment, which are for programs that browse, and no redirections, by
/// which a `POST` would lose its body.
#[derive(Debug)]
pub struct Client {
    credentials: Credentials,
    token: Option<TokenFile>,
    /// Whether TLS is spoken.
    secure: bool,
    agent: &'static str,
    /// For a whole exchange, from the connection to the last byte of the answer.
    time: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    http: Http,
    files: Vec<Option<Stamp>>,
    looked: Instant,
}

impl Client {
    /// A client for https addresses too where it is `secure`; `agent` is its `User-Agent`, `time` what an exchange may take.
    ///
    /// # Errors
    /// [`ClientError`] where certificates are of no use. The token is read when it is needed.
    pub fn new(credentials: &Credentials, secure: bool, agent: &'static str, time: Duration) -> Result<Self, ClientError> {
        let files = if secure { stamps(credentials) } else { Vec::new() };
        let state = State { http: http(credentials, secure)?, files, looked: Instant::now() };
        let token = credentials.token_file.clone().map(TokenFile::new);
        Ok(Self { credentials: credentials.clone(), token, secure, agent, time, state: Mutex::new(state) })
    }

    /// What the token's file is now; none where there is none.
    #[must_use]
    pub fn token_stamp(&self) -> Option<Stamp> {
        self.token.as_ref().and_then(|token| Stamp::of(token.path()))
    }

    /// Sends a request, and reads its answer up to so many bytes of its body.
    ///
    /// # Errors
    /// [`ExchangeError`] where there is no answer. One with a status that is no success is an answer.
    pub async fn exchange(&self, mut request: Request<Full<Bytes>>, longest: usize) -> Result<Answer, ExchangeError> {
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(self.agent));
        if let Some(file) = &self.token {
            let token = file.current()?;
            // The letters of a token are those of a header's value.
            if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.reveal())) {
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
        }
        let http = self.http()?;
        let exchange = async {
            let response = http.request(request).await.map_err(|error| ExchangeError::Failed(innermost(&error)))?;
            read(response, longest).await
        };
        tokio::time::timeout(self.time, exchange).await.unwrap_or(Err(ExchangeError::Slow))
    }

    /// The client with the certificates of the moment.
    fn http(&self) -> Result<Http, TlsError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.secure && state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            let files = stamps(&self.credentials);
            if files != state.files {
                state.http = http(&self.credentials, true)?;
                state.files = files;
            }
        }
        Ok(state.http.clone())
    }
}

fn stamps(credentials: &Credentials) -> Vec<Option<Stamp>> {
    let files = [&credentials.ca, &credentials.client_cert, &credentials.client_key];
    files.map(|path| path.as_ref().and_then(|path| Stamp::of(path))).into()
}

fn http(credentials: &Credentials, secure: bool) -> Result<Http, TlsError> {
    let tls = if secure { Some(tls::client(credentials)?) } else { None };
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).pool_max_idle_per_host(2);
    Ok(builder.build(Connector::new(tls)))
}

async fn read(response: Response<Incoming>, longest: usize) -> Result<Answer, ExchangeError> {
    let (head, mut incoming) = response.into_parts();
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| ExchangeError::Failed(innermost(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        body.extend_from_slice(&data[..data.len().min(longest - body.len())]);
        if body.len() >= longest {
            break;
        }
    }
    Ok(Answer { status: head.status, headers: head.headers, body: body.freeze() })
}

/// The last cause, which is the plain one ("connection refused").
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
