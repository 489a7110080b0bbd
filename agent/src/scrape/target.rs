//! One address that is scraped: its request, its answer, and what was there before.

use std::time::Duration;

use bytes::Bytes;
use flamekeeper_profile::{Labels, label};
use flamekeeper_transport::{Client, Credentials, ExchangeError, PrivateError, private};
use flamekeeper_wire::gzip::{self, GunzipError};
use http_body_util::Full;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode};

use super::profile::{HeapProfile, ParseError};
use super::resolve::{LocalObjects, Nobody, Resolve};
use super::{pprof, text};
use crate::config::scrape::{Login, ScrapeConfig};

/// Bytes of an answer as it is sent.
const MAX_SENT: usize = 16 << 20;
/// The label that says where a heap is known from.
const SOURCE: &str = "heap.source";

/// Why there is no heap this time.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScrapeError {
    /// There is no answer.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// What is to be shown cannot be read.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// What is to be shown cannot be sent.
    #[error("the first line of {0} cannot be shown in a request: it is empty, or holds control characters")]
    Login(String),
    /// The answer is no success.
    #[error("it answered {0}{hint}", hint = hint(*.0))]
    Status(StatusCode),
    /// The answer is too large.
    #[error("its answer is larger than {MAX_SENT} bytes as it was sent")]
    TooLarge,
    /// The answer cannot be decompressed.
    #[error(transparent)]
    Gzip(#[from] GunzipError),
    /// The answer cannot be understood.
    #[error("its answer cannot be used: {0}")]
    Parse(#[from] ParseError),
}

/// What to look at, by the status of an answer.
const fn hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "; see token_file or basic_auth_file",
        404 => "; is that the path of a heap profile (/debug/pprof/heap)?",
        _ => "",
    }
}

/// A target with what it said last.
#[derive(Debug)]
pub(super) struct Target {
    config: ScrapeConfig,
    client: Client,
    before: Option<HeapProfile>,
    /// Whether the last scrape failed: that is said once.
    pub(super) failing: bool,
}

impl Target {
    pub(super) fn new(config: ScrapeConfig) -> Result<Self, flamekeeper_transport::ClientError> {
        let name = concat!("flamekeeper-agent/", env!("CARGO_PKG_VERSION"));
        let credentials = Credentials {
            token_file: None,
            ca: config.ca.clone(),
            client_cert: config.client_cert.clone(),
            client_key: config.client_key.clone(),
        };
        let time = Duration::from_secs(30).min(config.interval.duration() / 2);
        let client = Client::new(&credentials, config.url.is_secure(), name, time)?;
        Ok(Self { config, client, before: None, failing: false })
    }

    pub(super) const fn config(&self) -> &ScrapeConfig {
        &self.config
    }

    /// The labels of its series: those of the host, and its own.
    pub(super) fn labels(&self, host: &Labels) -> Labels {
        let mut labels = host.clone();
        self.config.labels.iter().for_each(|(name, value)| labels.set(name, value));
        labels.with(label::SERVICE, &self.config.service).with(label::VERSION, &self.config.version).with(SOURCE, "pprof")
    }

    /// Asks for the heap. What it says was allocated is since the last time; nothing of it the first time.
    pub(super) async fn scrape(&mut self) -> Result<HeapProfile, ScrapeError> {
        let mut request = Request::get(self.config.url.as_str()).header(ACCEPT_ENCODING, "gzip").body(Full::new(Bytes::new()));
        if let (Some(login), Ok(request)) = (&self.config.login, &mut request) {
            request.headers_mut().insert(AUTHORIZATION, authorization(login)?);
        }
        let request = request.map_err(|error| ExchangeError::Failed(error.to_string()))?;
        let answer = self.client.exchange(request, MAX_SENT + 1).await?;
        if answer.status != StatusCode::OK {
            return Err(ScrapeError::Status(answer.status));
        }
        if answer.body.len() > MAX_SENT {
            return Err(ScrapeError::TooLarge);
        }
        let limit = usize::try_from(self.config.max_bytes.0).unwrap_or(usize::MAX);
        // Files of another host are not ours, whatever their paths.
        let now = if self.config.url.is_on_this_host() {
            parse(&answer.body, limit, &mut LocalObjects::default())?
        } else {
            parse(&answer.body, limit, &mut Nobody)?
        };
        let mut told = now.clone();
        match self.before.replace(now) {
            Some(before) => told.since(&before),
            None => told.forget_allocated(),
        }
        Ok(told)
    }
}

/// Reads a profile, compressed or not, once or twice: a server may compress what is compressed already.
fn parse(bytes: &[u8], limit: usize, resolve: &mut dyn Resolve) -> Result<HeapProfile, ScrapeError> {
    let is_gzip = |bytes: &[u8]| bytes.starts_with(&[0x1f, 0x8b]);
    let mut plain = std::borrow::Cow::Borrowed(bytes);
    for _ in 0..2 {
        if is_gzip(&plain) {
            plain = gzip::decompress(&plain, limit)?.into();
        }
    }
    if plain.len() > limit {
        return Err(GunzipError::TooLarge { limit }.into());
    }
    Ok(plain_profile(&plain, resolve)?)
}

/// Reads a profile that is not compressed.
pub(super) fn plain_profile(bytes: &[u8], resolve: &mut dyn Resolve) -> Result<HeapProfile, ParseError> {
    if text::is_text(bytes) { text::parse(bytes, resolve) } else { pprof::parse(bytes, resolve) }
}

/// What a request shows: the file's first line, of the moment.
fn authorization(login: &Login) -> Result<HeaderValue, ScrapeError> {
    let path = match login {
        Login::Token(path) | Login::Basic(path) => path,
    };
    let (text, _) = private::read(path)?;
    let line = text.lines().next().unwrap_or_default().trim();
    let value = match login {
        Login::Token(_) => format!("Bearer {line}"),
        Login::Basic(_) => format!("Basic {}", base64(line.as_bytes())),
    };
    let value = HeaderValue::from_str(&value).ok().filter(|_| !line.is_empty());
    let mut value = value.ok_or_else(|| ScrapeError::Login(path.display().to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 4648, section 4. Fifteen lines, where a package is used by nothing else of the agent.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place) & 0x3f) as usize];
            text.push(if place > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 4648, section 10.
    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
