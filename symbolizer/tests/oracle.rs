//! Names, files, lines and inline chains against two independent readers of the same programs: binutils' `addr2line` and
//! `llvm-symbolizer`.
//!
//! Both are asked for mangled names, which are demangled here: three demanglers spell the same name in three ways
//! (`fill<..>` and `unsigned long fill<..>`, `operator<` and `operator< `). Demangling itself is compared with `c++filt`.
#![cfg(feature = "convert")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod programs;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use flamekeeper_profile::Svma;
use flamekeeper_symbolizer::{Converter, SymbolFile, Symbolized};

use programs::{build, build_rust, run};

/// A function at a line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Frame {
    /// Demangled, without what tells a clone of a function from the function: `addr2line` reads the function's name from its
    /// debug information, the others read the clone's from the symbol table.
    name: String,
    /// Empty where the line is unknown: `addr2line` then gives the name of a source file from the symbol table.
    file: String,
    line: u32,
}

/// Innermost first.
type Frames = Vec<Frame>;

fn frame(name: &str, file: &str, line: u32) -> Frame {
    let name = symbolic_demangle::demangle(name.strip_suffix(".cold").unwrap_or(name));
    let name = name.split(" [clone ").next().unwrap().to_owned();
    let file = if line == 0 { String::new() } else { symbolic_common::clean_path(file).into_owned() };
    Frame { name, file, line }
}

fn ours(file: &SymbolFile, address: u64) -> Frames {
    match file.symbolize(Svma(address)) {
        Symbolized::Frames(frames) => frames.iter().map(|found| frame(&found.function, &found.file, found.line)).collect(),
        Symbolized::Unknown(_) => Vec::new(),
    }
}

/// Feeds a tool addresses and returns what it wrote.
fn ask(tool: &str, arguments: &[&str], addresses: &[u64]) -> String {
    let mut child = Command::new(tool).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text: String = addresses.iter().map(|address| format!("{address:#x}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Reads pairs of lines, function and `file:line` (llvm-symbolizer adds the column), under a line with the address. Frames
/// without a function, which llvm-symbolizer gives where a line is known and no function is, are left out.
fn frames_by_address(text: &str) -> BTreeMap<u64, Frames> {
    let mut answers: BTreeMap<u64, Frames> = BTreeMap::new();
    let (mut address, mut function) = (0, None);
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(hex) = line.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
            (address, function) = (hex, None);
            answers.insert(address, Vec::new());
        } else if let Some(function) = function.take() {
            let (file, line) = place(line);
            if function != "??" {
                answers.get_mut(&address).unwrap().push(frame(function, file, line));
            }
        } else {
            function = Some(line);
        }
    }
    answers
}

/// File and line of `file:line`, `file:line:column` or `file:line (discriminator 3)`.
fn place(text: &str) -> (&str, u32) {
    let text = text.split(" (discriminator").next().unwrap();
    let (rest, last) = text.rsplit_once(':').unwrap();
    match rest.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?))) {
        Some((file, line)) => (file, line),
        None => (rest, last.parse().unwrap_or(0)),
    }
}

/// How many answers differ, by known reason.
#[derive(Debug, Default)]
struct Count {
    same: usize,
    /// Padding behind a function: `addr2line` gives it the function before, although the symbol's size excludes it, and the
    /// line of that function's end.
    padding: usize,
    /// The linker folded functions with equal code: several names are right.
    folded: usize,
    /// The debug information has no mangled name for a function, as for what is instantiated over a lambda, which is local.
    /// `addr2line` then gives the name of the symbol that the address lies in, in the place of the innermost function.
    local: usize,
    /// The line of one frame is not known here, where the other tool knows one.
    without_line: usize,
    other: Vec<String>,
}

/// All names of each address of the symbol table, as [`frame`] would spell them.
fn aliases(program: &Path) -> Vec<BTreeSet<String>> {
    let mut by_address: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in run("nm", &[program.to_str().unwrap()]).lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        if let [address, _, name] = fields[..] {
            by_address.entry(address.to_owned()).or_default().insert(frame(name, "", 0).name);
        }
    }
    by_address.into_values().filter(|names| names.len() > 1).collect()
}

fn compare(program: &Path, file: &SymbolFile, answers: &BTreeMap<u64, Frames>) -> Count {
    let aliases = aliases(program);
    let are_aliases = |a: &Frame, b: &Frame| aliases.iter().any(|names| names.contains(&a.name) && names.contains(&b.name));
    let mut count = Count::default();
    for (address, theirs) in answers {
        let mine = ours(file, *address);
        let pairs = || mine.iter().zip(theirs);
        if mine == *theirs {
            count.same += 1;
        } else if mine.is_empty() && theirs.len() == 1 {
            count.padding += 1;
        } else if mine.len() != theirs.len() {
            count.other.push(format!("{address:#x} {mine:?} {theirs:?}"));
        } else if pairs().all(|(a, b)| a.name == b.name && (a.line == 0 || a == b)) {
            count.without_line += 1;
        } else if pairs().all(|(a, b)| a.line == b.line && (a.name == b.name || are_aliases(a, b))) {
            count.folded += 1;
        } else if pairs().all(|(a, b)| (&a.file, a.line) == (&b.file, b.line) && (a.name == b.name || is_local(a) || is_local(b))) {
            count.local += 1;
        } else {
            count.other.push(format!("{address:#x} {mine:?} {theirs:?}"));
        }
    }
    count
}

/// Whether a name is not mangled and none that C could have: it stands in the debug information without its scope.
fn is_local(frame: &Frame) -> bool {
    !frame.name.contains("(std::") && !frame.name.contains("::") || frame.name.contains("<lambda(")
}

/// Addresses all over `.text`, the same in every run.
fn addresses(program: &Path) -> Vec<u64> {
    let object = flamekeeper_object::ObjectFile::open(program).unwrap();
    let text = object.section(".text").unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let random = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.svma.0 + state % text.data.len() as u64
    });
    let addresses: BTreeSet<u64> = random.take(8000).collect();
    assert!(addresses.len() > 3000);
    addresses.into_iter().collect()
}

fn check(name: &str, program: &Path, tools: &[&str]) {
    let file = Converter::default().convert(&std::fs::read(program).unwrap()).unwrap();
    let addresses = addresses(program);
    let path = program.to_str().unwrap();
    for tool in tools {
        let obj = format!("--obj={path}");
        let arguments = match *tool {
            "addr2line" => vec!["-a", "-i", "-f", "-e", path],
            _ => vec!["-a", "--inlines", "--functions=linkage", "--no-demangle", &obj],
        };
        let answers = frames_by_address(&ask(tool, &arguments, &addresses));
        assert_eq!(answers.len(), addresses.len());
        let count = compare(program, &file, &answers);
        let Count { same, padding, folded, local, without_line, other } = &count;
        println!(
            "{name} {tool}: same {same} padding {padding} folded {folded} local {local} without line {without_line} other {}",
            other.len()
        );
        let inlined = answers.values().filter(|frames| frames.len() > 1).count();
        assert!(inlined > addresses.len() / 10, "{name} {tool}: only {inlined} inlined");
        assert!(*same > addresses.len() * 19 / 20, "{name} {tool}: {same} same");
        assert!(*without_line <= addresses.len() / 200, "{name} {tool}: {without_line} without line");
        assert!(*local <= addresses.len() / 100, "{name} {tool}: {local} local");
        assert!(other.len() <= addresses.len() / 1000, "{name} {tool}: {} others: {:#?}", other.len(), &other[..other.len().min(5)]);
    }
}

/// C++ of g++, DWARF 5.
#[test]
fn gcc() {
    check("gcc", &build("oracle-gcc", "g++", &["-O2", "-g"]), &["addr2line", "llvm-symbolizer"]);
}

/// C++ of g++, not position independent: addresses begin at 4 MiB.
#[test]
fn fixed() {
    check("fixed", &build("oracle-fixed", "g++", &["-O2", "-g", "-no-pie"]), &["addr2line", "llvm-symbolizer"]);
}

/// C++ of clang and lld, DWARF 4, and DWARF 5, of whose inlined functions binutils 2.40 sees few (it gives `work` for
/// all that is inlined into it).
#[test]
fn clang() {
    check("clang 4", &build("oracle-clang4", "clang++", &["-O2", "-gdwarf-4", "-fuse-ld=lld"]), &["addr2line", "llvm-symbolizer"]);
    check("clang 5", &build("oracle-clang5", "clang++", &["-O2", "-gdwarf-5", "-fuse-ld=lld"]), &["llvm-symbolizer"]);
}

/// Rust, both manglings: the program's own v0, the standard library's as it was built.
#[test]
fn rust() {
    let program = build_rust("oracle-rust", &["-O", "-g", "-Csymbol-mangling-version=v0"]);
    check("rust", &program, &["addr2line", "llvm-symbolizer"]);
}

/// Functions of a C++ program are spelled as `c++filt` spells them, but for white space, in four names of five of a program where templates
/// and lambdas abound (480 of 590). Where they differ it is the demangler used (`cpp_demangle` 0.5) that errs, in details of the types: a
/// constructor template loses its first parameter, a parameter pack its `&&` or its end, a lambda with `auto` its `&&`; and it
/// tells the return type of a function template inside a name, which `c++filt` leaves out.
#[test]
fn demangling() {
    let program = build("oracle-names", "g++", &["-O0", "-g"]);
    let symbols = run("nm", &[program.to_str().unwrap()]);
    let is_function = |line: &&str| matches!(line.split_whitespace().nth(1), Some("T" | "t" | "W" | "w"));
    let names = symbols.lines().filter(is_function).filter_map(|line| line.rsplit(' ').next());
    let names: BTreeSet<_> = names.filter(|name| name.starts_with("_Z")).collect();
    let reference = run("c++filt", &names.iter().copied().collect::<Vec<_>>());
    let squeeze = |name: &str| name.replace(' ', "").replace("unsignedlongfill<", "fill<");
    let found: Vec<_> = names.iter().map(|name| symbolic_demangle::demangle(name)).collect();
    let pairs = || found.iter().zip(reference.lines());
    let different: Vec<_> = pairs().filter(|(found, expected)| squeeze(found) != squeeze(expected)).collect();
    let mangled = found.iter().filter(|name| name.starts_with("_Z")).count();
    println!("of {} names {} differ, {mangled} stay mangled", names.len(), different.len());
    assert!(names.len() > 500, "{}", names.len());
    assert!(different.len() * 5 < names.len(), "{} of {}: {different:#?}", different.len(), names.len());
    assert!(mangled * 100 < names.len(), "{mangled} of {}", names.len());
}
