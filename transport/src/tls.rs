//! TLS of both sides, from files of PEM: rustls with ring, TLS 1.2 and 1.3.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore, ServerConfig};

use crate::{Credentials, PrivateError, Stamp, private};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates could not be read, or holds none.
    #[error("cannot read certificates from {path}: {error}", path = .path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        error: pem::Error,
    },
    /// A private key could not be.
    #[error("cannot read a private key from {path}: {error}", path = .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        error: pem::Error,
    },
    /// A private key is not kept as one.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// A certificate without its key, or the other way.
    #[error("{path} is of no use alone: a client's certificate and its private key belong together", path = .path.display())]
    Half {
        /// The one that is there.
        path: PathBuf,
    },
    /// This host trusts nobody.
    #[error("this host trusts no certificates, so that no https collector can be known: name a file of them (ca); {0}")]
    Nobody(String),
    /// A certificate or key is of no use.
    #[error("the certificates and key in {path} are of no use: {error}", path = .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: Error,
    },
    /// The certificates of clients cannot be verified.
    #[error("the certificates in {path} verify no clients: {error}", path = .path.display())]
    Verifier {
        /// The file.
        path: PathBuf,
        /// Why.
        error: VerifierBuilderError,
    },
    /// The library cannot be set up.
    #[error("cannot set TLS up: {0}")]
    Library(#[from] Error),
}

/// The files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// Its certificate, with the chain.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// Authorities: clients must show a certificate of one of them. None: clients show none.
    pub client_ca: Option<PathBuf>,
}

impl ServerFiles {
    /// What the files are now: where this differs from before, they are to be read again.
    #[must_use]
    pub fn stamps(&self) -> Vec<Option<Stamp>> {
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()].map(|path| path.and_then(|path| Stamp::of(path))).into()
    }

    /// The server's side.
    ///
    /// # Errors
    /// [`TlsError`] names the file that is of no use.
    pub fn read(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(authorities(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| TlsError::Verifier { path: path.clone(), error })?)
            }
        };
        let unusable = |error| TlsError::Unusable { path: self.cert.clone(), error };
        Ok(Arc::new(builder.with_single_cert(certificates(&self.cert)?, key(&self.key)?).map_err(unusable)?))
    }
}

/// The client's side: trusts the certificates of `ca`, else those of the host, and shows its own where it has one.
///
/// # Errors
/// [`TlsError`] names the file that is of no use.
pub fn client(credentials: &Credentials) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match &credentials.ca {
        Some(path) => authorities(path)?,
        None => of_this_host()?,
    };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?.with_root_certificates(roots);
    Ok(Arc::new(match (&credentials.client_cert, &credentials.client_key) {
        (Some(cert), Some(path)) => {
            let unusable = |error| TlsError::Unusable { path: cert.clone(), error };
            builder.with_client_auth_cert(certificates(cert)?, key(path)?).map_err(unusable)?
        }
        (Some(path), None) | (None, Some(path)) => return Err(TlsError::Half { path: path.clone() }),
        (None, None) => builder.with_no_client_auth(),
    }))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn of_this_host() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let host = rustls_native_certs::load_native_certs();
    // What a host trusts and this version cannot read is left out, as elsewhere.
    roots.add_parsable_certificates(host.certs);
    if roots.is_empty() {
        return Err(TlsError::Nobody(host.errors.first().map_or_else(String::new, ToString::to_string)));
    }
    Ok(roots)
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError::Unusable { path: path.into(), error })?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error| TlsError::Certificates { path: path.into(), error };
    let found = CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    if found.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(found) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let (text, _) = private::read(path)?;
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| TlsError::Key { path: path.into(), error })
}

/// Why a handshake failed, in words that say what to do where that is known.
#[must_use]
pub fn explain(error: &io::Error) -> String {
    use tokio_rustls::rustls::{AlertDescription, CertificateError};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let advice = match inner {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => "; name its authority (ca)",
        Some(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => "; renew it",
        Some(Error::AlertReceived(AlertDescription::CertificateRequired)) => "; show a certificate (client_cert, client_key)",
        Some(Error::InvalidMessage(_)) => "; is the address one of https?",
        _ => "",
    };
    format!("{error}{advice}")
}
