//! Questions to a collector over its HTTP API.

use anyhow::{Context as _, Result, bail};
use reqwest::Url;

/// Which collector.
#[derive(Debug, clap::Args)]
pub(crate) struct Collector {
    /// Address of the collector
    #[arg(long = "collector", value_name = "URL", env = "FLAMEKEEPER_COLLECTOR", default_value = "http://127.0.0.1:4040")]
    address: String,
}

/// What is sent.
#[derive(Debug)]
pub(crate) enum Request {
    /// A question.
    Get,
    /// The end of something.
    Delete,
    /// An object.
    Post(reqwest::Body, u64),
    /// JSON.
    Json(String),
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
        runtime.block_on(send(request, url))
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
}

impl Selection {
    /// Asks `path` about this selection, with further parameters.
    ///
    /// # Errors
    /// When the collector cannot be reached, or refuses; then with its own words.
    pub(crate) fn ask(&self, path: &str, more: &[(&str, &str)]) -> Result<Vec<u8>> {
        let query = self.selector();
        let own = [("query", query.as_str()), ("from", &self.from), ("to", &self.to), ("type", &self.profile_type)];
        self.collector.send(Request::Get, path, &[&own, more].concat())
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
        "http" => Ok(url),
        scheme => bail!("the collector is reached by http:// only, not {scheme}:// (put a proxy that adds TLS on this host)"),
    }
}

async fn send(request: Request, url: Url) -> Result<Vec<u8>> {
    let client = reqwest::Client::builder().no_proxy().build().context("cannot start the HTTP client")?;
    let unreachable = || format!("cannot reach a collector at {}; is it running? (--collector names another)", url.authority());
    let request = match request {
        Request::Get => client.get(url.clone()),
        Request::Delete => client.delete(url.clone()),
        Request::Post(body, len) => client
            .post(url.clone())
            .header(reqwest::header::CONTENT_TYPE, "application/octet-stream")
            .header(reqwest::header::CONTENT_LENGTH, len)
            .body(body),
        Request::Json(text) => client.post(url.clone()).header(reqwest::header::CONTENT_TYPE, "application/json").body(text),
    };
    let answer = request.send().await.with_context(unreachable)?;
    let status = answer.status();
    let body = answer.bytes().await.context("the collector's answer broke off")?;
    if status.is_success() {
        return Ok(body.to_vec());
    }
    let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let said = said.and_then(|value| value["error"].as_str().map(str::to_owned));
    bail!("the collector refused: {}", said.unwrap_or_else(|| status.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service's name cannot break out of the selector.
    #[test]
    fn service_is_quoted() {
        let selection = Selection {
            collector: Collector { address: String::new() },
            service: Some("a\"b\\".into()),
            query: None,
            from: String::new(),
            to: String::new(),
            profile_type: String::new(),
        };
        assert_eq!(selection.selector(), r#"{service="a\"b\\"}"#);
    }

    /// Only plain HTTP is spoken, and the error says so.
    #[test]
    fn addresses() {
        assert_eq!(address("http://c:1/", "/x").unwrap().as_str(), "http://c:1/x");
        assert!(address("https://c", "/x").unwrap_err().to_string().contains("TLS"));
        assert!(address("c:1", "/x").is_err());
    }
}
