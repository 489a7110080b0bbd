//! The collector's certificate, read again when its files change.

use std::sync::{Arc, PoisonError, RwLock};

use flamekeeper_transport::tls::ServerFiles;
use flamekeeper_transport::{Stamp, TlsError};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// TLS as it is spoken now.
#[derive(Debug)]
pub(crate) struct Tls {
    files: ServerFiles,
    read: RwLock<(Vec<Option<Stamp>>, Arc<ServerConfig>)>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] names the file that is of no use.
    pub(crate) fn read(files: ServerFiles) -> Result<Self, TlsError> {
        let stamps = files.stamps();
        let config = files.read()?;
        Ok(Self { files, read: RwLock::new((stamps, config)) })
    }

    /// For a connection that begins now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.read.read().unwrap_or_else(PoisonError::into_inner).1))
    }

    /// Reads the files again where they have changed. Those that are of no use change nothing: certificate and key are often
    /// exchanged one after the other.
    pub(crate) fn refresh(&self) {
        let stamps = self.files.stamps();
        if self.read.read().unwrap_or_else(PoisonError::into_inner).0 == stamps {
            return;
        }
        let read = self.files.read();
        let mut held = self.read.write().unwrap_or_else(PoisonError::into_inner);
        held.0 = stamps;
        match read {
            Ok(config) => {
                held.1 = config;
                tracing::info!("the certificate was read again");
            }
            Err(error) => tracing::error!(%error, "the new certificate is of no use; the one before is served"),
        }
    }
}
