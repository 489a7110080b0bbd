//! Servers that are asked over https.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flamekeeper_collector::debuginfod::{Debuginfod, DebuginfodError, DebuginfodLimits, DebuginfodServers, TrustError};
use flamekeeper_profile::UnnamedReason;
use flamekeeper_symbolizer::{SymbolLimits, SymbolStore, Symbolized};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::fixture::{Asking, asking_in, debians, program, quick, run};

/// An authority's certificate, and the certificate and key of a server at 127.0.0.1 that it vouches for.
struct Certificates {
    ca: PathBuf,
    server: PathBuf,
    key: PathBuf,
}

fn certificates(folder: &Path) -> Certificates {
    let path = |name: &str| folder.join(name);
    let [ca, ca_key, request, server, key, extensions] =
        ["ca.pem", "ca.key", "request", "server.pem", "server.key", "extensions"].map(path);
    std::fs::write(&extensions, "subjectAltName = IP:127.0.0.1\n").unwrap();
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let authority = ["-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", &text(&ca_key), "-out", &text(&ca)];
    run("openssl", &[&new[..], &authority].concat());
    run("openssl", &[&new[..], &["-subj", "/CN=server", "-keyout", &text(&key), "-out", &text(&request)]].concat());
    let (ca_text, ca_key) = (text(&ca), text(&ca_key));
    let sign = ["x509", "-req", "-days", "2", "-in", &text(&request), "-CA", &ca_text, "-CAkey", &ca_key, "-CAcreateserial"];
    run("openssl", &[&sign[..], &["-extfile", &text(&extensions), "-out", &text(&server)]].concat());
    Certificates { ca, server, key }
}

/// Takes secure connections for a server that has none of its own, one request in each. The port, and how many it took.
fn before(url: &str, certificates: &Certificates) -> (u16, Arc<AtomicU64>) {
    let chain = CertificateDer::pem_file_iter(&certificates.server).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&certificates.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (target, taken) = (url.strip_prefix("http://").unwrap().to_owned(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&taken);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (config, target) = (Arc::clone(&config), target.clone());
            count.fetch_add(1, Ordering::Relaxed);
            // Who does not trust the certificate says so and leaves, which is an error here.
            std::thread::spawn(move || _ = forward(stream.unwrap(), config, &target));
        }
    });
    (port, taken)
}

fn forward(stream: TcpStream, config: Arc<ServerConfig>, target: &str) -> std::io::Result<()> {
    let mut secure = StreamOwned::new(ServerConnection::new(config).map_err(std::io::Error::other)?, stream);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        secure.read_exact(&mut byte)?;
        request.extend(byte);
    }
    request.truncate(request.len() - 2);
    let mut plain = TcpStream::connect(target)?;
    plain.write_all(&[&*request, b"Connection: close\r\n\r\n"].concat())?;
    std::io::copy(&mut plain, &mut secure)?;
    secure.conn.send_close_notify();
    secure.flush()
}

fn secure(url: String, ca: Option<&Path>) -> Asking {
    let servers = DebuginfodServers { urls: vec![url], ca: ca.map(Path::to_owned), ahead: false };
    asking_in(Arc::new(tempfile::tempdir().unwrap()), &servers, quick())
}

/// Debian's server behind TLS: asked where an authority that the configuration names vouches for it, and for its name; else nothing is
/// believed that it says.
#[tokio::test(flavor = "multi_thread")]
async fn https() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path());
    let (_server, url) = debians(&program).await;
    let certificates = certificates(folder.path());
    let (port, taken) = before(&url, &certificates);

    let asking = secure(format!("https://127.0.0.1:{port}"), Some(&certificates.ca));
    assert_eq!(asking.lookup(&program), Symbolized::Unknown(UnnamedReason::NoSymbols));
    asking.until("found", |counts| counts == [1, 0, 0]).await;
    let Symbolized::Frames(frames) = asking.lookup(&program) else { panic!("no names") };
    assert_eq!(&*frames.last().unwrap().function, "main");
    assert!(taken.load(Ordering::Relaxed) > 0);

    for (url, ca) in [(format!("https://127.0.0.1:{port}"), None), (format!("https://localhost:{port}"), Some(&*certificates.ca))] {
        let asking = secure(url.clone(), ca);
        asking.lookup(&program);
        asking.until(&url, |counts| counts == [0, 0, 1]).await;
        assert_eq!(asking.store.objects(), 0, "{url}");
    }
}

/// A file of certificates that is not there, or holds none, and an address with a password are told at the start.
#[test]
fn told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SymbolStore::open(&folder.path().join("symbols"), SymbolLimits::default()).unwrap());
    let start = |url: &str, ca: Option<PathBuf>| {
        let servers = DebuginfodServers { urls: vec![url.to_owned()], ca, ahead: false };
        Debuginfod::new(&servers, &folder.path().join("fetched"), Arc::clone(&store), DebuginfodLimits::default())
    };
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate\n").unwrap();
    for file in [folder.path().join("nowhere.pem"), empty] {
        let error = start("https://127.0.0.1", Some(file.clone())).unwrap_err();
        assert!(matches!(error, DebuginfodError::Trust(TrustError::File { .. })), "{error}");
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
    let error = start("http://me:word@127.0.0.1", None).unwrap_err();
    assert!(matches!(error, DebuginfodError::Address(_)), "{error}");
}
