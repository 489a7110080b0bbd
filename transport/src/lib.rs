//! What stands between agents, people and the collector: tokens, TLS, and an HTTP client that uses both.
//!
//! Secrets are read from files that not everybody may read ([`private`]), and read again when they change: a token or a certificate
//! is exchanged without a restart.

mod client;
mod connect;
pub mod names;
pub mod private;
mod scope;
mod stamp;
pub mod tls;
mod token;

pub use client::{Answer, Client, ClientError, ExchangeError};
pub use connect::ConnectError;
pub use private::PrivateError;
pub use scope::{ParseScopeError, Scope, Scopes};
pub use stamp::Stamp;
pub use tls::TlsError;
pub use token::{ParseTokenError, Token, TokenError, TokenFile, lines as token_lines};

use std::path::PathBuf;

/// What a program shows to the collector that it talks to, and by what it knows that one.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Credentials {
    /// File whose first line is the token to show to the collector [default: the systemd credential collector-token, if it is there]
    #[arg(long, value_name = "FILE", env = "FLAMEKEEPER_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// File of certificates (PEM): an https collector must be known by one of these [default: those that this host trusts]
    #[arg(long, value_name = "FILE", env = "FLAMEKEEPER_CA")]
    pub ca: Option<PathBuf>,
    /// File with the certificate (PEM, with its chain) to show to a collector that asks for one
    #[arg(long, value_name = "FILE", env = "FLAMEKEEPER_CLIENT_CERT", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// File with that certificate's private key (PEM)
    #[arg(long, value_name = "FILE", env = "FLAMEKEEPER_CLIENT_KEY", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
}

/// The name of the systemd credential with the token of an agent or of the command line (`LoadCredential=`, systemd.exec(5)).
pub const TOKEN_CREDENTIAL: &str = "collector-token";

/// The file of a systemd credential, where this process was given it.
#[must_use]
pub fn systemd_credential(name: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|directory| directory.is_absolute())?;
    Some(directory.join(name)).filter(|path| path.exists())
}

impl Credentials {
    /// These, over others: what is absent here is taken from there.
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        Self {
            token_file: self.token_file.or(other.token_file),
            ca: self.ca.or(other.ca),
            client_cert: self.client_cert.or(other.client_cert),
            client_key: self.client_key.or(other.client_key),
        }
    }

    /// The same, with the systemd credential [`TOKEN_CREDENTIAL`] in the place of a token's file that is not named.
    #[must_use]
    pub fn with_systemd(mut self) -> Self {
        self.token_file = self.token_file.or_else(|| systemd_credential(TOKEN_CREDENTIAL));
        self
    }
}
