//! Certificates of an authority of the test's own, made by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::require;

/// An authority.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How long a certificate holds, as openssl-ca(1) takes it.
#[derive(Clone, Copy, Debug)]
pub enum Valid {
    /// Now.
    Now,
    /// In the past.
    Once,
}

/// What openssl-ca(1) needs to know of an authority.
const SETTINGS: &str = "\
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
policy = names
unique_subject = no
[names]
commonName = supplied
";

impl Authority {
    /// Makes one in a folder of its own.
    ///
    /// # Panics
    /// When openssl does not make it.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let made = std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(folder.join("ca.cnf"), SETTINGS))
            .and_then(|()| std::fs::write(folder.join("index.txt"), ""))
            .and_then(|()| std::fs::write(folder.join("serial"), "01\n"));
        made.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let authority = Self { folder: folder.into() };
        // Two of the same name could not be told apart by whoever verifies.
        let subject = format!("/CN=authority {}", folder.file_name().unwrap_or_default().display());
        authority.openssl(&["req", "-x509", "-days", "2", "-subj", &subject, "-keyout", "ca.key", "-out", "ca.pem"], true);
        authority
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Vouches for a server at 127.0.0.1, or for a client.
    ///
    /// # Panics
    /// When openssl does not.
    #[must_use]
    pub fn vouch(&self, name: &str, valid: Valid) -> Certificate {
        let [key, request, cert, extensions] = ["key", "req", "pem", "ext"].map(|ending| format!("{name}.{ending}"));
        let text = "subjectAltName = IP:127.0.0.1\nbasicConstraints = CA:FALSE\n";
        std::fs::write(self.folder.join(&extensions), text).unwrap_or_else(|error| panic!("{extensions}: {error}"));
        self.openssl(&["req", "-subj", &format!("/CN={name}"), "-keyout", &key, "-out", &request], true);
        let times: &[&str] = match valid {
            Valid::Now => &["-days", "2"],
            Valid::Once => &["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"],
        };
        let sign = ["ca", "-batch", "-notext", "-config", "ca.cnf", "-extfile", &extensions, "-in", &request, "-out", &cert];
        self.openssl(&[&sign[..], times].concat(), false);
        Certificate { cert: self.folder.join(cert), key: self.folder.join(key) }
    }

    fn openssl(&self, arguments: &[&str], new_key: bool) {
        let mut command = Command::new(require("openssl"));
        command.args(arguments).current_dir(&self.folder);
        if new_key {
            command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        }
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
