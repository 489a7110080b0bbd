use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use super::*;
use crate::spool;

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What the server does with a request.
pub(crate) enum Act {
    /// Answers with this text.
    Answer(String),
    /// Closes the connection without an answer.
    Reset,
    /// Keeps the connection and says nothing.
    Stall,
}

pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Act {
    Act::Answer(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()))
}

/// A real HTTP server on a real port that follows a script.
pub(crate) struct Server {
    pub(crate) address: CollectorAddress,
    pub(crate) requests: mpsc::Receiver<Request>,
    stop: Arc<AtomicBool>,
    port: u16,
}

impl Server {
    pub(crate) fn start(script: impl FnMut(&Request) -> Act + Send + 'static) -> Self {
        Self::start_on(0, script)
    }

    pub(crate) fn start_on(port: u16, script: impl FnMut(&Request) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, requests) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (script, stopped) = (Arc::new(Mutex::new(script)), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (script, sender, stopped) = (Arc::clone(&script), sender.clone(), Arc::clone(&stopped));
                std::thread::spawn(move || serve(&stream.unwrap(), &*script, &sender, &stopped));
            }
        });
        Self { address: format!("http://127.0.0.1:{port}").parse().unwrap(), requests, stop, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: &TcpStream, script: &Mutex<impl FnMut(&Request) -> Act>, sender: &mpsc::Sender<Request>, stop: &AtomicBool) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let act = (script.lock().unwrap())(&request);
        _ = sender.send(request);
        match act {
            Act::Answer(text) => (&mut &*stream).write_all(text.as_bytes()).unwrap(),
            Act::Reset => return,
            Act::Stall => std::thread::sleep(Duration::from_secs(60)),
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim_end().is_empty() {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let headers: HashMap<_, _> =
        lines[1..].iter().map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Request { line: lines[0].clone(), headers, body })
}

struct Setup {
    _dir: tempfile::TempDir,
    spool: Arc<Spool>,
    progress: Arc<Progress>,
}

fn setup(batches: u64) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::open(dir.path(), 1 << 20, "").unwrap());
    (1..=batches).for_each(|taken| drop(spool.push(spool::tests::batch(taken, 0)).unwrap()));
    Setup { _dir: dir, spool, progress: Arc::default() }
}

/// Runs the shipper until the spool is empty, or panics after a time; then drains.
fn ship(setup: &Setup, address: &CollectorAddress, within: Duration) {
    ship_with(setup, address, &Credentials::default(), within);
}

fn ship_with(setup: &Setup, address: &CollectorAddress, credentials: &Credentials, within: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let shipper = Shipper::new(Arc::clone(&setup.spool), address, credentials, Arc::clone(&setup.progress)).unwrap();
        let (phase, phases) = watch::channel(Phase::Running);
        let running = tokio::spawn(shipper.run(phases));
        let deadline = Instant::now() + within;
        while setup.spool.stats().batches > 0 {
            assert!(Instant::now() < deadline, "{:?}", setup.spool.stats());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        phase.send(Phase::Draining(Instant::now())).unwrap();
        running.await.unwrap();
    });
}

const ACCEPTED: &str = "flamekeeper-batch: accepted\r\n";

/// Batches go out in order with their identity and their encoding, and leave the spool when taken.
#[test]
fn ships_in_order() {
    let mut count = 0;
    let server = Server::start(move |_| {
        count += 1;
        answer("200 OK", if count == 2 { "flamekeeper-batch: duplicate\r\n" } else { ACCEPTED }, "")
    });
    let setup = setup(3);
    let agent = setup.spool.agent();
    ship(&setup, &server.address, Duration::from_secs(10));
    let requests: Vec<_> = server.requests.try_iter().collect();
    let keys: Vec<_> = requests.iter().map(|request| request.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys, [0, 1, 2].map(|sequence| format!("{agent}-{sequence}")));
    let first = &requests[0];
    assert_eq!(first.line, "POST /v1development/profiles HTTP/1.1");
    assert_eq!((&*first.headers["content-encoding"], &*first.headers["content-type"]), ("gzip", "application/x-protobuf"));
    let check = flamekeeper_wire::BatchCheck::of(&keys[0].parse().unwrap(), "gzip", &first.body);
    assert!(check.is(first.headers["flamekeeper-check"].as_bytes()));
    let body = flamekeeper_wire::gzip::decompress(&first.body, 1 << 20).unwrap();
    assert_eq!(flamekeeper_wire::decode(&body, &flamekeeper_wire::Limits::default()).unwrap().ledger.taken, 1);
    let progress = &setup.progress;
    assert_eq!((Progress::get(&progress.batches_accepted), Progress::get(&progress.batches_duplicate)), (2, 1));
}

/// Pressure, resets and odd answers delay a batch; the same identity comes again until it is taken.
#[test]
fn retries_until_taken() {
    let mut count = 0;
    let server = Server::start(move |_| {
        count += 1;
        match count {
            1 => answer("503 Service Unavailable", "retry-after: 1\r\n", "busy"),
            2 => Act::Reset,
            3 => answer("404 Not Found", "", "no such page"),
            4 => answer("302 Found", "location: http://127.0.0.1:1/\r\n", ""),
            _ => answer("200 OK", ACCEPTED, ""),
        }
    });
    let setup = setup(1);
    let start = Instant::now();
    ship(&setup, &server.address, Duration::from_secs(30));
    assert!(start.elapsed() >= Duration::from_secs(1), "Retry-After was not kept");
    let keys: Vec<_> = server.requests.try_iter().map(|request| request.headers["idempotency-key"].clone()).collect();
    // The client itself may repeat a request whose pooled connection was closed.
    assert!(keys.len() >= 5 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

/// What is refused for good, twice, is counted, and the next batch carries the count. What is refused once was damaged on the way.
#[test]
fn refusals_are_counted() {
    for status in ["400 Bad Request", "413 Payload Too Large", "422 Unprocessable Entity"] {
        let mut count = 0;
        let server = Server::start(move |_| {
            count += 1;
            if [1, 2, 4].contains(&count) { answer(status, "", "{\"error\": \"no\"}") } else { answer("200 OK", ACCEPTED, "") }
        });
        let setup = setup(3);
        ship(&setup, &server.address, Duration::from_secs(10));
        assert_eq!(Progress::get(&setup.progress.batches_refused), 1);
        let owed = setup.spool.stats().owed;
        assert_eq!((owed.taken, owed.lost(flamekeeper_profile::LossReason::Refused)), (1, 1));
    }
}

/// A collector that comes late gets everything.
#[test]
fn collector_that_starts_late() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let setup = setup(3);
    let address: CollectorAddress = format!("http://127.0.0.1:{port}").parse().unwrap();
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1200));
        Server::start_on(port, |_| answer("200 OK", ACCEPTED, ""))
    });
    ship(&setup, &address, Duration::from_secs(20));
    assert_eq!(late.join().unwrap().requests.try_iter().count(), 3);
    assert!(setup.progress.reachable.load(Ordering::Relaxed));
}

/// A collector that stalls, or is not there, does not hold up the end beyond its time.
#[test]
fn ends_in_time() {
    let stalling = Server::start(|_| Act::Stall);
    for address in [stalling.address.clone(), "http://127.0.0.1:1".parse().unwrap()] {
        let setup = setup(2);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let start = std::time::Instant::now();
        runtime.block_on(async {
            let shipper = Shipper::new(Arc::clone(&setup.spool), &address, &Credentials::default(), Arc::clone(&setup.progress)).unwrap();
            let (phase, phases) = watch::channel(Phase::Running);
            let running = tokio::spawn(shipper.run(phases));
            tokio::time::sleep(Duration::from_millis(300)).await;
            phase.send(Phase::Draining(Instant::now() + Duration::from_millis(500))).unwrap();
            running.await.unwrap();
        });
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert_eq!(setup.spool.stats().batches, 2);
    }
}

/// A collector that wants another token gets no batch and loses none: they wait in the spool, and go out as soon as the token's file
/// has another. A file that is not there, or that everybody may read, waits in the same way.
#[test]
fn waits_for_the_right_token() {
    use std::os::unix::fs::PermissionsExt as _;
    let [wrong, right] = ["w", "r"].map(|letter| letter.repeat(40));
    let expected = format!("Bearer {right}");
    let server = Server::start(move |request| match request.headers.get("authorization") {
        Some(shown) if *shown == expected => answer("200 OK", ACCEPTED, ""),
        Some(_) => answer("403 Forbidden", "", "{\"error\": \"the scope is missing\"}"),
        None => answer("401 Unauthorized", "", "{\"error\": \"no token\"}"),
    });
    let setup = setup(2);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let write = move |text: &str, mode| {
        let new = file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::rename(new, &file).unwrap();
    };
    let credentials = Credentials { token_file: Some(folder.path().join("token")), ..Credentials::default() };
    write(&right, 0o644);
    let progress = Arc::clone(&setup.progress);
    let exchange = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(Progress::get(&progress.requests_denied), 0, "the collector is not asked with a token that is no secret");
        write(&wrong, 0o600);
        let start = std::time::Instant::now();
        while Progress::get(&progress.requests_denied) == 0 {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(20));
        }
        write(&right, 0o600);
    });
    ship_with(&setup, &server.address, &credentials, Duration::from_secs(120));
    exchange.join().unwrap();
    assert_eq!(Progress::get(&setup.progress.batches_accepted), 2);
    assert_eq!(Progress::get(&setup.progress.batches_refused), 0);
    assert!(setup.spool.stats().owed.is_empty() && setup.progress.reachable.load(Ordering::Relaxed));
}
