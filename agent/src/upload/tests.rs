use std::collections::HashMap;
use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;

use super::*;
use crate::config::value::ByteSize;
use crate::ship::tests::{Act, Request, Server, answer};
use flamekeeper_object::{BundleLayout, MemberKind, ObjectFile, SymbolsPresent, only_debug};
use flamekeeper_wire::lz4;
use flamekeeper_wire::symbols::{OFFERS_PATH, OfferAnswer, PartAnswer, SymbolSource};

fn this_program() -> ObjectSeen {
    object(std::env::current_exe().unwrap().to_str().unwrap())
}

fn object(path: &str) -> ObjectSeen {
    let build_id = ObjectFile::open(path.as_ref()).unwrap().identity().clone();
    ObjectSeen { build_id, path: path.into(), file: File::open(path).unwrap() }
}

/// An uploader that runs until this is dropped.
struct Running {
    objects: std::sync::mpsc::SyncSender<ObjectSeen>,
    stop: StopFlag,
    progress: Arc<Progress>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start(server: &Server, max_bytes: u64, objects: Vec<ObjectSeen>) -> Self {
        let mut config = Config { collector: server.address.clone(), ..Config::default() };
        config.symbols.max_object_bytes = ByteSize(max_bytes);
        config.symbols.max_bytes_per_second = ByteSize(1 << 30);
        let (sender, seen) = sync_channel(16);
        let (stop, progress) = (StopFlag::new().unwrap(), Arc::<Progress>::default());
        let uploader = Uploader::new(&config, &"agent".parse().unwrap(), seen, stop.clone(), Arc::clone(&progress)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let thread = std::thread::spawn(move || uploader.run(&runtime, None));
        objects.into_iter().for_each(|object| sender.send(object).unwrap());
        Self { objects: sender, stop, progress, thread: Some(thread) }
    }

    /// Objects uploaded, skipped, and without symbols.
    fn counts(&self) -> (u64, u64, u64) {
        let Progress { objects_uploaded, objects_skipped, objects_without_symbols, .. } = &*self.progress;
        (Progress::get(objects_uploaded), Progress::get(objects_skipped), Progress::get(objects_without_symbols))
    }

    fn wait_for(&self, want: (u64, u64, u64)) {
        wait(&format!("{want:?}"), || self.counts() == want);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.raise();
        // Nobody announces any more: so it does not wait for more.
        self.objects = sync_channel(0).0;
        self.thread.take().unwrap().join().unwrap();
    }
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a collector has, by build id: the length that was offered, and the bytes.
#[derive(Default)]
struct Taken {
    objects: HashMap<String, (u64, Vec<u8>)>,
    sources: HashMap<String, SymbolSource>,
    parts: usize,
    bytes: u64,
}

/// A collector that wants everything that it does not have whole. `disturb` may answer a request in its place, being told how
/// many parts have come before.
fn collector(mut disturb: impl FnMut(&Request, usize) -> Option<Act> + Send + 'static) -> (Server, Arc<Mutex<Taken>>) {
    let taken = Arc::new(Mutex::new(Taken::default()));
    let store = Arc::clone(&taken);
    let server = Server::start(move |request| {
        let mut store = store.lock().unwrap();
        if let Some(act) = disturb(request, store.parts) {
            return act;
        }
        let path = request.line.split(' ').nth(1).unwrap();
        if path == OFFERS_PATH { offered(&mut store, request) } else { part(&mut store, path, request) }
    });
    (server, taken)
}

fn offered(store: &mut Taken, request: &Request) -> Act {
    let offers: Offers = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(offers.agent, "agent");
    let mut wanted = Vec::new();
    for offer in offers.offers {
        store.sources.insert(offer.build_id.clone(), offer.source);
        let (bytes, has) = store.objects.entry(offer.build_id.clone()).or_insert((offer.bytes, Vec::new()));
        if *bytes > has.len() as u64 {
            wanted.push(Wanted { build_id: offer.build_id, lease: "lease".into(), received: has.len() as u64 });
        }
    }
    answer("200 OK", "", &serde_json::to_string(&OfferAnswer { wanted, later: Vec::new() }).unwrap())
}

fn part(store: &mut Taken, path: &str, request: &Request) -> Act {
    let [id, "parts", "lease", offset] = path.strip_prefix("/api/v1/symbols/").unwrap().split('/').collect::<Vec<_>>()[..] else {
        panic!("{path}");
    };
    let compressed = request.headers.get("content-encoding").is_some_and(|encoding| encoding == lz4::ENCODING);
    let bytes = if compressed { lz4::decompress(&request.body, MAX_PART).unwrap() } else { request.body.clone() };
    (store.parts, store.bytes) = (store.parts + 1, store.bytes + request.body.len() as u64);
    let (total, has) = store.objects.get_mut(id).unwrap();
    let wrong = offset.parse::<usize>().unwrap() != has.len();
    if !wrong {
        has.extend(bytes);
    }
    if !wrong && has.len() as u64 == *total {
        return Act::Answer("HTTP/1.1 204 No Content\r\n\r\n".into());
    }
    let status = if wrong { "409 Conflict" } else { "202 Accepted" };
    answer(status, "", &serde_json::to_string(&PartAnswer { received: has.len() as u64 }).unwrap())
}

/// This very test program's symbols arrive whole, through a busy collector, once.
#[test]
fn uploads_what_is_wanted() {
    let mut failures = 2;
    let (server, taken) = collector(move |_, _| {
        failures -= i32::from(failures > 0);
        (failures > 0).then(|| answer("503 Service Unavailable", "", "busy"))
    });
    let running = Running::start(&server, 512 << 20, vec![this_program(), this_program()]);
    running.wait_for((1, 0, 0));
    let program = this_program();
    let copy = only_debug(&ObjectFile::from_file(&program.file).unwrap()).unwrap();
    let taken = taken.lock().unwrap();
    assert!(taken.objects[&program.build_id.to_string()].1 == copy, "other bytes than the copy's");
    assert!(taken.bytes < copy.len() as u64 / 2, "{} of {} bytes", taken.bytes, copy.len());
    assert_eq!((taken.parts, Progress::get(&running.progress.symbol_bytes_sent)), (copy.len().div_ceil(MAX_PART), taken.bytes));
    assert!(ObjectFile::from_bytes(copy).unwrap().has_symbols() > SymbolsPresent::DynamicOnly);
}

/// A program whose units the compiler split is sent with them in one upload, or where they make it too large, without and as less than all.
#[test]
fn sends_companions() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("program.c"), "int main(int n, char **v) { return n; }").unwrap();
    for arguments in [["-c", "-o", "program.o", "program.c"], ["-Wl,--build-id=sha1", "-o", "program", "program.o"]] {
        let mut gcc = std::process::Command::new("gcc");
        assert!(gcc.args(["-g", "-gsplit-dwarf"]).args(arguments).current_dir(folder.path()).status().expect("gcc").success());
    }
    let program = || object(&path("program"));
    let alone = only_debug(&ObjectFile::from_file(&program().file).unwrap()).unwrap();
    let split = only_debug(&ObjectFile::open(path("program.dwo").as_ref()).unwrap()).unwrap();
    let id = program().build_id.to_string();
    let (server, taken) = collector(|_, _| None);
    Running::start(&server, 512 << 20, vec![program()]).wait_for((1, 0, 0));
    {
        let taken = taken.lock().unwrap();
        let bytes = &taken.objects[&id].1;
        let layout = BundleLayout::of_bytes(bytes).unwrap();
        let members: Vec<_> = layout.members().iter().map(|member| (member.kind, member.of(bytes))).collect();
        assert!(members == [(MemberKind::Object, &alone[..]), (MemberKind::Split, &split[..])], "{layout:?}");
        assert_eq!(taken.sources[&id], SymbolSource::DebugInfo);
    }
    let (server, taken) = collector(|_, _| None);
    Running::start(&server, alone.len() as u64, vec![program()]).wait_for((1, 0, 0));
    let taken = taken.lock().unwrap();
    assert!(taken.objects[&id].1 == alone, "other bytes than the copy's");
    assert_eq!(taken.sources[&id], SymbolSource::PartialDebugInfo);
}

/// A connection that is cut within an upload costs one part; a part that came although its answer did not costs one more try.
#[test]
fn goes_on_after_a_cut() {
    let mut cuts = 0;
    let (server, taken) = collector(move |request, parts| {
        let cut = request.line.starts_with("PUT") && parts == 2 && cuts < 3;
        cuts += i32::from(cut);
        cut.then_some(Act::Reset)
    });
    let running = Running::start(&server, 512 << 20, vec![this_program()]);
    running.wait_for((1, 0, 0));
    let program = this_program();
    let copy = only_debug(&ObjectFile::from_file(&program.file).unwrap()).unwrap();
    let taken = taken.lock().unwrap();
    assert!(taken.objects[&program.build_id.to_string()].1 == copy, "other bytes than the copy's");
    assert_eq!(taken.parts, copy.len().div_ceil(MAX_PART));
    let sent = Progress::get(&running.progress.symbol_bytes_sent) - taken.bytes;
    assert!(sent <= 3 * lz4::greatest(MAX_PART) as u64, "{sent} bytes more than came");
}

/// The next start of an agent goes on where the last one ended.
#[test]
fn goes_on_after_a_restart() {
    let stopped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stopped);
    let (server, taken) = collector(move |request, parts| {
        let stop = request.line.starts_with("PUT") && parts == 2 && !seen.swap(parts == 2, Ordering::Relaxed);
        stop.then(|| answer("503 Service Unavailable", "retry-after: 600\r\n", "busy"))
    });
    let first = Running::start(&server, 512 << 20, vec![this_program()]);
    wait("the third part", || stopped.load(Ordering::Relaxed));
    drop(first);
    Running::start(&server, 512 << 20, vec![this_program()]).wait_for((1, 0, 0));
    let copy = only_debug(&ObjectFile::from_file(&this_program().file).unwrap()).unwrap();
    assert_eq!(taken.lock().unwrap().parts, copy.len().div_ceil(MAX_PART));
}

/// What is too large, no ELF file, or refused is left out once, what names nothing is not even offered; the rest goes on.
#[test]
fn leaves_out_what_cannot_go() {
    let (server, taken) = collector(|_, _| None);
    let text = ObjectSeen { build_id: "gnu:01".parse().unwrap(), path: "/etc/passwd".into(), file: File::open("/etc/passwd").unwrap() };
    let bare = tempfile::tempdir().unwrap();
    let bare = bare.path().join("bare");
    let mut command = std::process::Command::new("gcc");
    command.args(["-x", "c", "-", "-s", "-o"]).arg(&bare).stdin(std::process::Stdio::piped());
    let mut compiler = command.spawn().expect("gcc");
    std::io::Write::write_all(&mut compiler.stdin.take().unwrap(), b"int main(void) { return 0; }").unwrap();
    assert!(compiler.wait().unwrap().success());
    let running = Running::start(&server, 1 << 10, vec![this_program(), text, object(bare.to_str().unwrap())]);
    running.wait_for((0, 2, 1));
    assert!(taken.lock().unwrap().objects.is_empty());
    drop(running);
    let mut puts = 0;
    let (refusing, _) = collector(move |request, _| {
        puts += i32::from(request.line.starts_with("PUT"));
        assert!(puts <= 1);
        (puts == 1).then(|| answer("422 Unprocessable Entity", "", "no"))
    });
    let running = Running::start(&refusing, 512 << 20, vec![this_program()]);
    running.wait_for((0, 1, 0));
    // What was refused is not offered again with the next.
    running.objects.send(this_program()).unwrap();
    running.objects.send(object("/bin/sh")).unwrap();
    wait("the next object", || running.counts().0 + running.counts().2 > 0);
}
