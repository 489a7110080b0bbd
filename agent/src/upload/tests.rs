use std::collections::HashMap;
use std::fs::File;
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use super::*;
use crate::config::value::ByteSize;
use crate::ship::tests::{Act, Server, answer};
use flamekeeper_object::ObjectFile;

fn this_program() -> ObjectSeen {
    let path = std::env::current_exe().unwrap();
    let build_id = ObjectFile::open(&path).unwrap().identity().clone();
    ObjectSeen { build_id, path: path.to_string_lossy().into_owned(), file: File::open(path).unwrap() }
}

fn other(build_id: &str, path: &str) -> ObjectSeen {
    ObjectSeen { build_id: build_id.parse().unwrap(), path: path.into(), file: File::open(path).unwrap() }
}

/// Announces objects to an uploader at a server, and waits until so many are uploaded and skipped.
fn upload(server: &Server, max_bytes: u64, objects: Vec<ObjectSeen>, want: (u64, u64)) {
    let mut config = Config { collector: server.address.clone(), ..Config::default() };
    config.symbols.max_object_bytes = ByteSize(max_bytes);
    let (sender, seen) = sync_channel(16);
    let (stop, progress) = (StopFlag::new().unwrap(), Arc::<Progress>::default());
    let uploader = Uploader::new(&config, seen, stop.clone(), Arc::clone(&progress)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let running = std::thread::spawn(move || uploader.run(&runtime));
    objects.into_iter().for_each(|object| sender.send(object).unwrap());
    let start = Instant::now();
    let now = || (Progress::get(&progress.objects_uploaded), Progress::get(&progress.objects_skipped));
    while now() != want {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?} instead of {want:?}", now());
        std::thread::sleep(Duration::from_millis(10));
    }
    stop.raise();
    running.join().unwrap();
}

type Uploads = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// A collector that wants everything; the first `failures` requests are answered with 503.
fn collector(failures: usize) -> (Server, Uploads) {
    let got = Uploads::default();
    let (store, mut failures) = (Arc::clone(&got), failures);
    let server = Server::start(move |request| {
        if failures > 0 {
            failures -= 1;
            return answer("503 Service Unavailable", "", "busy");
        }
        if request.line.starts_with("POST /api/v1/symbols/missing ") {
            let asked: MissingRequest = serde_json::from_slice(&request.body).unwrap();
            let store = store.lock().unwrap();
            let missing = asked.build_ids.into_iter().filter(|id| !store.contains_key(id)).collect();
            return answer("200 OK", "", &serde_json::to_string(&MissingResponse { missing }).unwrap());
        }
        let id = request.line.strip_prefix("PUT /api/v1/symbols/").and_then(|rest| rest.split(' ').next()).unwrap();
        assert_eq!(request.headers["content-encoding"], "gzip");
        store.lock().unwrap().insert(id.to_owned(), request.body.clone());
        Act::Answer("HTTP/1.1 204 No Content\r\n\r\n".into())
    });
    (server, got)
}

/// This very test program's symbols arrive, through a busy collector, as an ELF file of the same identity with its names.
#[test]
fn uploads_what_is_missing() {
    let (server, got) = collector(2);
    let object = this_program();
    let id = object.build_id.clone();
    upload(&server, 512 << 20, vec![object, this_program()], (1, 0));
    let body = got.lock().unwrap().remove(&id.to_string()).unwrap();
    let elf = flamekeeper_wire::gzip::decompress(&body, 512 << 20).unwrap();
    let elf = ObjectFile::from_bytes(elf).unwrap();
    assert!(elf.has_symbols() > flamekeeper_object::SymbolsPresent::DynamicOnly);
    assert_eq!(elf.build_id().cloned().unwrap_or(id.clone()), id);
}

/// What is too large, no ELF file, or refused is left out once; the rest goes on.
#[test]
fn leaves_out_what_cannot_go() {
    let (server, got) = collector(0);
    upload(&server, 1 << 10, vec![this_program(), other("gnu:01", "/etc/passwd")], (0, 2));
    assert!(got.lock().unwrap().is_empty());
    let mut puts = 0;
    let refusing = Server::start(move |request| {
        if request.line.starts_with("POST") {
            let asked: MissingRequest = serde_json::from_slice(&request.body).unwrap();
            return answer("200 OK", "", &serde_json::to_string(&MissingResponse { missing: asked.build_ids }).unwrap());
        }
        puts += 1;
        assert_eq!(puts, 1);
        answer("422 Unprocessable Entity", "", "no")
    });
    upload(&refusing, 512 << 20, vec![this_program()], (0, 1));
}
