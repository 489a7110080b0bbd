//! Conversion of symbols in a child process: the real program, under limits that its objects break.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flamekeeper_object::ObjectFile;
use flamekeeper_profile::{BuildId, Svma};
use flamekeeper_symbolizer::child::{ChildConverter, ChildError, ChildLimits, SUBCOMMAND};
use flamekeeper_symbolizer::{AddError, Added, Conversion, ConvertError, StoreOptions, SymbolLimits, SymbolStore, Symbolized};
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

/// The converter that this test has as its child.
fn converter() -> Option<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?.flatten();
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok()).collect::<String>();
    let is_converter = |pid: &u32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // Not one of another test, which is told another limit.
        command.windows(7).any(|part| part == b"cpu=300") && command.windows(17).any(|part| part == b"memory=2147483648")
    };
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(is_converter)
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
