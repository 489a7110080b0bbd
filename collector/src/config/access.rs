//! The table `[access]`: who is let in, and by what the collector is known.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use axum::http::HeaderName;
use flamekeeper_transport::tls::ServerFiles;
use flamekeeper_transport::{Scope, Scopes};
use serde::Deserialize;

use super::value::ValueError;

/// Who is let in. By default nobody is asked for anything, which is refused beyond the loopback interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessConfig {
    /// Where tokens are, and what each lets its bearer do.
    pub tokens: Vec<TokenSource>,
    /// A header by which a reverse proxy says who asks.
    pub trusted_header: Option<HeaderText>,
    /// From where that header is believed.
    pub trusted_peers: Vec<Network>,
    /// What such people may do.
    pub trusted_scopes: Option<Scopes>,
    /// The certificate (PEM, with its chain) that https is served with.
    pub tls_cert: Option<PathBuf>,
    /// Its private key.
    pub tls_key: Option<PathBuf>,
    /// Authorities: whoever connects must show a certificate of one of them.
    pub client_ca: Option<PathBuf>,
    /// Whether everybody who reaches the address is let in, wherever it is.
    pub insecure_listen: bool,
}

/// Settings that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// One of two files.
    #[error("tls_cert and tls_key belong together: set both or none")]
    HalfTls,
    /// An authority without TLS.
    #[error("client_ca asks for certificates, which needs tls_cert and tls_key")]
    ClientsWithoutTls,
    /// A header without the proxy that sets it.
    #[error("trusted_header is believed from trusted_peers only: name the addresses of the reverse proxy, such as [\"127.0.0.1\"]")]
    NoPeers,
    /// The other way round.
    #[error("trusted_peers and trusted_scopes say nothing without trusted_header")]
    NoHeader,
    /// Two of the same name.
    #[error("two tokens are called {0:?}: messages could not tell which")]
    SameName(String),
    /// Open to others.
    #[error(
        "{0} can be reached by other hosts, and nothing protects it: add tokens, client_ca or trusted_header to [access] (docs/security.md), \
         listen on 127.0.0.1, or let everybody in by --insecure-listen"
    )]
    Unprotected(SocketAddr),
}

impl AccessConfig {
    /// The files of TLS; none without it.
    ///
    /// # Errors
    /// [`AccessError`] where some are missing.
    pub fn tls(&self) -> Result<Option<ServerFiles>, AccessError> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Ok(Some(ServerFiles { cert: cert.clone(), key: key.clone(), client_ca: self.client_ca.clone() })),
            (None, None) if self.client_ca.is_some() => Err(AccessError::ClientsWithoutTls),
            (None, None) => Ok(None),
            _ => Err(AccessError::HalfTls),
        }
    }

    /// Whether every request must show who it is from.
    #[must_use]
    pub const fn is_asked(&self) -> bool {
        !self.tokens.is_empty() || self.trusted_header.is_some()
    }

    /// Whether these fit together, and to the address.
    ///
    /// # Errors
    /// [`AccessError`] says what to do.
    pub fn check(&self, listen: SocketAddr) -> Result<(), AccessError> {
        self.tls()?;
        match &self.trusted_header {
            Some(_) if self.trusted_peers.is_empty() => return Err(AccessError::NoPeers),
            None if !self.trusted_peers.is_empty() || self.trusted_scopes.is_some() => return Err(AccessError::NoHeader),
            _ => {}
        }
        let names = || self.tokens.iter().map(|token| &token.name);
        if let Some(twice) = names().enumerate().find_map(|(place, name)| names().take(place).any(|other| other == name).then_some(name)) {
            return Err(AccessError::SameName(twice.clone()));
        }
        if listen.ip().to_canonical().is_loopback() || self.is_asked() || self.client_ca.is_some() || self.insecure_listen {
            Ok(())
        } else {
            Err(AccessError::Unprotected(listen))
        }
    }

    /// What protects an address, in words.
    #[must_use]
    pub fn protection(&self, listen: SocketAddr) -> String {
        let mut by = Vec::new();
        if self.tls_cert.is_some() {
            by.push("TLS".to_owned());
        }
        if self.client_ca.is_some() {
            by.push("client certificates".to_owned());
        }
        match self.tokens.len() {
            0 => {}
            1 => by.push("1 token".to_owned()),
            several => by.push(format!("{several} tokens")),
        }
        by.extend(self.trusted_header.as_ref().map(|header| format!("the header {} of a proxy", header.0)));
        let who = match by.len() {
            0 if listen.ip().to_canonical().is_loopback() => return "every user of this host is let in, nobody else".to_owned(),
            0 => return "EVERYBODY who reaches it is let in, unencrypted (--insecure-listen)".to_owned(),
            _ if self.is_asked() || self.client_ca.is_some() => "",
            _ if listen.ip().to_canonical().is_loopback() => ", every user of this host is let in",
            _ => ", EVERYBODY who reaches it is let in (--insecure-listen)",
        };
        format!("protected by {}{who}", by.join(", "))
    }
}

/// Tokens that let their bearers do the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawToken")]
pub struct TokenSource {
    /// What messages call it.
    pub name: String,
    /// Where its lines are.
    pub place: TokenPlace,
    /// What it is good for.
    pub scopes: Scopes,
}

/// Where tokens are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// In a file.
    File(PathBuf),
    /// In a systemd credential of this name (`LoadCredential=`).
    Credential(String),
}

/// An entry of `[[access.tokens]]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToken {
    name: String,
    file: Option<PathBuf>,
    credential: Option<String>,
    scopes: Vec<Scope>,
}

impl TryFrom<RawToken> for TokenSource {
    type Error = String;

    fn try_from(raw: RawToken) -> Result<Self, String> {
        let named =
            |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !named(&raw.name) {
            return Err("expected a name of 1 to 64 letters, digits, - _ and .".to_owned());
        }
        let place = match (raw.file, raw.credential) {
            (Some(file), None) => TokenPlace::File(file),
            (None, Some(name)) if named(&name) && !name.starts_with('.') => TokenPlace::Credential(name),
            _ => return Err("expected either file = \"/path\" or credential = \"name of a systemd credential\"".to_owned()),
        };
        if raw.scopes.is_empty() {
            return Err("expected scopes of ingest, read, symbols and admin, such as [\"read\"]".to_owned());
        }
        Ok(Self { name: raw.name, place, scopes: raw.scopes.into_iter().collect() })
    }
}

/// The name of a header, in lower case; not one by which other things are told.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HeaderText(pub String);

impl FromStr for HeaderText {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let name = HeaderName::from_bytes(text.as_bytes()).ok();
        let name = name.filter(|name| !["authorization", "cookie", "host", "origin", "content-length"].contains(&name.as_str()));
        name.map(|name| Self(name.as_str().to_owned()))
            .ok_or_else(|| ValueError::new("the name of a header, such as \"X-Remote-User\"", text))
    }
}

impl TryFrom<String> for HeaderText {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

/// Addresses: one, or those that share their first bits. Text: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether an address is one of these. One of version 4 that is written as one of version 6 is the same address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, other) = (wide(self.address), wide(address.to_canonical()));
        // Version 4 has 32 bits, which are the first here.
        self.address.is_ipv4() == address.to_canonical().is_ipv4() && (own ^ other).leading_zeros() >= u32::from(self.bits)
    }
}

/// The bits of an address, the first bit on the left.
fn wide(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl FromStr for Network {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::new("an address or a network, such as \"127.0.0.1\" or \"10.0.0.0/8\"", text);
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).ok().filter(|bits| *bits <= most).ok_or_else(wrong)?;
        Ok(Self { address, bits })
    }
}

impl TryFrom<String> for Network {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// The table as written, and the flags: what is absent keeps its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct RawAccess {
    /// See [`AccessConfig::tokens`].
    #[arg(skip)]
    pub tokens: Option<Vec<TokenSource>>,
    /// See [`AccessConfig::trusted_header`].
    #[arg(skip)]
    pub trusted_header: Option<HeaderText>,
    /// See [`AccessConfig::trusted_peers`].
    #[arg(skip)]
    pub trusted_peers: Option<Vec<Network>>,
    /// See [`AccessConfig::trusted_scopes`].
    #[arg(skip)]
    pub trusted_scopes: Option<Vec<Scope>>,
    /// Certificate (PEM, with its chain) to serve https with [default: plain HTTP]
    #[arg(long, value_name = "FILE", env = "FLAMEKEEPER_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", env = "FLAMEKEEPER_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Certificates (PEM) of authorities: whoever connects must show a certificate of one of them [default: nobody need show one]
    #[arg(long, value_name = "FILE", env = "FLAMEKEEPER_CLIENT_CA")]
    pub client_ca: Option<PathBuf>,
    /// Let everybody in who reaches an address beyond the loopback interface, where nothing else protects it
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", env = "FLAMEKEEPER_INSECURE_LISTEN")]
    pub insecure_listen: Option<bool>,
}

impl RawAccess {
    /// What is written, over another configuration.
    pub(super) fn over(self, config: AccessConfig) -> AccessConfig {
        AccessConfig {
            tokens: self.tokens.unwrap_or(config.tokens),
            trusted_header: self.trusted_header.or(config.trusted_header),
            trusted_peers: self.trusted_peers.unwrap_or(config.trusted_peers),
            trusted_scopes: self.trusted_scopes.map(Scopes::from_iter).or(config.trusted_scopes),
            tls_cert: self.tls_cert.or(config.tls_cert),
            tls_key: self.tls_key.or(config.tls_key),
            client_ca: self.client_ca.or(config.client_ca),
            insecure_listen: self.insecure_listen.unwrap_or(config.insecure_listen),
        }
    }
}

impl fmt::Display for AccessConfig {
    /// As TOML; what is not set is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |scopes: Scopes| scopes.iter().map(|scope| format!("{:?}", scope.as_str())).collect::<Vec<_>>().join(", ");
        writeln!(f, "[access]\ninsecure_listen = {}", self.insecure_listen)?;
        let files = [("tls_cert", &self.tls_cert), ("tls_key", &self.tls_key), ("client_ca", &self.client_ca)];
        for (key, path) in files.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?))) {
            writeln!(f, "{key} = {:?}", path.display().to_string())?;
        }
        if let Some(header) = &self.trusted_header {
            let peers: Vec<_> = self.trusted_peers.iter().map(|peer| format!("\"{peer}\"")).collect();
            writeln!(f, "trusted_header = {:?}\ntrusted_peers = [{}]", header.0, peers.join(", "))?;
        }
        if let Some(scopes) = self.trusted_scopes {
            writeln!(f, "trusted_scopes = [{}]", list(scopes))?;
        }
        for token in &self.tokens {
            writeln!(f, "[[access.tokens]]\nname = {:?}", token.name)?;
            match &token.place {
                TokenPlace::File(path) => writeln!(f, "file = {:?}", path.display().to_string())?,
                TokenPlace::Credential(name) => writeln!(f, "credential = {name:?}")?,
            }
            writeln!(f, "scopes = [{}]", list(token.scopes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network holds its addresses, in both ways of writing them, and no others.
    #[test]
    fn networks() {
        let network = |text: &str| text.parse::<Network>().unwrap();
        let cases = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "::1", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe80::1", false),
        ];
        for (text, address, inside) in cases {
            assert_eq!(network(text).contains(address.parse().unwrap()), inside, "{text} {address}");
            assert_eq!(network(&network(text).to_string()), network(text));
        }
        for wrong in ["10.0.0.0/33", "::/129", "10.0/8", "", "x/8", "1.2.3.4/"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    /// Nothing is open to other hosts unless something protects it, or it is said; half a setting is told.
    #[test]
    fn openness() {
        let far: SocketAddr = "0.0.0.0:4040".parse().unwrap();
        let check = |change: &dyn Fn(&mut AccessConfig), listen: SocketAddr| {
            let mut config = AccessConfig::default();
            change(&mut config);
            config.check(listen)
        };
        assert_eq!(check(&|_| {}, far), Err(AccessError::Unprotected(far)));
        assert!(AccessError::Unprotected(far).to_string().contains("--insecure-listen"));
        for near in ["127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(check(&|_| {}, near.parse().unwrap()), Ok(()), "{near}");
        }
        let tls = |config: &mut AccessConfig| (config.tls_cert, config.tls_key) = (Some("c".into()), Some("k".into()));
        assert_eq!(check(&tls, far), Err(AccessError::Unprotected(far)), "TLS alone lets everybody in");
        assert_eq!(check(&|config| config.insecure_listen = true, far), Ok(()));
        let clients = |config: &mut AccessConfig| config.client_ca = Some("a".into());
        assert_eq!(check(&clients, far), Err(AccessError::ClientsWithoutTls));
        let both = |config: &mut AccessConfig| {
            tls(config);
            clients(config);
        };
        assert_eq!(check(&both, far), Ok(()));
        assert_eq!(check(&|config| config.tls_key = Some("k".into()), far), Err(AccessError::HalfTls));
        let header = |config: &mut AccessConfig| config.trusted_header = Some("X-User".parse().unwrap());
        assert_eq!(check(&header, far), Err(AccessError::NoPeers));
        let proxy = |config: &mut AccessConfig| {
            header(config);
            config.trusted_peers = vec!["10.0.0.1".parse().unwrap()];
        };
        assert_eq!(check(&proxy, far), Ok(()));
        assert_eq!(check(&|config| config.trusted_scopes = Some(Scopes::all()), far), Err(AccessError::NoHeader));
        assert!("Cookie".parse::<HeaderText>().is_err() && "a b".parse::<HeaderText>().is_err());
    }
}
