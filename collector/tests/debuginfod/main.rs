//! Symbols from debuginfod servers: Debian's own, over https too, and ones that answer badly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod ahead;
mod fixture;
mod tls;

use std::sync::atomic::Ordering;
use std::time::Duration;

use flamekeeper_collector::debuginfod::DebuginfodLimits;
use flamekeeper_profile::UnnamedReason;
use flamekeeper_symbolizer::{StoredState, Symbolized, SymbolsPresent};

use fixture::{Program, answering, asking, debians, program, program_of, quick, run};

/// Debian's server: an object that a query missed has its names, inlined functions and lines at a later one, and is asked for once; of one that the
/// server has not, nobody asks again for a time.
#[tokio::test(flavor = "multi_thread")]
async fn debians_server() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path());
    let (_server, url) = debians(&program).await;
    let asking = asking(&[url], quick());
    assert_eq!(asking.lookup(&program), Symbolized::Unknown(UnnamedReason::NoSymbols));
    asking.until("found", |counts| counts == [1, 0, 0]).await;
    let Symbolized::Frames(frames) = asking.lookup(&program) else { panic!("no names") };
    let frame = frames.last().unwrap();
    assert_eq!((&*frame.function, frame.start_line), ("main", 2));
    assert!(frame.file.ends_with("program.c") && frame.line > 0, "{frame:?}");

    let unknown = Program { id: "gnu:00112233445566778899".parse().unwrap(), ..program };
    for _ in 0..3 {
        asking.lookup(&unknown);
        asking.until("absent", |counts| counts == [1, 1, 0]).await;
    }
}

/// A program with a type that `dwz` finds large enough to move.
const WITH_A_TYPE: &str = "
struct settings { int one; int two; long three; char *four; double five; struct settings *next; unsigned char six[6]; long long seven; };
int NAME;
static int twice(struct settings *s, int v) { return v * 2 + s->two; }
int main(int n, char **v) {
  struct settings all = {n};
  (void)v;
  return twice(&all, n);
}
";

/// A debug file that refers to a supplementary file (`dwz`) is converted with it, which is asked for by its own build id; where no server has that,
/// there are the names that the debug file has by itself.
#[tokio::test(flavor = "multi_thread")]
async fn supplementary_files() {
    let folder = tempfile::tempdir().unwrap();
    let [first, other] = ["first", "other"].map(|name| {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        program_of(&folder.path().join(name), WITH_A_TYPE, &format!("-DNAME={name}"))
    });
    let common = first.debug.with_file_name("common.debug");
    run("dwz", &["-m", common.to_str().unwrap(), first.debug.to_str().unwrap(), other.debug.to_str().unwrap()]);
    let (_server, url) = debians(&first).await;
    let source = |asking: &fixture::Asking, program: &Program| asking.store.source(&program.id);
    let whole = asking(std::slice::from_ref(&url), quick());
    whole.lookup(&first);
    whole.until("found", |counts| counts == [1, 0, 0]).await;
    assert_eq!(source(&whole, &first), Some(SymbolsPresent::DebugInfo));
    let Symbolized::Frames(frames) = whole.lookup(&first) else { panic!("no names") };
    assert!(frames.last().unwrap().file.ends_with("program.c") && frames.last().unwrap().line > 0, "{frames:?}");

    // Of the other's files a server has one.
    let debug = std::fs::read(&other.debug).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", debug.len());
    let (url, asked) = answering([head.as_bytes(), &debug].concat().leak(), true);
    let part = asking(&[url], quick());
    part.lookup(&other);
    part.until("found", |counts| counts == [1, 0, 0]).await;
    assert_eq!((source(&part, &other), asked.load(Ordering::Relaxed)), (Some(SymbolsPresent::PartialDebugInfo), 2));
}

/// Servers that are slow, answer garbage, end early, fail or send too much: no symbols, no end of the asking, and the next server is asked.
#[tokio::test(flavor = "multi_thread")]
async fn bad_servers() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path());
    let limits = DebuginfodLimits { idle: Duration::from_millis(300), object_bytes: 64 << 20, ..quick() };
    let servers: [(&str, &'static [u8], bool); 6] = [
        ("slow", b"", false),
        ("slow in the middle", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n\x7fELF", false),
        ("garbage", b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nnot elf!", true),
        ("truncated", b"HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n\x7fELF", true),
        ("failing", b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", true),
        ("large", b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", true),
    ];
    let mut urls = Vec::new();
    for (name, bytes, close) in servers {
        let (url, asked) = answering(bytes, close);
        let asking = asking(std::slice::from_ref(&url), limits);
        asking.lookup(&program);
        asking.until(name, |counts| counts == [0, 0, 1]).await;
        let before = asked.load(Ordering::Relaxed);
        asking.lookup(&program);
        assert_eq!((asking.counts(), asking.store.objects(), asked.load(Ordering::Relaxed)), ([0, 0, 1], 0, before), "{name}");
        urls.push(url);
    }
    // The last of them has it.
    let debug = std::fs::read(&program.debug).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", debug.len());
    let (good, _) = answering([head.as_bytes(), &debug].concat().leak(), true);
    urls.push(good);
    let asking = asking(&urls, limits);
    asking.lookup(&program);
    asking.until("found at last", |counts| counts == [1, 0, 0]).await;
    assert!(matches!(asking.lookup(&program), Symbolized::Frames(_)));
}

/// An object that has only poor symbols is asked for too, and gets the better ones.
#[tokio::test(flavor = "multi_thread")]
async fn poor_symbols_are_made_better() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path());
    let debug = std::fs::read(&program.debug).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", debug.len());
    let (url, asked) = answering([head.as_bytes(), &debug].concat().leak(), true);
    let asking = asking(&[url], quick());
    let poor = folder.path().join("poor");
    run("objcopy", &["--strip-debug", program.debug.to_str().unwrap(), poor.to_str().unwrap()]);
    asking.store.add(&program.id, &std::fs::read(&poor).unwrap()).unwrap();
    let source = || match asking.store.get(&program.id).unwrap().state {
        StoredState::Stored { source, .. } => source,
        StoredState::Bad { reason, .. } => panic!("{reason}"),
    };
    assert_eq!(source(), SymbolsPresent::SymbolTable);
    assert!(matches!(asking.lookup(&program), Symbolized::Frames(_)));
    asking.until("better", |counts| counts == [1, 0, 0]).await;
    assert_eq!(source(), SymbolsPresent::DebugInfo);
    // What is good is not asked for.
    asking.lookup(&program);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
