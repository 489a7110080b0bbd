//! Conversion of symbols in a child process: the real program, under limits that its objects break.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this file is tests")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flamekeeper_object::ObjectFile;
use flamekeeper_profile::{BuildId, Svma};
use flamekeeper_symbolizer::child::{ChildConverter, ChildError, ChildLimits, SUBCOMMAND};
use flamekeeper_symbolizer::{AddError, Added, Conversion, ConvertError, StoreOptions, SymbolLimits, SymbolStore, Symbolized};
use flamekeeper_testing::host::Host;
use flamekeeper_testing::http;
use flamekeeper_testing::programs::{binary, wait_for};
use flamekeeper_testing::scratch::Scratch;
use flamekeeper_testing::tools::require;
use flamekeeper_testing::workload::Program;

/// A store that converts in children under these limits.
fn store(directory: &Path, limits: ChildLimits) -> SymbolStore {
    let child = ChildConverter { program: binary("flamekeeper"), arguments: vec![SUBCOMMAND.into()], limits };
    SymbolStore::open_with(directory, StoreOptions { conversion: Conversion::Child(child), ..StoreOptions::default() }).unwrap()
}

fn id_of(path: &Path) -> BuildId {
    ObjectFile::open(path).unwrap().identity().clone()
}

/// An object whose conversion takes seconds: this project's own program, as it is built for tests.
fn large() -> PathBuf {
    binary("flamekeeper")
}

fn child_error(error: AddError) -> ChildError {
    match error {
        AddError::Convert(ConvertError::Child(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// A child converts to the same names as this process does, from memory as from a file.
#[test]
fn same_names() {
    let scratch = Scratch::new("convert-same");
    let program = Program::Cpp.build(scratch.path(), "");
    let id = id_of(&program);
    let here = SymbolStore::open(&scratch.join("here"), SymbolLimits::default()).unwrap();
    let child = store(&scratch.join("child"), ChildLimits::default());
    let elf = std::fs::read(&program).unwrap();
    assert_eq!(here.add(&id, &elf).unwrap(), Added::Stored);
    assert_eq!(child.add(&id, &elf).unwrap(), Added::Stored);
    let again = store(&scratch.join("again"), ChildLimits::default());
    assert_eq!(again.add_file(Some(&id), &File::open(&program).unwrap()).unwrap().added, Added::Stored);
    let object = ObjectFile::open(&program).unwrap();
    let text = object.segments().iter().find(|segment| segment.executable).unwrap();
    let mut named = 0;
    for offset in (0..text.memory_size).step_by(7) {
        let address = Svma(text.svma.0 + offset);
        let found = here.symbolize(&id, address);
        assert_eq!(found, child.symbolize(&id, address), "{address}");
        assert_eq!(found, again.symbolize(&id, address), "{address}");
        named += usize::from(matches!(found, Symbolized::Frames(_)));
    }
    assert!(named > 20, "{named}");
}

/// An object that takes more memory than the limit is refused with that reason, by name, and remembered until the limit is
/// higher.
#[test]
fn memory_limit() {
    let scratch = Scratch::new("convert-memory");
    let (program, id) = (large(), id_of(&large()));
    let limits = ChildLimits { memory_bytes: 1 << 20, ..ChildLimits::default() };
    let limited = store(scratch.path(), limits);
    let error = limited.add_file(Some(&id), &File::open(&program).unwrap()).unwrap_err();
    assert!(error.is_final());
    assert!(matches!(child_error(error), ChildError::Memory(bytes) if bytes == 1 << 20));
    assert!(limited.missing(std::slice::from_ref(&id)).is_empty());
    assert_eq!(limited.status().failures, [("memory_limit", 1)].into());
    drop(limited);
    assert!(store(scratch.path(), limits).missing(std::slice::from_ref(&id)).is_empty(), "remembered");
    assert_eq!(store(scratch.path(), ChildLimits::default()).missing(std::slice::from_ref(&id)).len(), 1, "the limit is higher");
}

/// The same for CPU time.
#[test]
fn cpu_limit() {
    let scratch = Scratch::new("convert-cpu");
    let (program, id) = (large(), id_of(&large()));
    let store = store(scratch.path(), ChildLimits { cpu: Duration::from_secs(1), ..ChildLimits::default() });
    let error = store.add_file(Some(&id), &File::open(&program).unwrap()).unwrap_err();
    assert!(matches!(child_error(error), ChildError::Cpu(1)));
    assert!(store.missing(std::slice::from_ref(&id)).is_empty());
}

/// The child runs at a low priority, under its limits, with three open files; when it is killed, that is said, the store goes
/// on, and nobody is asked for the object for a while.
#[test]
fn confined_and_killed() {
    let scratch = Scratch::new("convert-killed");
    let (program, id) = (large(), id_of(&large()));
    let store = store(scratch.path(), ChildLimits::default());
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| store.add_file(Some(&id), &File::open(&program).unwrap()));
        // Once the converting thread is there, everything is set.
        let pid = wait_for("the converter", Duration::from_secs(60), || {
            let pid = converter()?;
            (std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.count() == 2).then_some(pid)
        });
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        let killed = Command::new(require("kill")).args(["-KILL", &pid.to_string()]).status().unwrap();
        assert!(killed.success());
        // The object and the output are open a second time while they are used.
        assert!((3..=5).contains(&files), "{files} open files");
        assert!(environment.is_empty());
        let soft = |name: &str| limits.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()).unwrap().to_owned();
        assert_eq!((&*soft("Max core file size"), &*soft("Max cpu time")), ("0", "300"));
        assert_eq!(soft("Max data size"), ((2_u64 << 30) + (288 << 20)).to_string());
        // Field 19 is the nice value: proc_pid_stat(5). The name may hold blanks.
        let nice: i32 = stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap().parse().unwrap();
        assert!(nice >= 10, "{nice}");
        assert!(matches!(child_error(adding.join().unwrap().unwrap_err()), ChildError::Killed));
    });
    assert!(store.missing(std::slice::from_ref(&id)).is_empty(), "not asked for at once");
    assert_eq!(store.get(&id), None, "and not remembered as bad");
    let small = Program::Cpp.build(scratch.path(), "");
    assert_eq!(store.add_file(Some(&id_of(&small)), &File::open(&small).unwrap()).unwrap().added, Added::Stored);
}

/// The children of a process.
fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok()).collect::<String>();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The converter that this test has as its child.
fn converter() -> Option<u32> {
    let is_converter = |pid: &u32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // Not one of another test, which is told another limit.
        command.windows(7).any(|part| part == b"cpu=300") && command.windows(17).any(|part| part == b"memory=2147483648")
    };
    children(std::process::id()).into_iter().find(is_converter)
}

/// Whether a process has ended: it is gone, or nobody has asked for its end yet.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Field 3 is the state: proc_pid_stat(5).
    stat.rsplit(") ").next().is_none_or(|rest| matches!(rest.chars().next(), None | Some('Z' | 'X')))
}

/// A converter does not outlive its collector, however that ends: this one is killed, and the converter, which is stopped so that it cannot
/// end by itself, with it.
#[test]
fn dies_with_its_parent() {
    let host = Host::with_collector("convert-orphan");
    let object = std::fs::read(large()).unwrap();
    std::thread::scope(|scope| {
        // It is cut off, so what it answers is of no interest.
        scope.spawn(|| http::send(host.address, "POST", "/api/v1/symbols", &[("Content-Type", "application/octet-stream")], &object));
        let collector = host.collector.pid();
        let converter = wait_for("the converter", Duration::from_secs(120), || {
            let pid = children(collector).into_iter().next()?;
            // Once the converting thread is there, everything is set.
            (std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.count() == 2).then_some(pid)
        });
        let signal =
            |name: &str, pid: u32| assert!(Command::new(require("kill")).args([name, &pid.to_string()]).status().unwrap().success());
        signal("-STOP", converter);
        assert!(!has_ended(converter));
        signal("-KILL", collector);
        wait_for("the end of the converter", Duration::from_secs(60), || has_ended(converter).then_some(()));
    });
}

/// A debug file of 2 GB that says it is all debug information, and is not: an error with its reason, whichever limit it meets; the store goes
/// on. It has no bytes on disk but its first.
#[test]
fn two_gigabytes() {
    const LEN: u64 = 2 << 30;
    let scratch = Scratch::new("convert-huge");
    let path = scratch.join("huge");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    let (head, id) = huge(LEN);
    file.write_all_at(&head, 0).unwrap();
    file.set_len(LEN).unwrap();
    assert_eq!(id_of(&path), id);
    let store = |object_bytes, section_bytes| {
        let child = ChildConverter { program: binary("flamekeeper"), arguments: vec![SUBCOMMAND.into()], limits: ChildLimits::default() };
        let limits = SymbolLimits { object_bytes, section_bytes, ..SymbolLimits::default() };
        let options = StoreOptions { limits, conversion: Conversion::Child(child), ..StoreOptions::default() };
        SymbolStore::open_with(&scratch.join(&format!("store-{object_bytes}-{section_bytes}")), options).unwrap()
    };
    let small = Program::Cpp.build(scratch.path(), "");
    for (object, section, reason, words) in [
        (1 << 30, 1 << 30, "too_large", "more than the limit of 1073741824"),
        (4 << 30, 1 << 30, "unreadable", "more than the limit of 1073741824"),
        (4 << 30, 4 << 30, "no_symbols", "no symbols"),
    ] {
        let store = store(object, section);
        let error = store.add_file(Some(&id), &file).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(store.status().failures, [(reason, 1)].into());
        assert_eq!(store.add_file(Some(&id_of(&small)), &File::open(&small).unwrap()).unwrap().added, Added::Stored);
    }
}

/// An object with some gigabytes of debug information: what becomes of it under the default limits, and under higher ones. Names, or the limit
/// that was in the way; the next object is converted all the same. `MB` says how much, 2100 by default; it needs three times that on disk.
#[test]
#[ignore = "a measurement: makes gigabytes of debug information, and takes minutes"]
fn really_large() {
    let scratch = Scratch::new("convert-really-large");
    let megabytes = std::env::var("MB").map_or(2100, |text| text.parse().unwrap());
    let path = large_debug_information(&scratch, megabytes);
    let (id, bytes) = (id_of(&path), path.metadata().unwrap().len());
    let small = Program::Cpp.build(scratch.path(), "");
    let higher = SymbolLimits { object_bytes: 8 << 30, section_bytes: 4 << 30, ..SymbolLimits::default() };
    let more = ChildLimits { memory_bytes: 12 << 30, ..ChildLimits::default() };
    for (name, limits, child) in [
        ("default limits", SymbolLimits::default(), ChildLimits::default()),
        ("larger objects allowed", higher, ChildLimits::default()),
        ("more memory too", higher, more),
    ] {
        let conversion =
            Conversion::Child(ChildConverter { program: binary("flamekeeper"), arguments: vec![SUBCOMMAND.into()], limits: child });
        let options = StoreOptions { limits, conversion, ..StoreOptions::default() };
        let store = SymbolStore::open_with(&scratch.join(&name.replace(' ', "-")), options).unwrap();
        let began = std::time::Instant::now();
        let outcome = match store.add_file(Some(&id), &File::open(&path).unwrap()) {
            Ok(added) => format!("{} in {} bytes", added.source.as_str(), added.bytes),
            Err(error) => error.to_string(),
        };
        println!("{bytes} bytes, {name}: {outcome}, after {:.1} s", began.elapsed().as_secs_f64());
        assert_eq!(store.add_file(Some(&id_of(&small)), &File::open(&small).unwrap()).unwrap().added, Added::Stored);
    }
}

/// A library linked from one unit again and again, under other names each time.
fn large_debug_information(scratch: &Scratch, megabytes: u64) -> PathBuf {
    let run = |tool: &str, arguments: &[&str]| {
        let output = Command::new(require(tool)).args(arguments).output().unwrap();
        assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let [source, unit, list, library] = ["unit.c", "unit.o", "list", "library"].map(|name| scratch.join(name));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mut code = String::new();
    for number in 0..4000 {
        code += &format!("static inline int in{number}(int a, int b) {{ int c = a * {number} + b; return c ^ (c >> 3); }}\n");
        code += &format!("int out{number}(int a, int b) {{ int d = in{number}(a, b), e = in{number}(b, d); return d + e; }}\n");
    }
    std::fs::write(&source, code).unwrap();
    run("gcc", &["-O1", "-g", "-fPIC", "-c", "-o", &text(&unit), &text(&source)]);
    let link = |objects: &str| run("gcc", &["-shared", "-nostdlib", "-Wl,--build-id=sha1", "-o", &text(&library), objects]);
    link(&text(&unit));
    let copies = (megabytes << 20) / library.metadata().unwrap().len() + 1;
    let mut paths = String::new();
    for number in 0..copies {
        let copy = scratch.join(&format!("unit-{number}.o"));
        run("objcopy", &[&format!("--prefix-symbols=u{number}_"), &text(&unit), &text(&copy)]);
        paths += &format!("{}\n", copy.display());
    }
    std::fs::write(&list, paths).unwrap();
    link(&format!("@{}", list.display()));
    library
}

/// The head of an ELF file of this length: a build id, and one section, `.debug_info`, which reaches to its end.
fn huge(len: u64) -> (Vec<u8>, BuildId) {
    let names = b"\0.debug_info\0.shstrtab\0";
    let note = [&[4, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0][..], b"GNU\0", &[0xab, 0xcd, 0xef, 0x01]].concat();
    let (sections, programs) = (64_u64, 64 + 3 * 64_u64);
    let names_at = programs + 56;
    let note_at = (names_at + names.len() as u64).next_multiple_of(8);
    let info_at = note_at + note.len() as u64;
    let words = |values: &[u64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
    elf.extend(words(&[0, programs, sections]));
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 3, 0, 2, 0]);
    let section = |name: u64, kind: u64, offset: u64, size: u64| words(&[name | kind << 32, 0, 0, offset, size, 0, 1, 0]);
    elf.extend(section(0, 0, 0, 0));
    elf.extend(section(1, 1, info_at, len - info_at));
    elf.extend(section(13, 3, names_at, names.len() as u64));
    // A note, readable.
    elf.extend(words(&[4 | 4 << 32, note_at, 0, 0, note.len() as u64, note.len() as u64, 4]));
    elf.extend_from_slice(names);
    elf.resize(usize::try_from(note_at).unwrap(), 0);
    elf.extend_from_slice(&note);
    (elf, "gnu:abcdef01".parse().unwrap())
}

/// A converter that writes what is no symbol file, or nothing, harms nothing.
#[test]
fn wrong_output() {
    let scratch = Scratch::new("convert-wrong");
    let program = Program::Cpp.build(scratch.path(), "");
    let id = id_of(&program);
    for script in ["echo no symbol file", "true"] {
        let child =
            ChildConverter { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()], limits: ChildLimits::default() };
        let options = StoreOptions { conversion: Conversion::Child(child), ..StoreOptions::default() };
        let store = SymbolStore::open_with(&scratch.join(&script.replace(' ', "-")), options).unwrap();
        let error = store.add_file(Some(&id), &File::open(&program).unwrap()).unwrap_err();
        assert!(matches!(&error, AddError::Convert(ConvertError::Unreadable(_))), "{error:?}");
        assert_eq!((store.objects(), store.bytes()), (0, 0));
    }
}
