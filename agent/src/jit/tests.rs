//! Real files of this very process, as a runtime writes them and as somebody does who means harm.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::sync::Arc;

use crate::jit::book::Memory;
use crate::jit::jitdump::tests::{header, lines_record, load_record, move_record};
use crate::jit::names::{Marker, Names, Slot};
use crate::jit::reader::{Allowance, Look, Reader};
use crate::jit::source::SourceError;
use crate::jit::thread::Service;
use crate::process::maps::Maps;

/// A reader of this process's files.
struct Fixture {
    reader: Reader,
    slot: Arc<Slot>,
    memory: Arc<Memory>,
}

impl Fixture {
    fn new(born: u64, before: &Names) -> Self {
        let mut names = before.succeeded();
        names.refresh(&mut Service::idle(), std::process::id(), born, &Maps::default(), 1);
        Self { reader: Reader::default(), slot: names.slot().unwrap(), memory: Arc::new(Memory::new(64 << 20)) }
    }

    fn look(&mut self) -> Result<Look, SourceError> {
        self.reader.look(&self.slot, &mut Allowance(64 << 20), &self.memory)
    }

    fn name(&self, address: u64) -> Option<String> {
        self.reader.book.find(address, u64::MAX).map(|found| found.name.to_owned())
    }
}

/// A perf map grows, a half-written line waits, a map that was cut and written anew is read anew, and a program that follows
/// in the same process does not take its lines for its own; what is no map of this process is refused. One test, for
/// there is one such path.
#[test]
fn perf_maps() {
    let path = format!("/tmp/perf-{}.map", std::process::id());
    let mut file = File::create(&path).unwrap();
    file.write_all(b"1000 10 one\n2000 10 tw").unwrap();
    let mut first = Fixture::new(0, &Names::default());
    assert!(first.look().unwrap().changed);
    assert_eq!((first.name(0x1001).as_deref(), first.name(0x2001)), (Some("one"), None));
    file.write_all(b"o\n").unwrap();
    assert!(first.look().unwrap().changed && !first.look().unwrap().changed);
    assert_eq!(first.name(0x2001).as_deref(), Some("two"));
    // Longer than what was read, and another text: as a JVM writes its map again.
    std::fs::write(&path, "3000 10 three\n1000 10 other\n".repeat(9)).unwrap();
    assert!(first.look().unwrap().changed);
    assert_eq!((first.name(0x1001).as_deref(), first.name(0x2001)), (Some("other"), None));

    // The next program appends to the same file: the lines before are not its own.
    let mut names = Names::default();
    names.take_slot(&first.slot);
    let now = crate::perf::clock::monotonic();
    let mut second = Fixture::new(now, &names);
    File::options().append(true).open(&path).unwrap().write_all(b"4000 10 four\n").unwrap();
    second.look().unwrap();
    assert_eq!((second.name(0x1001), second.name(0x4001).as_deref()), (None, Some("four")));
    // It begins it anew: all of it is its own.
    let mut third = Fixture::new(now, &names);
    std::fs::write(&path, "5000 10 five\n").unwrap();
    third.look().unwrap();
    assert_eq!(third.name(0x5001).as_deref(), Some("five"));
    // A map from before the program began is not its own at all.
    File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
    assert!(matches!(Fixture::new(now, &Names::default()).look(), Err(SourceError::Age)));

    // 2 GiB of nothing: read within the allowance, without holding it, and then left alone.
    File::create(&path).unwrap().set_len(2 << 30).unwrap();
    let mut sparse = Fixture::new(0, &Names::default());
    let mut allowance = Allowance(8 << 20);
    assert!(sparse.reader.look(&sparse.slot, &mut allowance, &sparse.memory).unwrap().behind && allowance.0 == 0);
    assert_eq!(sparse.memory.used(), 0);
    // Garbage and names without end: bounded.
    let hostile: Vec<u8> = (0..1_000_000_u32).flat_map(|index| index.wrapping_mul(2_654_435_761).to_ne_bytes()).collect();
    std::fs::write(&path, &hostile).unwrap();
    sparse.look().unwrap();
    let many: String = (0..400_000).map(|index| format!("{:x} 10 {}\n", index * 16, "n".repeat(100))).collect();
    std::fs::write(&path, many).unwrap();
    let mut full = Fixture::new(0, &Names::default());
    while !full.look().unwrap().full {}
    assert!(full.memory.used() < 40 << 20, "{} bytes", full.memory.used());

    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Fixture::new(0, &Names::default()).look(), Err(SourceError::Open(_))));
    symlink("/proc/self/maps", &path).unwrap();
    assert!(matches!(Fixture::new(0, &Names::default()).look(), Err(SourceError::NotAFile)));
    std::fs::remove_file(&path).unwrap();
    let status = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(status.success() && matches!(Fixture::new(0, &Names::default()).look(), Err(SourceError::NotAFile)));
    std::fs::remove_file(&path).unwrap();
    // Only root can give a file away.
    std::fs::write(&path, "1000 10 x\n").unwrap();
    if std::os::unix::fs::chown(&path, Some(54_321), None).is_ok() {
        assert!(matches!(Fixture::new(0, &Names::default()).look(), Err(SourceError::Owner)));
    }
    std::fs::remove_file(&path).unwrap();
}

fn dump_fixture(path: &std::path::Path, born: u64) -> Fixture {
    let fixture = Fixture::new(born, &Names::default());
    *fixture.slot.marker.lock().unwrap() = Some(Marker { start: 1, end: 2, path: path.to_str().unwrap().into() });
    fixture
}

/// A jitdump grows, code moves, lines are found, a record that is still being written waits, and garbage ends it.
#[test]
fn jitdumps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jit-1.dump");
    let pid = std::process::id();
    let lines = lines_record(5, 0x1000, &[(0x1008, 8, b"a.c"), (0x1000, 7, b"a.c")]);
    let load = load_record(6, 0x1000, 64, "f");
    std::fs::write(&path, [header(pid, 0), lines, load.clone()].concat()).unwrap();
    let mut dump = dump_fixture(&path, 0);
    assert!(dump.look().unwrap().changed && !dump.look().unwrap().changed);
    let found = |dump: &Fixture, address, at| {
        dump.reader.book.find(address, at).map(|found| (found.name.to_owned(), found.file.to_owned(), found.line))
    };
    assert_eq!(found(&dump, 0x1004, 9), Some(("f".to_owned(), "a.c".to_owned(), 7)));
    assert_eq!((found(&dump, 0x100c, 9).map(|found| found.2), found(&dump, 0x1004, 5)), (Some(8), None));
    let file = File::options().append(true).open(&path).unwrap();
    let moved = move_record(7, 0x1000, 0x9000, 64);
    (&file).write_all(&moved[..20]).unwrap();
    assert!(!dump.look().unwrap().changed);
    (&file).write_all(&moved[20..]).unwrap();
    assert!(dump.look().unwrap().changed);
    assert_eq!(found(&dump, 0x9004, 9).map(|found| found.0).as_deref(), Some("f"));
    // A record of no length: nothing behind it is read, and nothing hangs.
    (&file).write_all(&[0; 16]).unwrap();
    (&file).write_all(&load_record(8, 0x2000, 64, "g")).unwrap();
    assert!(!dump.look().unwrap().changed && found(&dump, 0x2004, 9).is_none());
    // Another file in its place is read from its start.
    std::fs::write(&path, [header(pid, 0), load_record(9, 0x30_0000, 1 << 20, "h"), load].concat()).unwrap();
    File::options().write(true).open(&path).unwrap().write_all_at(&[1], 24).unwrap();
    dump.look().unwrap();
    assert_eq!((dump.name(0x30_0004).as_deref(), dump.name(0x1004).as_deref(), dump.name(0x9004)), (Some("h"), Some("f"), None));
}

/// The dump of the process that this one was forked from names what was there at the fork, and nothing of later.
#[test]
fn a_parents_jitdump_ends_at_the_fork() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jit-1.dump");
    let now = crate::perf::clock::monotonic();
    std::fs::write(&path, [header(1, 0), load_record(now - 5, 0x1000, 64, "before"), load_record(now + 5, 0x1000, 64, "after")].concat())
        .unwrap();
    let mut dump = dump_fixture(&path, now);
    dump.look().unwrap();
    assert_eq!(dump.name(0x1004).as_deref(), Some("before"));
}

/// What a program writes into its jitdump as it ends is read, when it is a zombie and when it is gone.
#[test]
fn a_jitdump_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jit-1.dump");
    let mut program = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(&path, [header(program.id(), 0), load_record(1, 0x1000, 64, "begun")].concat()).unwrap();
    let mut names = Names::default();
    names.refresh(&mut Service::idle(), program.id(), 0, &Maps::default(), 1);
    let mut dump = Fixture { slot: names.slot().unwrap(), ..dump_fixture(&path, 0) };
    *dump.slot.marker.lock().unwrap() = Some(Marker { start: 1, end: 2, path: path.to_str().unwrap().into() });
    dump.look().unwrap();
    assert_eq!((dump.name(0x1004).as_deref(), dump.name(0x2004)), (Some("begun"), None));
    program.kill().unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", program.id())).unwrap();
    while !state().contains(") Z ") {
        std::thread::yield_now();
    }
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(&load_record(2, 0x2000, 64, "as a zombie")).unwrap();
    assert!(dump.look().unwrap().changed);
    program.wait().unwrap();
    file.write_all(&load_record(3, 0x3000, 64, "gone")).unwrap();
    assert!(dump.look().unwrap().changed && !dump.look().unwrap().changed);
    assert_eq!((dump.name(0x2004).as_deref(), dump.name(0x3004).as_deref()), (Some("as a zombie"), Some("gone")));
    dump.reader.let_go();
    assert!(matches!(dump.look(), Err(SourceError::Gone)));
}

/// Node 20 writes freed memory where file names belong: such lines are left out, the names stay.
#[test]
fn broken_lines_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jit-1.dump");
    let broken = lines_record(5, 0x1000, &[(0x1040, 17, b"+/\x8c\x08"), (0x1043, 17, b"a.js")]);
    let sound = lines_record(6, 0x2000, &[(0x2040, 17, b"a.js")]);
    let records = [header(1, 0), broken, load_record(5, 0x1000, 64, "JS:*f a.js:1:1"), sound, load_record(6, 0x2000, 64, "JS:*g a.js:9:1")];
    std::fs::write(&path, records.concat()).unwrap();
    let mut dump = dump_fixture(&path, 0);
    // Its writer is another process: for one that began before the agent no time is known, and none of it is taken.
    dump.look().unwrap();
    assert_eq!(dump.name(0x1004), None);
    let mut own = std::fs::read(&path).unwrap();
    own[20..24].copy_from_slice(&std::process::id().to_ne_bytes());
    std::fs::write(&path, own).unwrap();
    dump.look().unwrap();
    let found = |address| dump.reader.book.find(address, u64::MAX).map(|found| (found.line, found.file.to_owned()));
    assert_eq!((found(0x1004), found(0x2004)), (Some((0, String::new())), Some((17, "a.js".to_owned()))));
}
