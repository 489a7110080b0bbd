//! Questions to a collector over its HTTP API.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use flamekeeper_transport::{Client, Credentials};
use flamekeeper_wire::IDEMPOTENCY_KEY;
use http_body_util::Full;
use reqwest::{Method, Url};

/// Which collector.
#[derive(Debug, clap::Args)]
pub(crate) struct Collector {
    /// Address of the collector
    #[arg(long = "collector", value_name = "URL", env = "FLAMEKEEPER_COLLECTOR", default_value = "http://127.0.0.1:4040")]
    address: String,
    /// What is shown to it.
    #[command(flatten)]
    credentials: Credentials,
}

/// How long an answer may take.
const LONGEST: Duration = Duration::from_secs(600);
/// Bytes of an answer that are read: more is none.
const MOST: usize = 4 << 30;

/// What is sent.
#[derive(Debug)]
pub(crate) enum Request {
    /// A question.
    Get,
    /// The end of something.
    Delete,
    /// An object.
    Post(Bytes),
    /// JSON.
    Json {
        /// The text.
        text: String,
        /// What makes it this one, where it is sent again.
        key: Option<String>,
    },
}

impl Collector {
    /// Asks `path` with parameters, without leaving any out.
    ///
    /// # Errors
    /// When the collector cannot be reached, or refuses; then with its own words.
    pub(crate) fn send(&self, request: Request, path: &str, parameters: &[(&str, &str)]) -> Result<Vec<u8>> {
        let mut url = address(&self.address, path)?;
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
        runtime.block_on(send(request, &url, &self.credentials))
    }

    /// The same for an answer in JSON that is read here.
    ///
    /// # Errors
    /// As [`Self::send`], and when the answer is not understood.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self, request: Request, path: &str, parameters: &[(&str, &str)]) -> Result<T> {
        understood(&self.send(request, path, parameters)?)
    }
}

/// Reads an answer.
///
/// # Errors
/// When it is not understood.
pub(crate) fn understood<T: serde::de::DeserializeOwned>(answer: &[u8]) -> Result<T> {
    serde_json::from_slice(answer).context("the collector's answer is not understood; is it of this version?")
}

/// Which collector, and which samples: the arguments that `top` and `flamegraph` share.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    #[command(flatten)]
    collector: Collector,
    /// Only this service
    #[arg(long, short, value_name = "NAME")]
    service: Option<String>,
    /// Only series whose labels fit, such as '{host=~"web-.*", version!="1.4"}'
    #[arg(long, short, value_name = "SELECTOR", conflicts_with = "service")]
    query: Option<String>,
    /// Start of the window: -15m, -1h, 2026-11-24T14:00:00Z or unix seconds
    #[arg(long, value_name = "TIME", default_value = "-15m", allow_hyphen_values = true)]
    from: String,
    /// End of the window
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    to: String,
    /// Profile type
    #[arg(long = "type", value_name = "TYPE", default_value = "cpu")]
    profile_type: String,
    /// Make one function of those that differ by their type arguments alone: `Vec<_>::push`
    #[arg(long)]
    fold_generics: bool,
}

impl Selection {
    /// Asks `path` about this selection, with further parameters.
    ///
    /// # Errors
    /// When the collector cannot be reached, or refuses; then with its own words.
    pub(crate) fn ask(&self, path: &str, more: &[(&str, &str)]) -> Result<Vec<u8>> {
        let query = self.selector();
        let own = [("query", query.as_str()), ("from", &self.from), ("to", &self.to), ("type", &self.profile_type)];
        let generics: &[(&str, &str)] = if self.fold_generics { &[("generics", "fold")] } else { &[] };
        self.collector.send(Request::Get, path, &[&own, generics, more].concat())
    }

    fn selector(&self) -> String {
        match (&self.service, &self.query) {
            (Some(service), _) => format!("{{service=\"{}\"}}", service.replace('\\', "\\\\").replace('"', "\\\"")),
            (None, query) => query.clone().unwrap_or_default(),
        }
    }
}

fn address(collector: &str, path: &str) -> Result<Url> {
    let base = collector.trim_end_matches('/');
    let url = Url::parse(&format!("{base}{path}")).with_context(|| format!("{collector:?} is no address; write http://HOST:PORT"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => bail!("the collector is reached by http:// and https://, not {scheme}://"),
    }
}

async fn send(request: Request, url: &Url, credentials: &Credentials) -> Result<Vec<u8>> {
    let name = concat!("flamekeeper/", env!("CARGO_PKG_VERSION"));
    let client = Client::new(&credentials.clone().with_systemd(), url.scheme() == "https", name, LONGEST)?;
    let (method, headers, body) = match request {
        Request::Get => (Method::GET, [None, None], Bytes::new()),
        Request::Delete => (Method::DELETE, [None, None], Bytes::new()),
        Request::Post(body) => (Method::POST, [Some(("content-type", "application/octet-stream".to_owned())), None], body),
        Request::Json { text, key } => {
            (Method::POST, [Some(("content-type", "application/json".to_owned())), key.map(|key| (IDEMPOTENCY_KEY, key))], text.into())
        }
    };
    let request = hyper::Request::builder().method(method).uri(url.as_str());
    let request = headers.into_iter().flatten().fold(request, |request, (name, value)| request.header(name, value));
    let unreachable = || format!("cannot reach a collector at {}; is it running? (--collector names another)", url.authority());
    let answer = client.exchange(request.body(Full::new(body))?, MOST).await.with_context(unreachable)?;
    if answer.status.is_success() {
        return Ok(answer.body.into());
    }
    let said: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    let said = said.and_then(|value| value["error"].as_str().map(str::to_owned));
    bail!("the collector refused: {}", said.unwrap_or_else(|| answer.status.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service's name cannot break out of the selector.
    #[test]
    fn service_is_quoted() {
        let selection = Selection {
            collector: Collector { address: String::new(), credentials: Credentials::default() },
            service: Some("a\"b\\".into()),
            query: None,
            from: String::new(),
            to: String::new(),
            profile_type: String::new(),
            fold_generics: false,
        };
        assert_eq!(selection.selector(), r#"{service="a\"b\\"}"#);
    }

    /// HTTP is spoken, with and without TLS, and nothing else.
    #[test]
    fn addresses() {
        assert_eq!(address("http://c:1/", "/x").unwrap().as_str(), "http://c:1/x");
        assert_eq!(address("https://c", "/x").unwrap().as_str(), "https://c/x");
        assert!(address("ftp://c", "/x").unwrap_err().to_string().contains("https://"));
        assert!(address("c:1", "/x").is_err());
    }
}
