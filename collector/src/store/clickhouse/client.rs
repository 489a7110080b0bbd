//! Requests to a ClickHouse server over its HTTP interface.
//!
//! Questions are sent as a form of several parts, with their parameters beside the query: an address has a limit of length, and values
//! never stand in the query's text. Rows are sent as the body, the statement in the address. `wait_end_of_query` makes the
//! status tell of the whole query: without it an exception could follow the first rows under a status of 200.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use flamekeeper_transport::{Answer, Client as Http, Credentials};
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};

use super::error::ClickHouseError;
use crate::watch;

/// Bytes of one answer.
const MAX_ANSWER: usize = 512 << 20;
/// Bytes of an exception that are read.
const MAX_EXCEPTION: usize = 64 << 10;
/// How much longer than the server may work an answer is waited for.
const GRACE: Duration = Duration::from_secs(10);

/// How often it is looked whether an answer is still wanted.
const WATCH_PERIOD: Duration = Duration::from_millis(100);

/// Where the server is, and what a query may take there.
#[derive(Clone, PartialEq, Eq)]
pub struct ClickHouseServer {
    /// `http://HOST[:PORT][/PATH]`, or `https://`.
    pub url: String,
    /// With https: the authorities that it may be known by (else the host's), and a certificate to show to it.
    pub credentials: Credentials,
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
    /// Its password; empty for none.
    pub password: String,
    /// How long one query may take.
    pub query_time: Duration,
    /// How many bytes of the server's memory one query may take.
    pub query_memory: u64,
}

impl std::fmt::Debug for ClickHouseServer {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClickHouseServer").field("url", &self.url).field("database", &self.database).field("user", &self.user).finish()
    }
}

/// A question and its parameters: `{name:Type}` in the text stands for a value, written as that type's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) text: String,
    pub(super) parameters: Vec<(String, String)>,
}

impl Query {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), parameters: Vec::new() }
    }

    /// Adds the value of a `{name:String}`.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.to_owned(), escape(value)));
        self
    }
}

/// The text form of a value of a parameter of type `String`: as in TSV.
pub(super) fn escape(value: &str) -> String {
    value.chars().fold(String::with_capacity(value.len()), |mut text, character| {
        match character {
            '\\' => text.push_str("\\\\"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\0' => text.push_str("\\0"),
            other => text.push(other),
        }
        text
    })
}

/// The text form of a value of a parameter of type `Array(String)`.
pub(super) fn escape_all<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = values.into_iter().map(|value| format!("'{}'", escape(value).replace('\'', "\\'"))).collect();
    format!("[{}]", quoted.join(","))
}

/// The client. Its methods block; call them off the async threads.
pub(super) struct Client {
    http: Http,
    /// User and password.
    headers: HeaderMap,
    server: ClickHouseServer,
    /// Always there but while it is dropped.
    runtime: Option<tokio::runtime::Runtime>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.server.fmt(f)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Waiting for its thread would panic where the client is dropped on an async one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Client {
    pub(super) fn new(server: &ClickHouseServer) -> Result<Self, ClickHouseError> {
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| ClickHouseError::Credentials);
        let mut headers = HeaderMap::new();
        headers.insert("x-clickhouse-user", header(&server.user)?);
        if !server.password.is_empty() {
            let mut password = header(&server.password)?;
            password.set_sensitive(true);
            headers.insert("x-clickhouse-key", password);
        }
        let (secure, name) = (server.url.starts_with("https://"), concat!("flamekeeper/", env!("CARGO_PKG_VERSION")));
        let http = Http::new(&server.credentials, secure, name, server.query_time + GRACE)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("clickhouse").enable_all().build()?;
        Ok(Self { http, headers, server: server.clone(), runtime: Some(runtime) })
    }

    pub(super) fn database(&self) -> &str {
        &self.server.database
    }

    /// Asks; the answer is in the format that the query names.
    pub(super) fn ask(&self, query: &Query) -> Result<Vec<u8>, ClickHouseError> {
        let (boundary, body) = form(query);
        let kind = format!("multipart/form-data; boundary={boundary}");
        let settings = [
            ("readonly", "2"),
            ("cancel_http_readonly_queries_on_client_close", "1"),
            // A series lies on the shard of its samples: both go by the host.
            ("distributed_product_mode", "local"),
        ];
        self.send(&settings, &kind, body)
    }

    /// Inserts rows in RowBinary. Sent again with the same token, nothing changes, whatever the rows are.
    pub(super) fn insert(&self, statement: &str, token: Option<&str>, rows: Vec<u8>) -> Result<(), ClickHouseError> {
        let mut settings = vec![
            ("query", statement),
            ("insert_deduplicate", "1"),
            ("deduplicate_blocks_in_dependent_materialized_views", "1"),
            // On a cluster: as many replicas as make a majority have it, and its shard has it before the answer.
            ("insert_quorum", "auto"),
            ("distributed_foreground_insert", "1"),
        ];
        settings.extend(token.map(|token| ("insert_deduplication_token", token)));
        self.send(&settings, "application/octet-stream", rows).map(drop)
    }

    /// Runs a statement that changes the schema.
    pub(super) fn execute(&self, statement: &str) -> Result<(), ClickHouseError> {
        self.send(&[("database", "default")], "text/plain", statement.as_bytes().to_vec()).map(drop)
    }

    fn send(&self, settings: &[(&str, &str)], kind: &str, body: Vec<u8>) -> Result<Vec<u8>, ClickHouseError> {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        if !settings.iter().any(|(name, _)| *name == "database") {
            pairs.append_pair("database", &self.server.database);
        }
        pairs.append_pair("wait_end_of_query", "1");
        pairs.append_pair("max_execution_time", &self.server.query_time.as_secs().to_string());
        pairs.append_pair("max_memory_usage", &self.server.query_memory.to_string());
        pairs.extend_pairs(settings);
        let bad = |_| ClickHouseError::Address(self.server.url.clone());
        let mut request = Request::post(address(&self.server.url, &pairs.finish())).body(Full::new(Bytes::from(body))).map_err(bad)?;
        request.headers_mut().clone_from(&self.headers);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_str(kind).map_err(|_| ClickHouseError::Credentials)?);
        let exchange = async { answer(&self.http.exchange(request, MAX_ANSWER + 1).await?) };
        match &self.runtime {
            Some(runtime) => runtime.block_on(watched(exchange)),
            None => Err(ClickHouseError::TooLarge(0)),
        }
    }
}

/// An exchange that ends early where the question that this thread works on does: the connection is closed then, by which the server
/// knows.
async fn watched(exchange: impl Future<Output = Result<Vec<u8>, ClickHouseError>>) -> Result<Vec<u8>, ClickHouseError> {
    let mut exchange = std::pin::pin!(exchange);
    let mut ticks = tokio::time::interval(WATCH_PERIOD);
    loop {
        tokio::select! {
            answer = &mut exchange => return answer,
            _ = ticks.tick() => watch::check()?,
        }
    }
}

/// The server's address with a query behind it; an address without a path has the root's.
fn address(url: &str, query: &str) -> String {
    let has_path = url.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    format!("{url}{}?{query}", if has_path { "" } else { "/" })
}

/// What an answer says: rows, or an exception.
fn answer(answer: &Answer) -> Result<Vec<u8>, ClickHouseError> {
    let code = answer.headers.get("x-clickhouse-exception-code");
    let code: Option<u32> = code.and_then(|code| code.to_str().ok()?.parse().ok());
    if code.is_some() || answer.status != StatusCode::OK {
        let start = &answer.body[..answer.body.len().min(MAX_EXCEPTION)];
        return Err(ClickHouseError::exception(code, &String::from_utf8_lossy(start)));
    }
    if answer.body.len() > MAX_ANSWER { Err(ClickHouseError::TooLarge(MAX_ANSWER)) } else { Ok(answer.body.to_vec()) }
}

/// A form of several parts (RFC 7578), and the line that stands between them.
fn form(query: &Query) -> (String, Vec<u8>) {
    let boundary = (0_u64..).map(|number| format!("flamekeeper-{number:032}")).find(|boundary| {
        let free = |text: &str| !text.contains(boundary.as_str());
        free(&query.text) && query.parameters.iter().all(|(_, value)| free(value))
    });
    let boundary = boundary.unwrap_or_default();
    let mut body = Vec::with_capacity(query.text.len() + 1024);
    let mut part = |name: &str, value: &str| {
        body.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes());
    };
    part("query", &query.text);
    for (name, value) in &query.parameters {
        part(&format!("param_{name}"), value);
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (boundary, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values cannot end their part of the form, nor their quotes.
    #[test]
    fn values_stay_values() {
        let boundary = format!("flamekeeper-{:032}", 0);
        let query = Query::new("SELECT {x:String}").with("x", &format!("a\r\n--{boundary}--\r\n\\'\0"));
        let (chosen, body) = form(&query);
        assert_ne!(chosen, boundary);
        let body = String::from_utf8(body).unwrap();
        assert_eq!(body.matches(&chosen).count(), 3, "{body}");
        assert!(body.contains("name=\"param_x\"\r\n\r\na\\r\\n--"), "{body}");
        assert_eq!(escape_all(["a'b", "\\"]), "['a\\'b','\\\\']");
        assert_eq!(escape_all([]), "[]");
    }

    /// A path of the address stays, and the query comes after it.
    #[test]
    fn addresses() {
        assert_eq!(address("http://a:8123", "x=1"), "http://a:8123/?x=1");
        assert_eq!(address("https://a/", "x=1"), "https://a/?x=1");
        assert_eq!(address("https://[::1]:8443/b/c", "x=1"), "https://[::1]:8443/b/c?x=1");
    }
}
