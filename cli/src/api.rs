//! Questions to a collector over its HTTP API.

use anyhow::{Context as _, Result, bail};
use reqwest::Url;

/// Which collector, and which samples: the arguments that `top` and `flamegraph` share.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// Address of the collector
    #[arg(long, value_name = "URL", env = "FLAMEKEEPER_COLLECTOR", default_value = "http://127.0.0.1:4040")]
    collector: String,
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
        let mut url = address(&self.collector, path)?;
        let query = self.selector();
        let own = [("query", query.as_str()), ("from", &self.from), ("to", &self.to), ("type", &self.profile_type)];
        url.query_pairs_mut().extend_pairs(own.iter().chain(more));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
        runtime.block_on(get(url))
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

async fn get(url: Url) -> Result<Vec<u8>> {
    let client = reqwest::Client::builder().no_proxy().build().context("cannot start the HTTP client")?;
    let unreachable = || format!("cannot reach a collector at {}; is it running? (--collector names another)", url.authority());
    let answer = client.get(url.clone()).send().await.with_context(unreachable)?;
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
            collector: String::new(),
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
