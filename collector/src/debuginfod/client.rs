//! One request to one server.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use flamekeeper_profile::BuildId;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};

use super::connect::{ConnectError, Connection, Connector, TrustError, is_secure};
use super::{DebuginfodError, DebuginfodLimits};

const USER_AGENT: &str = concat!("flamekeeper/", env!("CARGO_PKG_VERSION"));
const MOST_REDIRECTS: usize = 3;

/// Which of an object's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Artifact {
    DebugInfo,
    Executable,
}

impl Artifact {
    const fn as_str(self) -> &'static str {
        match self {
            Self::DebugInfo => "debuginfo",
            Self::Executable => "executable",
        }
    }
}

/// An answer that is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the request failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be written: {0}")]
    Request(#[from] axum::http::Error),
    #[error("the server sent nothing for {0:?}")]
    Idle(Duration),
    #[error("the answer took longer than {0:?}")]
    Slow(Duration),
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("the server referred to {0:?}, where nobody asks")]
    Redirect(String),
    #[error("the object has more than {0} bytes")]
    TooLarge(u64),
    #[error("cannot write what was fetched: {0}")]
    Write(#[from] io::Error),
}

#[derive(Debug)]
pub(super) struct Client {
    connector: Connector,
    servers: Vec<String>,
    directory: PathBuf,
    limits: DebuginfodLimits,
    number: AtomicU64,
}

impl Client {
    pub(super) fn new(urls: &[String], ca: Option<&Path>, directory: &Path, limits: DebuginfodLimits) -> Result<Self, DebuginfodError> {
        let servers = urls.iter().map(|url| checked(url)).collect::<Result<Vec<_>, _>>()?;
        let with_tls = servers.iter().any(|server| server.starts_with("https:"));
        let connector = Connector::new(with_tls, ca, limits.connect).map_err(|error: TrustError| DebuginfodError::Trust(error))?;
        Ok(Self { connector, servers, directory: directory.to_owned(), limits, number: AtomicU64::new(0) })
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(String::as_str)
    }

    /// What a server has of an object, in a file without a name, and its length; none where it has nothing.
    pub(super) async fn fetch(&self, server: &str, id: &BuildId, artifact: Artifact) -> Result<Option<(File, u64)>, FetchError> {
        let address = format!("{server}/buildid/{}/{}", id.hex(), artifact.as_str());
        let fetched = tokio::time::timeout(self.limits.answer, self.fetch_from(&address)).await;
        fetched.unwrap_or(Err(FetchError::Slow(self.limits.answer)))
    }

    async fn fetch_from(&self, address: &str) -> Result<Option<(File, u64)>, FetchError> {
        let mut address: Uri = address.parse().map_err(|_| ConnectError::Address)?;
        for _ in 0..=MOST_REDIRECTS {
            // Dropped with the round, so after the body.
            let mut connection = self.connector.open(&address).await?;
            let response = self.request(&mut connection, &address).await?;
            match response.status() {
                StatusCode::OK => return self.receive(response.into_body()).await.map(Some),
                StatusCode::NOT_FOUND => return Ok(None),
                status if status.is_redirection() => address = redirected(&address, response.headers().get(header::LOCATION))?,
                other => return Err(FetchError::Status(other)),
            }
        }
        Err(FetchError::Redirect(address.to_string()))
    }

    async fn request(&self, connection: &mut Connection, address: &Uri) -> Result<Response<Incoming>, FetchError> {
        let host = address.authority().ok_or(ConnectError::Address)?.as_str();
        let path = address.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path).header(header::HOST, host).header(header::USER_AGENT, USER_AGENT);
        let request = request.body(Full::<Bytes>::default())?;
        let response = tokio::time::timeout(self.limits.idle, connection.sender.send_request(request)).await;
        Ok(response.map_err(|_| FetchError::Idle(self.limits.idle))??)
    }

    async fn receive(&self, mut body: Incoming) -> Result<(File, u64), FetchError> {
        let most = self.limits.object_bytes;
        if body.size_hint().lower() > most {
            return Err(FetchError::TooLarge(most));
        }
        let (mut file, mut len) = (self.file()?, 0_u64);
        loop {
            let frame = tokio::time::timeout(self.limits.idle, body.frame()).await;
            let Some(frame) = frame.map_err(|_| FetchError::Idle(self.limits.idle))? else { return Ok((file, len)) };
            // Else trailers.
            if let Ok(data) = frame?.into_data() {
                len += data.len() as u64;
                if len > most {
                    return Err(FetchError::TooLarge(most));
                }
                file.write_all(&data)?;
            }
        }
    }

    /// A file that is gone when it is closed.
    fn file(&self) -> io::Result<File> {
        let path = self.directory.join(format!("{}.part", self.number.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        std::fs::remove_file(path)?;
        Ok(file)
    }
}

/// A server's address without the slash at its end. One that no request could go to is refused.
fn checked(url: &str) -> Result<String, DebuginfodError> {
    let server = url.trim_end_matches('/');
    let is_good = server.parse::<Uri>().is_ok_and(|address| {
        let is_plain = address.authority().is_some_and(|authority| !authority.as_str().contains('@') && !authority.host().is_empty());
        is_plain && matches!(address.scheme_str(), Some("http" | "https"))
    });
    if is_good { Ok(server.to_owned()) } else { Err(DebuginfodError::Address(url.to_owned())) }
}

/// Where a server refers to: another address in full, or a path of its own. Never from https to http.
fn redirected(from: &Uri, location: Option<&HeaderValue>) -> Result<Uri, FetchError> {
    let text = location.map_or_else(String::new, |location| String::from_utf8_lossy(location.as_bytes()).into_owned());
    let whole = match (from.scheme_str(), from.authority()) {
        (Some(scheme), Some(authority)) if text.starts_with('/') && !text.starts_with("//") => format!("{scheme}://{authority}{text}"),
        _ => text.clone(),
    };
    let target = checked(&whole).ok().and_then(|_| whole.parse::<Uri>().ok());
    target.filter(|target| is_secure(target) || !is_secure(from)).ok_or(FetchError::Redirect(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses that no request could go to, or that hold a password, are refused, whoever names them.
    #[test]
    fn addresses() {
        assert_eq!(checked("https://a.example:8002/base/").unwrap(), "https://a.example:8002/base");
        assert_eq!(checked("http://[::1]:8002").unwrap(), "http://[::1]:8002");
        for wrong in ["", "a", "/path", "ftp://a", "http://", "http://user:word@a", "http://a b", "https:///buildid"] {
            assert!(checked(wrong).is_err(), "{wrong}");
        }
    }

    /// A server may refer to a path of its own or to another server, and not to one that anybody can listen to.
    #[test]
    fn redirects() {
        let to = |from: &'static str, location: &'static str| {
            let target = redirected(&Uri::from_static(from), Some(&HeaderValue::from_static(location)));
            target.map(|target| target.to_string()).map_err(|error| error.to_string())
        };
        assert_eq!(to("https://a:1/x", "/y?z").unwrap(), "https://a:1/y?z");
        assert_eq!(to("http://a/x", "https://b/y").unwrap(), "https://b/y");
        assert_eq!(to("http://a/x", "http://b/y").unwrap(), "http://b/y");
        for (from, location) in [("https://a/x", "http://a/y"), ("http://a/x", "//b/y"), ("http://a/x", "y"), ("http://a/x", "file:///y")] {
            assert!(to(from, location).unwrap_err().contains("referred to"), "{from} {location}");
        }
        assert!(redirected(&Uri::from_static("http://a/x"), None).is_err());
    }
}
