//! Which store, and the table `[clickhouse]`.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use flamekeeper_transport::Credentials;
use serde::Deserialize;

use super::value::{ByteSize, Span, ValueError};
use crate::store::ClickHouseServer;

/// Where profiles are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// In the data directory
    #[default]
    Embedded,
    /// In ClickHouse; only symbols are in the data directory then
    Clickhouse,
}

impl StoreKind {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Clickhouse => "clickhouse",
        }
    }
}

/// The ClickHouse to keep profiles in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickHouseConfig {
    /// Its HTTP interface.
    pub url: String,
    /// With https: by what it is known, and what is shown to it. There is no token.
    pub credentials: Credentials,
    /// The database; `flamekeeper collector migrate` makes it.
    pub database: String,
    /// The cluster whose tables are replicated and distributed; none for one server.
    pub cluster: Option<String>,
    /// The user.
    pub user: String,
    /// A file with the user's password. Without one the systemd credential [`CREDENTIAL`] is read, if it is there.
    pub password_file: Option<PathBuf>,
    /// How long one query may take.
    pub query_time: Duration,
    /// How much of the server's memory one query may take.
    pub query_memory: u64,
}

/// The name of the systemd credential that holds the password (`LoadCredential=`, systemd.exec(5)).
pub const CREDENTIAL: &str = "clickhouse-password";
/// Bytes of a password that are read.
const MAX_PASSWORD: u64 = 4096;

impl Default for ClickHouseConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8123".into(),
            credentials: Credentials::default(),
            database: "flamekeeper".into(),
            cluster: None,
            user: "default".into(),
            password_file: None,
            query_time: Duration::from_secs(30),
            query_memory: 4 << 30,
        }
    }
}

/// A password that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the password of ClickHouse cannot be read from {}: {source}", path.display())]
pub struct PasswordError {
    path: PathBuf,
    source: std::io::Error,
}

impl ClickHouseConfig {
    /// The server, with the password as it is now.
    ///
    /// # Errors
    /// [`PasswordError`] where a file was named and cannot be read.
    pub fn server(&self) -> Result<ClickHouseServer, PasswordError> {
        let credential = || Some(Path::new(&std::env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL)).filter(|path| path.exists());
        let password = match self.password_file.clone().or_else(credential) {
            Some(path) => read_password(&path).map_err(|source| PasswordError { path, source })?,
            None => String::new(),
        };
        Ok(ClickHouseServer {
            url: self.url.clone(),
            credentials: self.credentials.clone(),
            database: self.database.clone(),
            user: self.user.clone(),
            password,
            query_time: self.query_time,
            query_memory: self.query_memory,
        })
    }
}

/// The first line of a file.
fn read_password(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_PASSWORD).read_to_string(&mut text)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// The table as written, and the flags: what is absent keeps its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct RawClickHouse {
    /// HTTP or https address of ClickHouse [default: http://127.0.0.1:8123]
    #[arg(long = "clickhouse-url", value_name = "URL", env = "FLAMEKEEPER_CLICKHOUSE_URL")]
    pub url: Option<HttpUrl>,
    /// File of certificates (PEM) that an https ClickHouse must be known by [default: those that this host trusts]
    #[arg(long = "clickhouse-ca", value_name = "FILE", env = "FLAMEKEEPER_CLICKHOUSE_CA")]
    pub ca: Option<PathBuf>,
    /// File with the certificate (PEM, with its chain) to show to a ClickHouse that asks for one
    #[arg(long = "clickhouse-client-cert", value_name = "FILE", env = "FLAMEKEEPER_CLICKHOUSE_CLIENT_CERT")]
    pub client_cert: Option<PathBuf>,
    /// File with that certificate's private key (PEM)
    #[arg(long = "clickhouse-client-key", value_name = "FILE", env = "FLAMEKEEPER_CLICKHOUSE_CLIENT_KEY")]
    pub client_key: Option<PathBuf>,
    /// Database of the profiles in ClickHouse [default: flamekeeper]
    #[arg(long = "clickhouse-database", value_name = "NAME", env = "FLAMEKEEPER_CLICKHOUSE_DATABASE")]
    pub database: Option<Name>,
    /// Cluster of ClickHouse: tables are replicated and distributed then [default: none, one server]
    #[arg(long = "clickhouse-cluster", value_name = "NAME", env = "FLAMEKEEPER_CLICKHOUSE_CLUSTER")]
    pub cluster: Option<Name>,
    /// User of ClickHouse [default: default]
    #[arg(long = "clickhouse-user", value_name = "NAME", env = "FLAMEKEEPER_CLICKHOUSE_USER")]
    pub user: Option<String>,
    /// File whose first line is that user's password [default: the systemd credential clickhouse-password, if it is there]
    #[arg(long = "clickhouse-password-file", value_name = "FILE", env = "FLAMEKEEPER_CLICKHOUSE_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
    /// Time that one query to ClickHouse may take [default: 30s]
    #[arg(long = "clickhouse-query-time", value_name = "TIME", env = "FLAMEKEEPER_CLICKHOUSE_QUERY_TIME")]
    pub query_time: Option<Span>,
    /// Memory of ClickHouse that one query may take [default: 4GiB]
    #[arg(long = "clickhouse-query-memory", value_name = "SIZE", env = "FLAMEKEEPER_CLICKHOUSE_QUERY_MEMORY")]
    pub query_memory: Option<ByteSize>,
}

impl RawClickHouse {
    /// What is written, over another configuration.
    pub(super) fn over(self, config: ClickHouseConfig) -> ClickHouseConfig {
        ClickHouseConfig {
            url: self.url.map_or(config.url, |url| url.0),
            credentials: Credentials { token_file: None, ca: self.ca, client_cert: self.client_cert, client_key: self.client_key }
                .over(config.credentials),
            database: self.database.map_or(config.database, |name| name.0),
            cluster: self.cluster.map(|name| name.0).or(config.cluster),
            user: self.user.unwrap_or(config.user),
            password_file: self.password_file.or(config.password_file),
            query_time: self.query_time.map_or(config.query_time, |time| time.0),
            query_memory: self.query_memory.map_or(config.query_memory, |bytes| bytes.0),
        }
    }
}

impl fmt::Display for ClickHouseConfig {
    /// As TOML; what is not set stands as a comment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[clickhouse]\nurl = {:?}\ndatabase = {:?}", self.url, self.database)?;
        let Credentials { ca, client_cert, client_key, .. } = &self.credentials;
        for (key, path) in [("ca", ca), ("client_cert", client_cert), ("client_key", client_key)] {
            match path {
                Some(path) => writeln!(f, "{key} = {:?}", path.display().to_string())?,
                None => writeln!(f, "# {key} = \"...\"")?,
            }
        }
        match &self.cluster {
            Some(cluster) => writeln!(f, "cluster = {cluster:?}")?,
            None => writeln!(f, "# cluster = \"...\"")?,
        }
        writeln!(f, "user = {:?}", self.user)?;
        match &self.password_file {
            Some(path) => writeln!(f, "password_file = {:?}", path.display().to_string())?,
            None => writeln!(f, "# password_file = \"...\"")?,
        }
        writeln!(f, "query_time = \"{}\"\nquery_memory = \"{}\"", Span(self.query_time), ByteSize(self.query_memory))
    }
}

/// The address of a server, `http://HOST[:PORT][/PATH]` or `https://`, without user and password.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HttpUrl(String);

impl FromStr for HttpUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let plain = |rest: &str| !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control() || "?#@".contains(c));
        if ["http://", "https://"].iter().any(|scheme| text.strip_prefix(scheme).is_some_and(plain)) {
            return Ok(Self(text.to_owned()));
        }
        Err(ValueError::new("an address such as \"https://clickhouse:8443\" (the user and the password have keys of their own)", text))
    }
}

impl TryFrom<String> for HttpUrl {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

/// A name that stands in statements: a letter or `_`, then those and digits, at most 64.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl FromStr for Name {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if starts && text.len() <= 64 && text.chars().all(inside) {
            return Ok(Self(text.to_owned()));
        }
        Err(ValueError::new("a name of letters, digits and _, which begins with a letter", text))
    }
}

impl TryFrom<String> for Name {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and addresses that could be something else in a statement or request are refused.
    #[test]
    fn names_are_names() {
        for bad in ["", "1a", "a b", "a`b", "a.b", "a-b", &"a".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert!("flame_keeper2".parse::<Name>().is_ok());
        for bad in ["ftp://a", "https://", "http://", "http://u:p@a", "http://a/?x=1", "a:8123"] {
            assert!(bad.parse::<HttpUrl>().is_err(), "{bad}");
        }
        for good in ["http://ch.example:8123/path", "https://ch.example:8443"] {
            assert!(good.parse::<HttpUrl>().is_ok(), "{good}");
        }
    }

    /// The first line of the file is the password; a file that was named and is not there is told.
    #[test]
    fn passwords_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "s3cret\nrest").unwrap();
        let config = ClickHouseConfig { password_file: Some(path), ..ClickHouseConfig::default() };
        let server = config.server().unwrap();
        assert_eq!(server.password, "s3cret");
        assert!(!format!("{server:?}").contains("s3cret"));
        let gone = ClickHouseConfig { password_file: Some(folder.path().join("x")), ..config };
        assert!(gone.server().unwrap_err().to_string().contains("cannot be read from"));
    }
}
