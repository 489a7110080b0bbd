//! The symbol store and the symbols of this host, on real programs.
#![cfg(feature = "convert")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod programs;

use std::path::Path;
use std::sync::Arc;

use flamekeeper_object::{ObjectFile, SymbolsPresent, only_debug};
use flamekeeper_profile::{BuildId, BuildIdKind, Svma, Timestamp, UnnamedReason};
use flamekeeper_symbolizer::{
    AddError, Added, LocalSymbols, StoreOptions, StoredState, SymbolFrame, SymbolLimits, SymbolStore, Symbolize, Symbolized,
};

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

/// The longest build id is still the name of a file, found again by a store opened later; an object that states a longer one is known by its hash.
#[test]
fn long_build_ids() {
    let folder = programs::directory("long-ids");
    let [source, program] = ["program.c", "program"].map(|name| folder.join(name));
    std::fs::write(&source, "int work(int value) { return value * 3; }\nint main(int count, char **arguments) { return work(count); }\n")
        .unwrap();
    let with_id = |bytes: usize| {
        let id = format!("-Wl,--build-id=0x{}", "ab".repeat(bytes));
        run("gcc", &["-g", &id, "-o", program.to_str().unwrap(), source.to_str().unwrap()]);
        (id_of(&program), std::fs::read(&program).unwrap())
    };
    let (id, elf) = with_id(BuildId::MAX_LEN);
    assert_eq!((id.kind(), id.bytes().len()), (BuildIdKind::Gnu, BuildId::MAX_LEN));
    let directory = tempfile::tempdir().unwrap();
    let open = || SymbolStore::open(directory.path(), SymbolLimits::default()).unwrap();
    assert_eq!(open().add(&id, &elf).unwrap(), Added::Stored);
    assert_eq!(names(&open().symbolize(&id, address_of(&program, "work"))), ["work"]);
    // One that cannot be converted is remembered in a file too.
    open().remove(&id).unwrap();
    let small = SymbolStore::open(directory.path(), SymbolLimits { object_bytes: 10, ..SymbolLimits::default() }).unwrap();
    assert!(small.add(&id, &elf).is_err());
    assert!(open().missing(std::slice::from_ref(&id)).is_empty());
    let (id, elf) = with_id(BuildId::MAX_LEN + 1);
    assert_eq!(id.kind(), BuildIdKind::Htlhash);
    assert_eq!(open().add(&id, &elf).unwrap(), Added::Stored);
}

/// Three programs of one size, each with its build id and the address of a function.
fn three(name: &str) -> [(std::path::PathBuf, BuildId, Svma); 3] {
    ["1", "2", "3"].map(|number| {
        let path = build(&format!("{name}-{number}"), "g++", &["-O1", "-g", &format!("-DN={number}")]);
        let (id, address) = (id_of(&path), address_of(&path, "_Z4workiPi"));
        (path, id, address)
    })
}

/// At the quota, what was used least lately makes room, says so, has no names from then on and is asked for again. A use
/// before the store was closed counts too.
#[test]
fn quota() {
    static CLOCK: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1_764_000_000);
    let clock = || Timestamp(CLOCK.load(std::sync::atomic::Ordering::Relaxed) * Timestamp::SECOND);
    let pass = |hours: u64| CLOCK.fetch_add(hours * 3600, std::sync::atomic::Ordering::Relaxed);
    let [(first, first_id, address), (second, second_id, _), (third, third_id, _)] = three("quota");
    let directory = tempfile::tempdir().unwrap();
    let open = |store_bytes| {
        let limits = SymbolLimits { store_bytes, ..SymbolLimits::default() };
        SymbolStore::open_with(directory.path(), StoreOptions { limits, clock, ..StoreOptions::default() }).unwrap()
    };
    let add = |store: &SymbolStore, path: &Path, id: &BuildId| store.add(id, &std::fs::read(path).unwrap()).unwrap();
    let store = open(u64::MAX);
    assert_eq!(add(&store, &first, &first_id), Added::Stored);
    pass(2);
    assert_eq!(add(&store, &second, &second_id), Added::Stored);
    let room = store.bytes();
    pass(2);
    assert_eq!(names(&store.symbolize(&first_id, address)), ["work(int, int*)"]);
    store.note_uses();
    drop(store);

    let store = open(room);
    let listed: Vec<_> = store.list().into_iter().map(|object| object.id).collect();
    assert_eq!(listed, [first_id.clone(), second_id.clone()], "the latest used first");
    assert_eq!(add(&store, &third, &third_id), Added::Stored);
    assert_eq!(store.symbolize(&second_id, address), Symbolized::Unknown(UnnamedReason::NoSymbols));
    assert_eq!(names(&store.symbolize(&first_id, address)), ["work(int, int*)"]);
    assert_eq!(names(&store.symbolize(&third_id, address)), ["work(int, int*)"]);
    assert_eq!(store.missing(&[first_id.clone(), second_id.clone(), third_id.clone()]), std::slice::from_ref(&second_id));
    let status = store.status();
    assert_eq!((status.objects, status.evictions, status.quota_bytes), (2, 1, room));
    assert!(status.bytes <= room && status.evicted_bytes > 0 && status.conversions == 1);

    store.note_uses();
    pass(1);
    assert_eq!(names(&store.symbolize(&third_id, address)), ["work(int, int*)"]);
    assert_eq!(add(&store, &second, &second_id), Added::Stored);
    assert_eq!(store.missing(&[first_id.clone(), second_id, third_id]), [first_id]);
}

/// What is known of objects is listed with its reason, and can be removed; then the object is welcome, and its names are gone.
#[test]
fn lists_and_removes() {
    let [(path, id, address), (_, bad, _), _] = three("lists");
    let directory = tempfile::tempdir().unwrap();
    let store = SymbolStore::open(directory.path(), SymbolLimits::default()).unwrap();
    let damaged = std::fs::File::create(path.with_extension("huge")).unwrap();
    damaged.set_len(3 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&damaged, &std::fs::read(&path).unwrap(), 0).unwrap();
    let huge = std::fs::File::open(path.with_extension("huge")).unwrap();
    let error = store.add_file(Some(&id), &huge).unwrap_err();
    assert!(error.is_final() && error.to_string().contains("3221225472 bytes long"), "{error}");
    let StoredState::Bad { reason } = store.get(&id).unwrap().state else { panic!() };
    assert_eq!(reason, error.to_string());
    assert_eq!(store.status().failures, [("too_large", 1)].into());

    let addition = store.add_file(Some(&id), &std::fs::File::open(&path).unwrap()).unwrap();
    assert_eq!((addition.added, addition.source, addition.replaced), (Added::Stored, SymbolsPresent::DebugInfo, None));
    assert_eq!(store.get(&id).unwrap().state, StoredState::Stored { source: SymbolsPresent::DebugInfo, bytes: addition.bytes });
    assert_eq!(names(&store.symbolize(&id, address)), ["work(int, int*)"]);
    assert_eq!(names(&store.symbolize(&id, address)), ["work(int, int*)"]);
    assert_eq!((store.status().cache_hits, store.status().cache_misses), (1, 1));

    assert_eq!(store.remove(&bad).unwrap(), None);
    assert_eq!(store.remove(&id).unwrap().unwrap().id, id);
    assert_eq!(store.symbolize(&id, address), Symbolized::Unknown(UnnamedReason::NoSymbols));
    assert_eq!((store.missing(std::slice::from_ref(&id)), store.objects(), store.bytes()), (vec![id], 0, 0));
}

/// Answers take no more memory than they may: those of the object that was asked for least lately go first, and each that is given
/// later is the same.
#[test]
fn kept_answers_are_bounded() {
    let programs: Vec<_> = ["-DN=4", "-DN=5", "-DN=6"].map(|define| build(&define[3..], "g++", &["-O1", "-g", define])).into();
    let directory = tempfile::tempdir().unwrap();
    let open = |cache_bytes| SymbolStore::open(directory.path(), SymbolLimits { cache_bytes, ..SymbolLimits::default() }).unwrap();
    let store = open(usize::MAX);
    let ids: Vec<_> = programs.iter().map(|path| id_of(path)).collect();
    for (path, id) in programs.iter().zip(&ids) {
        store.add(id, &std::fs::read(path).unwrap()).unwrap();
    }
    let start = address_of(&programs[0], "_Z4workiPi").0;
    let all: Vec<_> = (start..start + 3000).map(Svma).collect();
    let few = &all[..10];
    let expected = store.symbolize_all(&ids[0], &all);
    let each: Vec<_> = all.iter().map(|address| store.symbolize(&ids[0], *address)).collect();
    assert_eq!(expected, each);
    assert!(expected.iter().filter(|found| matches!(found, Symbolized::Frames(_))).count() > 1000);
    let of_one = store.status().cache_bytes;
    assert!(of_one > 3000 * 50, "{of_one}");

    let store = open(of_one / 2 * 3);
    let misses = |id, addresses: &[Svma]| {
        let before = store.status().cache_misses;
        _ = store.symbolize_all(id, addresses);
        assert!(store.status().cache_bytes <= of_one / 2 * 3);
        store.status().cache_misses - before
    };
    assert_eq!([misses(&ids[0], &all), misses(&ids[1], few), misses(&ids[2], &all)], [3000, 10, 3000]);
    assert_eq!([misses(&ids[2], &all), misses(&ids[1], few), misses(&ids[0], few)], [0, 0, 10], "the first had to go");
    assert_eq!(open(1).symbolize_all(&ids[0], &all), expected);
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
    let is_clock = |frames: &[Arc<SymbolFrame>]| frames[0].function.ends_with("clock_gettime");
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
