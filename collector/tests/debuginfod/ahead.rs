//! What is asked for before a query wants it, and what is not asked for again.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flamekeeper_collector::debuginfod::{DebuginfodLimits, DebuginfodServers};
use flamekeeper_collector::ingest::{Accepted, IngestLimits, IngestState, Uploads, ingest_routes};
use flamekeeper_collector::store::{EmbeddedStore, Store, StoreLimits};
use flamekeeper_profile::{
    AgentFigures, Batch, BuildId, FrameKind, Labels, Ledger, SampleType, Series, StackEnd, Svma, Tables, Timestamp, Window,
};
use flamekeeper_symbolizer::{Symbolize as _, Symbolized};

use crate::fixture::{Asking, Program, answering, asking_in, debians, program, quick};

const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
/// Two artifacts are asked for of an object without symbols.
const REQUESTS: u64 = 2;

fn asked(folder: &Arc<tempfile::TempDir>, url: &str, ahead: bool, limits: DebuginfodLimits) -> Asking {
    asking_in(Arc::clone(folder), &DebuginfodServers { urls: vec![url.to_owned()], ca: None, ahead }, limits)
}

fn id(hex: &str) -> BuildId {
    format!("gnu:{hex}").parse().unwrap()
}

fn look_up(asking: &Asking, id: &BuildId) {
    asking.debuginfod.symbolize(Some(id), "/bin/program", Svma(0x1000));
}

fn seen(ids: &[BuildId]) -> Tables {
    let mut tables = Tables::new();
    ids.iter().for_each(|id| _ = tables.intern_object(Some(id.clone()), "/bin/program"));
    tables
}

/// That the servers have nothing is known after a restart too; other servers are asked.
#[tokio::test(flavor = "multi_thread")]
async fn absence_outlives_a_restart() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (url, count) = answering(NOT_FOUND, true);
    let count = || count.load(Ordering::Relaxed);
    let (first, second) = (id("0102030405060708"), id("1112131415161718"));
    let asking = asked(&folder, &url, true, quick());
    look_up(&asking, &first);
    asking.until("absent", |counts| counts == [0, 1, 0]).await;
    assert_eq!(count(), REQUESTS);
    drop(asking);

    let asking = asked(&folder, &url, true, quick());
    look_up(&asking, &first);
    asking.debuginfod.note_seen(&seen(std::slice::from_ref(&first)));
    // Served after the first, were that asked for.
    look_up(&asking, &second);
    asking.until("absent", |counts| counts == [0, 1, 0]).await;
    assert_eq!(count(), 2 * REQUESTS);
    drop(asking);

    let (other, asked_other) = answering(NOT_FOUND, true);
    let asking = asked(&folder, &other, true, quick());
    look_up(&asking, &first);
    asking.until("absent", |counts| counts == [0, 1, 0]).await;
    assert_eq!((count(), asked_other.load(Ordering::Relaxed)), (2 * REQUESTS, REQUESTS));
}

/// What profiles bring waits for what queries meet, and is not asked for where that is turned off.
#[tokio::test(flavor = "multi_thread")]
async fn queries_come_first() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (url, count) = answering(NOT_FOUND, true);
    let count = || count.load(Ordering::Relaxed);
    let ids: Vec<_> = (10..30).map(|number| id(&format!("{number}02030405060708"))).collect();
    // The second that was seen would be asked for an hour after the first.
    let slow = DebuginfodLimits { seen_pause: Duration::from_secs(3600), ..quick() };
    let asking = asked(&folder, &url, true, slow);
    asking.debuginfod.note_seen(&seen(&ids[..10]));
    asking.until("the first that was seen", |counts| counts == [0, 1, 0]).await;
    ids[10..].iter().for_each(|id| look_up(&asking, id));
    asking.until("all that were met", |counts| counts == [0, 11, 0]).await;
    look_up(&asking, &ids[5]);
    asking.until("one that was seen, and then met", |counts| counts == [0, 12, 0]).await;
    assert_eq!(count(), 12 * REQUESTS);
    drop(asking);

    let asking = asked(&folder, &url, false, quick());
    asking.debuginfod.note_seen(&seen(&ids[6..9]));
    look_up(&asking, &id("ff02030405060708"));
    asking.until("what was met", |counts| counts == [0, 1, 0]).await;
    assert_eq!(count(), 13 * REQUESTS);
}

/// A batch with one sample at the program's `main`, of a minute ago.
fn batch(program: &Program, now: Timestamp) -> Batch {
    let from = now.saturating_sub(60 * Timestamp::SECOND);
    let mut tables = Tables::new();
    let object = tables.intern_object(Some(program.id.clone()), "/bin/program");
    let location = tables.intern_address(FrameKind::Native, Some(object), program.main);
    let stack = tables.intern_stack(&[location], StackEnd::Root);
    let series =
        Series { labels: Labels::new().with("service", "program"), sample_type: SampleType::cpu(10_000_000), values: vec![(stack, 1)] };
    let mut ledger = Ledger::default();
    ledger.take(1);
    let window = Window::new(from, from.saturating_add(10 * Timestamp::SECOND));
    Batch { window, labels: Labels::new(), tables, series: vec![series], ledger, figures: AgentFigures::default() }
}

/// Debian's server is asked for what a batch brings, without a query: the first query has the names.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_brings_names() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let program = program(folder.path());
    let (_server, url) = debians(&program).await;
    let asking = asked(&folder, &url, true, quick());
    let path = |name: &str| folder.path().join(name);
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&path("profiles"), StoreLimits::default()).unwrap());
    let day = 24 * 3600 * Timestamp::SECOND;
    let limits = IngestLimits {
        batch: flamekeeper_wire::Limits::default(),
        bytes_in_flight: 64 << 20,
        decoders: 1,
        object_bytes: 1 << 20,
        body_time: Duration::from_secs(60),
        accepted: Accepted { age: day, future: day, length: day },
    };
    let uploads = Arc::new(Uploads::open(&path("uploads")).unwrap());
    let mut state = IngestState::new(store, Arc::clone(&asking.store), uploads, limits);
    state.debuginfod = Some(Arc::clone(&asking.debuginfod));
    let now = (state.now)();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, ingest_routes(state)).await });

    let body = flamekeeper_wire::encode(&batch(&program, now));
    let sent = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let head =
            format!("POST /v1development/profiles HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    });
    let answer = sent.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    asking.until("found", |counts| counts == [1, 0, 0]).await;
    let Symbolized::Frames(frames) = asking.lookup(&program) else { panic!("no names") };
    assert_eq!(&*frames.last().unwrap().function, "main");
    server.abort();
}
