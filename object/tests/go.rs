//! Go's own table of real programs: stack depths against the call frame information that the same linker wrote, reduced
//! copies, objects without section headers; and damaged tables.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use flamekeeper_object::go::{Functions, GoBytes, StackMap, StackRule};
use flamekeeper_object::{ObjectFile, SymbolsPresent, only_debug};
use flamekeeper_profile::Svma;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error} (./dev test installs what the tests need)"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Builds the Go workload.
fn build(name: &str, flags: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("object-go-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testing/workloads/burn.go");
    run(Command::new("go").arg("build").args(flags).arg("-o").arg(&program).arg(source));
    program
}

/// Bytes between the stack pointer and where it was at the entry of the function, by address, as `readelf` reads the call
/// frame information.
fn depths(program: &Path) -> BTreeMap<u64, u64> {
    let text = run(Command::new("readelf").arg("--debug-dump=frames-interp").arg(program));
    let rows = text.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let address = u64::from_str_radix(fields.next()?, 16).ok()?;
        let above = fields.next()?.strip_prefix("rsp+")?.parse::<u64>().ok()?;
        // The rules that all functions begin with stand at address 0.
        (address != 0).then_some((address, above.checked_sub(8)?))
    });
    rows.collect()
}

/// At every row of the call frame information the depths are equal; few functions have another rule.
#[test]
#[cfg(target_arch = "x86_64")]
fn depths_are_those_of_the_call_frame_information() {
    for (name, flags) in [("depths", &[][..]), ("depths-pie", &["-buildmode=pie"])] {
        let program = build(name, &[flags, &["-ldflags=-compressdwarf=false"]].concat());
        let counts = check_depths(name, &program);
        assert!(!counts.contains_key("none"), "{counts:?}");
    }
}

fn check_depths(name: &str, program: &Path) -> BTreeMap<&'static str, usize> {
    let expected = depths(program);
    let map = ObjectFile::open(program).unwrap().go_stack_map().unwrap();
    let mut counts = BTreeMap::new();
    for (address, depth) in &expected {
        let kind = match map.rule(Svma(*address)) {
            Some(StackRule::Depth(found)) => {
                assert_eq!(found, *depth, "{name}: at {address:#x}");
                "equal"
            }
            Some(StackRule::Root) => "root",
            Some(StackRule::OtherStack) => "other stack",
            Some(StackRule::Unknown) => "unknown",
            None => "none",
        };
        *counts.entry(kind).or_default() += 1;
    }
    println!("{name}: {counts:?} of {}, {} functions in {} bytes", expected.len(), map.functions(), map.bytes());
    assert!(expected.len() > 5000 && counts["equal"] * 100 > expected.len() * 97, "{counts:?} of {}", expected.len());
    assert!(counts["root"] > 0 && counts["other stack"] > 0, "{counts:?}");
    let size = std::fs::metadata(program).unwrap().len();
    assert!((map.bytes() as u64) < size / 20, "{} bytes of {size}", map.bytes());
    counts
}

/// Programs of other versions, which are not at hand everywhere: `GO_PROGRAMS=a:b cargo test -p flamekeeper-object --test go -- --ignored`.
#[test]
#[ignore = "wants programs of other Go versions in GO_PROGRAMS"]
fn depths_of_other_versions() {
    for program in std::env::var("GO_PROGRAMS").unwrap().split(':') {
        check_depths(program, Path::new(program));
    }
}

/// A stripped program's copy has the same functions as the program, wherever the table lies; a program without section
/// headers too.
#[test]
fn copies_keep_the_functions() {
    for (name, flags) in [("stripped", &["-ldflags=-s -w"][..]), ("stripped-pie", &["-ldflags=-s -w", "-buildmode=pie"])] {
        let program = build(name, flags);
        let bytes = std::fs::read(&program).unwrap();
        let object = ObjectFile::open(&program).unwrap();
        assert_eq!(object.has_symbols(), SymbolsPresent::GoTable, "{name}");
        let copy = only_debug(&object).unwrap();
        assert!(copy.len() < bytes.len() * 2 / 3, "{name}: {} of {}", copy.len(), bytes.len());
        let names = |bytes: &[u8]| {
            let bytes = GoBytes::of(bytes).unwrap();
            let functions = bytes.functions().unwrap();
            functions.iter().map(|function| (function.start, function.name().unwrap().into_owned())).collect::<BTreeMap<_, _>>()
        };
        let whole = names(&bytes);
        assert_eq!(names(&copy), whole, "{name}");
        assert_eq!(names(&only_debug(&ObjectFile::from_bytes(copy).unwrap()).unwrap()), whole, "{name}: a copy of a copy");
        assert!(whole.values().any(|name| name == "main.burnHot"));
        let mut bare = bytes.clone();
        // The place, size and count of the section headers.
        bare[40..48].fill(0);
        bare[58..64].fill(0);
        assert_eq!(names(&bare), whole, "{name} without section headers");
        let bare = ObjectFile::from_bytes(bare).unwrap();
        assert_eq!((bare.has_symbols(), names(&only_debug(&bare).unwrap())), (SymbolsPresent::GoTable, whole), "{name}");
    }
}

/// Small tables made by hand, of three versions and without section headers: functions, lines, an inlined call, rules.
#[test]
fn tables_made_by_hand() {
    for name in ["go118", "go120", "go126"] {
        let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/go").join(name)).unwrap();
        let found = GoBytes::of(&bytes).unwrap();
        let functions: Vec<_> = found.functions().unwrap().iter().collect();
        let names: Vec<_> = functions.iter().map(|function| function.name().unwrap()).collect();
        assert_eq!(names, ["main.main", "main.leaf", "runtime.goexit"], "{name}");
        let ranges = functions[0].ranges(10);
        let lines: Vec<_> = ranges.iter().map(|range| (range.start, range.end, range.line, range.call)).collect();
        assert_eq!(lines, [(0, 8, 10, None), (8, 16, 3, Some(0)), (16, 64, 11, None)], "{name}");
        let call = functions[0].call(0).unwrap();
        assert_eq!((&*call.name, call.at, functions[0].path(0).as_deref()), ("main.inl", 4, Some("/x/burn.go")), "{name}");
        let map = ObjectFile::from_bytes(bytes).unwrap().go_stack_map().unwrap();
        let rules = [0x40_1000, 0x40_1004, 0x40_1034, 0x40_1040, 0x40_1060, 0x40_1080, 0x40_0fff].map(|at| map.rule(Svma(at)));
        let depth = |depth| Some(StackRule::Depth(depth));
        assert_eq!(rules, [depth(0), depth(24), depth(0), depth(0), Some(StackRule::Root), None, None], "{name}");
    }
}

/// Programs that are not Go's have no table.
#[test]
fn others_have_no_table() {
    let this = std::env::current_exe().unwrap();
    let object = ObjectFile::open(&this).unwrap();
    assert!(object.go_stack_map().is_none() && object.has_symbols() != SymbolsPresent::GoTable);
}

/// Damaged tables answer or are refused, whatever stands in them.
#[test]
fn damaged_tables() {
    let bytes = std::fs::read(build("damaged", &["-ldflags=-s -w"])).unwrap();
    let object = ObjectFile::from_bytes(bytes.clone()).unwrap();
    let table = object.section(".gopclntab").unwrap();
    let (table, text) = (table.data.into_owned(), object.section_svma(".text").unwrap());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut read = 0;
    for round in 0..60 {
        let mut bad = table.clone();
        let reach = if round % 2 == 0 { 80 } else { bad.len() };
        for _ in 0..=random(if round % 2 == 0 { 2 } else { 4000 }) {
            let place = random(reach);
            bad[place] = [0, 0xff, 0x7f, 0x80, u8::try_from(random(256)).unwrap()][random(5)];
        }
        if round % 5 == 0 {
            bad.truncate(random(bad.len()));
        }
        read += usize::from(look_at_all(&bad, text));
    }
    assert!(read > 10, "{read}");
}

/// Whether a table can be read at all.
fn look_at_all(table: &[u8], text: Svma) -> bool {
    let part = |at: u64, buffer: &mut [u8]| {
        let part = usize::try_from(at).ok().and_then(|at| table.get(at..at.checked_add(buffer.len())?));
        part.map(|part| buffer.copy_from_slice(part)).is_some()
    };
    let map = StackMap::read(table.len() as u64, Some(text), &mut { part });
    if let Some(map) = &map {
        (0..0x10_0000).step_by(997).for_each(|at| _ = map.rule(Svma(text.0 + at)));
    }
    let functions = Functions::parse(table, Some(text), Some(table));
    if let Some(functions) = functions {
        for function in functions.iter().step_by(13).take(200) {
            _ = function.name();
            for range in function.ranges(100) {
                _ = (function.path(range.file), range.call.and_then(|call| function.call(call)));
            }
        }
        _ = functions.find(Svma(text.0 + 0x1234));
    }
    map.is_some() || functions.is_some()
}
