//! The real server on a free port and in a directory of its own, and a client that writes its requests byte by byte.
#![allow(dead_code)] // Each test program uses a part of it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use flamekeeper_collector::Server;
use flamekeeper_collector::config::Config;
use tokio::sync::oneshot;

pub(crate) const PROFILES: &str = "/v1development/profiles";

/// A running collector.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Collector {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(Config { listen: "127.0.0.1:0".parse().unwrap(), data_dir: folder.into(), ..Config::default() })
    }

    pub(crate) fn start_with(config: Config) -> Self {
        let server = Server::bind(config).unwrap();
        let address = server.address();
        let (shutdown, ended) = oneshot::channel();
        let run = move || server.run(async move { _ = ended.await });
        Self { address, shutdown: Some(shutdown), thread: Some(std::thread::spawn(run)) }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send("POST", PROFILES, headers, body)
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = self.head(method, path, headers);
        request += &format!("Content-Length: {}\r\n\r\n", body.len());
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.raw(&bytes)
    }

    pub(crate) fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends bytes and reads the answer. One that answers and closes before it has read everything is understood.
    pub(crate) fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        _ = stream.write_all(request);
        Answer::read(stream)
    }

    /// Sends bytes, says that nothing more will come, and reads the answer.
    pub(crate) fn cut(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        Answer::read(stream)
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        self.get("/api/v1/status").json()
    }
}

/// An answer; status 0 where none came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        // The peer may reset the connection after its answer when it has not read the whole body.
        _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |end| end + 4);
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head, body: bytes[end..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = |line: &'_ str| line.split_once(": ").filter(|(key, _)| *key == name).map(|(_, value)| value.len());
        let line = self.head.lines().find(|line| value(line).is_some());
        line.and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Requires one of these statuses, and an error in words.
    pub(crate) fn refused(&self, status: &[u16], what: &str) {
        assert!(status.contains(&self.status), "{what}: {} {}", self.head, String::from_utf8_lossy(&self.body));
        let error = self.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(error.len() > 10, "{what}: the error says nothing: {error:?}");
    }
}
