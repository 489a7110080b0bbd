//! The symbol store and the symbols of this host, on real programs.
#![cfg(feature = "convert")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod programs;

use std::path::Path;

use flamekeeper_object::{ObjectFile, only_debug};
use flamekeeper_profile::{BuildId, Svma, UnnamedReason};
use flamekeeper_symbolizer::{AddError, Added, LocalSymbols, SymbolFrame, SymbolLimits, SymbolStore, Symbolize, Symbolized};

use programs::{address_of, build, run};

fn names(symbolized: &Symbolized) -> Vec<&str> {
    match symbolized {
        Symbolized::Frames(frames) => frames.iter().map(|frame| &*frame.function).collect(),
        Symbolized::Unknown(reason) => panic!("no name: {reason:?}"),
    }
}

fn id_of(path: &Path) -> BuildId {
    ObjectFile::open(path).unwrap().identity().clone()
}

/// What was added is found again, also by a store opened later; the better source replaces the worse and not the reverse.
#[test]
fn adds_and_improves() {
    let program = build("adds", "g++", &["-O1", "-g"]);
    let stripped = program.with_extension("stripped");
    run("strip", &["--strip-debug", "-o", stripped.to_str().unwrap(), program.to_str().unwrap()]);
    let (id, address) = (id_of(&program), address_of(&program, "_Z4workiPi"));
    let directory = tempfile::tempdir().unwrap();
    let store = SymbolStore::open(directory.path(), SymbolLimits::default()).unwrap();

    assert_eq!(store.missing(std::slice::from_ref(&id)), std::slice::from_ref(&id));
    assert_eq!(store.symbolize(&id, address), Symbolized::Unknown(UnnamedReason::NoSymbols));
    assert_eq!(store.add(&id, &std::fs::read(&stripped).unwrap()).unwrap(), Added::Stored);
    assert!(store.missing(std::slice::from_ref(&id)).is_empty());
    assert_eq!(names(&store.symbolize(&id, address)), ["work(int, int*)"]);
    let Symbolized::Frames(frames) = store.symbolize(&id, address) else { panic!() };
    assert_eq!((&*frames[0].file, frames[0].line), ("", 0));

    assert_eq!(store.add(&id, &std::fs::read(&program).unwrap()).unwrap(), Added::Stored);
    let Symbolized::Frames(frames) = store.symbolize(&id, address) else { panic!() };
    assert!(frames[0].file.ends_with("program.cpp") && frames[0].line > 0, "{frames:?}");
    assert_eq!(store.add(&id, &std::fs::read(&stripped).unwrap()).unwrap(), Added::AlreadyThere);
    assert_eq!(store.objects(), 1);

    let (bytes, found) = (store.bytes(), store.symbolize(&id, address));
    drop(store);
    let store = SymbolStore::open(directory.path(), SymbolLimits::default()).unwrap();
    assert_eq!((store.objects(), store.bytes(), store.symbolize(&id, address)), (1, bytes, found));
}

/// What an object is not is refused, and only what can never work is final.
#[test]
fn refuses() {
    let program = build("refuses", "g++", &["-O1", "-g"]);
    let elf = std::fs::read(&program).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let limits = SymbolLimits { object_bytes: elf.len() as u64 - 1, ..SymbolLimits::default() };
    let store = SymbolStore::open(directory.path(), limits).unwrap();
    let id = id_of(&program);

    let other = "gnu:0102030405060708".parse().unwrap();
    let error = store.add(&other, &elf).unwrap_err();
    assert!(matches!(&error, AddError::OtherBuildId { found, .. } if *found == id) && error.is_final());
    assert!(matches!(store.add(&id, b"#!/bin/sh").unwrap_err(), AddError::Object(_)));
    assert_eq!(store.missing(&[id.clone(), other.clone()]).len(), 2, "what lied is still welcome from others");

    assert!(store.add(&id, &elf).unwrap_err().is_final());
    assert!(store.missing(std::slice::from_ref(&id)).is_empty(), "nobody is asked for it again");
    assert_eq!(store.symbolize(&id, Svma(0)), Symbolized::Unknown(UnnamedReason::BadSymbols));
    drop(store);
    let full = SymbolStore::open(directory.path(), SymbolLimits { store_bytes: 10, ..SymbolLimits::default() }).unwrap();
    assert_eq!(full.symbolize(&id, Svma(0)), Symbolized::Unknown(UnnamedReason::BadSymbols), "remembered");
    let error = full.add(&id, &elf).unwrap_err();
    assert!(matches!(error, AddError::Full { .. }) && !error.is_final());
}

/// Fewer open files than objects, asked by several threads: all answers stay right.
#[test]
fn few_open_files_and_many_threads() {
    let programs: Vec<_> = ["-DN=1", "-DN=2", "-DN=3"].map(|define| build(&define[3..], "g++", &["-O1", "-g", define])).into();
    let directory = tempfile::tempdir().unwrap();
    let store = SymbolStore::open(directory.path(), SymbolLimits { open_files: 2, ..SymbolLimits::default() }).unwrap();
    let objects: Vec<_> = programs.iter().map(|path| (id_of(path), address_of(path, "_Z4workiPi"))).collect();
    for (path, (id, _)) in programs.iter().zip(&objects) {
        store.add(id, &std::fs::read(path).unwrap()).unwrap();
    }
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, objects) = (&store, &objects);
            scope.spawn(move || {
                for turn in 0..1000 {
                    let (id, address) = &objects[(turn + thread) % 3];
                    assert_eq!(names(&store.symbolize(id, *address)), ["work(int, int*)"]);
                }
            });
        }
    });
}

/// Objects of this host by path, with and without a separate debug file, and the vdso; another object at the path is none.
#[test]
fn local_objects() {
    let program = build("local", "g++", &["-O1", "-g"]);
    let (id, address) = (id_of(&program), address_of(&program, "_Z4workiPi"));
    let path = program.to_str().unwrap();
    let local = LocalSymbols::new();
    let expected = local.symbolize(Some(&id), path, address);
    assert_eq!(names(&expected), ["work(int, int*)"]);
    assert_eq!(LocalSymbols::new().symbolize(None, path, address), expected);
    assert_eq!(LocalSymbols::of_process(std::process::id()).symbolize(Some(&id), path, address), expected);
    let other = "gnu:0102030405060708".parse().unwrap();
    assert_eq!(local.symbolize(Some(&other), path, address), Symbolized::Unknown(UnnamedReason::NoSymbols));
    assert_eq!(local.symbolize(None, "/proc/self/mem", address), Symbolized::Unknown(UnnamedReason::NoSymbols));

    let debug = program.with_extension("debug");
    run("objcopy", &["--only-keep-debug", path, debug.to_str().unwrap()]);
    run("strip", &[path]);
    run("objcopy", &[&format!("--add-gnu-debuglink={}", debug.display()), path]);
    assert_eq!(LocalSymbols::new().symbolize(Some(&id), path, address), expected, "through the debug link");
}

/// A function of the vdso is named by its dynamic symbols.
#[test]
fn vdso() {
    let local = LocalSymbols::new();
    let is_clock = |frames: &[SymbolFrame]| frames[0].function.ends_with("clock_gettime");
    let mut addresses = (0..0x2000).map(|address| local.symbolize(None, "[vdso]", Svma(address)));
    assert!(addresses.any(|found| matches!(&found, Symbolized::Frames(frames) if is_clock(frames))));
}

/// The reduced copy names what the whole object names, address for address, in every kind of object.
#[test]
fn only_debug_keeps_all_names() {
    let kinds: [(&str, &str, &[&str]); 5] = [
        ("pie", "g++", &["-O2", "-g"]),
        ("fixed", "g++", &["-O2", "-g", "-no-pie"]),
        ("static", "g++", &["-O2", "-g1", "-static"]),
        ("packed", "g++", &["-O2", "-g", "-gz"]),
        ("lld", "clang++", &["-O2", "-g", "-fuse-ld=lld"]),
    ];
    for (name, compiler, flags) in kinds {
        let program = build(&format!("only-{name}"), compiler, flags);
        for strip in [&[][..], &["--strip-debug"], &["--strip-all"]] {
            let path = program.with_extension("variant");
            std::fs::copy(&program, &path).unwrap();
            if !strip.is_empty() {
                run("strip", &[strip, &[path.to_str().unwrap()]].concat());
            }
            same_names(name, &path);
        }
    }
}

fn same_names(name: &str, path: &Path) {
    let object = ObjectFile::open(path).unwrap();
    let copy = only_debug(&object).unwrap();
    let reread = ObjectFile::from_bytes(copy.clone()).unwrap();
    assert_eq!(
        (object.build_id(), object.load_address(), object.has_symbols()),
        (reread.build_id(), reread.load_address(), reread.has_symbols())
    );
    let converter = flamekeeper_symbolizer::Converter::default();
    let (whole, part) = (converter.convert(&std::fs::read(path).unwrap()), converter.convert(&copy));
    let (Ok(whole), Ok(part)) = (&whole, &part) else {
        assert!(whole.is_err() && part.is_err(), "{name}: {whole:?} {part:?}");
        return;
    };
    let text = object.segments().iter().find(|segment| segment.executable).unwrap();
    let mut named = 0;
    for offset in (0..text.memory_size.min(200_000)).step_by(3) {
        let address = Svma(text.svma.0 + offset);
        let found = whole.symbolize(address);
        assert_eq!(found, part.symbolize(address), "{name} {address}");
        named += usize::from(matches!(found, Symbolized::Frames(_)));
    }
    assert!(named > 3, "{name}: {named}");
    assert!(copy.len() < std::fs::metadata(path).unwrap().len() as usize, "{name} is no smaller");
}
