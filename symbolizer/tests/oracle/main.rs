//! Names, files, lines and inline chains against two independent readers of the same programs: binutils' `addr2line` and
//! `llvm-symbolizer`.
//!
//! Both are asked for mangled names, which are demangled here: three demanglers spell the same name in three ways
//! (`fill<..>` and `unsigned long fill<..>`, `operator<` and `operator< `). Demangling itself is compared with `c++filt`.
//!
//! Every difference is explained by one of a few rules (`rules.rs`), or it is an error.
#![cfg(feature = "convert")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "../programs/mod.rs"]
mod programs;
mod rules;
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use flamekeeper_object::ObjectFile;
use flamekeeper_profile::Svma;
use flamekeeper_symbolizer::{Converter, LocalSymbols, Symbolize as _, Symbolized};

use programs::{address_of, ask, build, build_rust, directory, run};
use rules::{Facts, Rule};
use tools::{addresses, frames, frames_by_address};

const BOTH: [&str; 2] = ["addr2line", "llvm-symbolizer"];

/// A program's symbols, read from the file itself, against what the tools read from it.
fn check(name: &str, program: &Path, tools: &[&'static str]) {
    let file = Converter::default().convert(&std::fs::read(program).unwrap()).unwrap();
    against(name, program, &|address| file.symbolize(address), tools);
}

/// What this host's files say of one program (its path is the second), against what the tools read from another that has the same code.
fn check_local(name: &str, program: &Path, ours: &Path, tools: &[&'static str]) {
    let (symbols, path) = (LocalSymbols::new(), ours.to_str().unwrap());
    let id = ObjectFile::open(ours).unwrap().identity().clone();
    against(name, program, &|address| symbols.symbolize(Some(&id), path, address), tools);
}

/// What one tool's answers have in common with ours.
struct Count {
    tool: &'static str,
    all: usize,
    /// Addresses where the tool sees an inlined function.
    inlined: usize,
    same: usize,
    by_rule: BTreeMap<Rule, usize>,
    unexplained: Vec<String>,
}

fn against(name: &str, program: &Path, ours: &dyn Fn(Svma) -> Symbolized, tools: &[&'static str]) {
    for Count { tool, all, inlined, same, by_rule, unexplained } in counted(program, ours, tools) {
        println!("{name} {tool}: of {all} same {same}, {by_rule:?}, unexplained {}", unexplained.len());
        assert!(inlined * 10 > all, "{name} {tool}: only {inlined} inlined");
        assert!(
            unexplained.is_empty(),
            "{name} {tool}: {} unexplained: {:#?}",
            unexplained.len(),
            &unexplained[..unexplained.len().min(5)]
        );
    }
}

fn counted(program: &Path, ours: &dyn Fn(Svma) -> Symbolized, tools: &[&'static str]) -> Vec<Count> {
    let (addresses, path, facts) = (addresses(program), program.to_str().unwrap(), Facts::of(program));
    let counted = tools.iter().map(|tool| {
        let obj = format!("--obj={path}");
        let arguments = match *tool {
            "addr2line" => vec!["-a", "-i", "-f", "-e", path],
            _ => vec!["-a", "--inlines", "--functions=linkage", "--no-demangle", &obj],
        };
        let answers = frames_by_address(&ask(tool, &arguments, &addresses));
        assert_eq!(answers.len(), addresses.len());
        let inlined = answers.values().filter(|frames| frames.len() > 1).count();
        let mut count = Count { tool, all: answers.len(), inlined, same: 0, by_rule: BTreeMap::new(), unexplained: Vec::new() };
        for (address, theirs) in &answers {
            let mine = frames(&ours(Svma(*address)));
            if mine == *theirs {
                count.same += 1;
            } else if let Some(rule) = facts.why(*address, &mine, theirs) {
                *count.by_rule.entry(rule).or_default() += 1;
            } else {
                count.unexplained.push(format!("{address:#x} {mine:?} {theirs:?}"));
            }
        }
        count
    });
    counted.collect()
}

/// C++ of g++, DWARF 5.
#[test]
fn gcc() {
    check("gcc", &build("oracle-gcc", "g++", &["-O2", "-g"]), &BOTH);
}

/// C++ of g++, not position independent: addresses begin at 4 MiB.
#[test]
fn fixed() {
    check("fixed", &build("oracle-fixed", "g++", &["-O2", "-g", "-no-pie"]), &BOTH);
}

/// C++ of clang and lld, DWARF 4, and DWARF 5, of whose inlined functions binutils 2.40 sees few (it gives `work` for
/// all that is inlined into it).
#[test]
fn clang() {
    check("clang 4", &build("oracle-clang4", "clang++", &["-O2", "-gdwarf-4", "-fuse-ld=lld"]), &BOTH);
    check("clang 5", &build("oracle-clang5", "clang++", &["-O2", "-gdwarf-5", "-fuse-ld=lld"]), &["llvm-symbolizer"]);
}

/// Rust, both manglings: the program's own v0, the standard library's as it was built.
#[test]
fn rust() {
    let program = build_rust("oracle-rust", &["-O", "-g", "-Csymbol-mangling-version=v0"]);
    check("rust", &program, &BOTH);
}

/// Compiles `program.cpp` with its units split into `.dwo` files beside it.
fn build_split(name: &str, compiler: &str, flags: &[&str]) -> PathBuf {
    let folder = directory(name);
    let (object, program) = (folder.join("program.o"), folder.join("program"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/program.cpp");
    let compile = ["-O2", "-std=c++17", "-gsplit-dwarf", "-c", "-o", object.to_str().unwrap(), source.to_str().unwrap()];
    run(compiler, &[flags, &compile].concat());
    run(compiler, &["-Wl,--build-id=sha1", "-o", program.to_str().unwrap(), object.to_str().unwrap()]);
    program
}

/// Units split into `.dwo` files, and those packed into one file (`.dwp`), as `llvm-symbolizer` reads them; `addr2line` 2.40 reads few of them.
/// Units of g++ with DWARF 5 are not packed: `llvm-dwp` 14 never ends on them, and `dwp` 2.40 crashes.
#[test]
fn split() {
    for (compiler, version) in [("g++", "-gdwarf-5"), ("g++", "-gdwarf-4"), ("clang++", "-gdwarf-5"), ("clang++", "-gdwarf-4")] {
        let name = format!("split-{}{version}", compiler.trim_end_matches('+'));
        let program = build_split(&format!("oracle-{name}"), compiler, &[version]);
        check_local(&format!("{name} dwo"), &program, &program, &["llvm-symbolizer"]);
        let (path, package) = (program.to_str().unwrap(), program.with_extension("dwp"));
        let packed = (compiler, version) != ("g++", "-gdwarf-5");
        if packed {
            run("llvm-dwp", &["-e", path, "-o", package.to_str().unwrap()]);
        }
        std::fs::remove_file(program.with_extension("dwo")).unwrap();
        if packed {
            check_local(&format!("{name} dwp"), &program, &program, &["llvm-symbolizer"]);
            std::fs::remove_file(package).unwrap();
        }
        let without = LocalSymbols::new().symbolize(None, path, address_of(&program, "_Z4workiPi"));
        assert_eq!(frames(&without).last().unwrap().name, "work(int, int*)", "the symbol table still names it");
    }
}

/// A stripped program and its debug file, which `.gnu_debuglink` names.
#[test]
fn debug_link() {
    let program = build("oracle-link", "g++", &["-O2", "-g"]);
    let [stripped, debug] = ["stripped", "stripped.debug"].map(|name| program.with_file_name(name));
    let [path, to, debug] = [&program, &stripped, &debug].map(|path| path.to_str().unwrap());
    run("objcopy", &["--only-keep-debug", path, debug]);
    run("objcopy", &["--strip-all", &format!("--add-gnu-debuglink={debug}"), path, to]);
    check_local("debug link", &program, &stripped, &BOTH);
}

/// Two programs whose debug information `dwz` moved what they have in common of into a supplementary file. The tools judge the programs as they
/// were before: `llvm-symbolizer` 14 reads no supplementary files.
#[test]
fn supplementary() {
    let first = build("oracle-dwz", "g++", &["-O2", "-g"]);
    let path = |name: &str| first.with_file_name(name);
    std::fs::copy(&first, path("before")).unwrap();
    let other = build("oracle-dwz-other", "g++", &["-O2", "-g", "-DN=2"]);
    std::fs::copy(&other, path("other")).unwrap();
    let common = path("common.debug");
    let [before, other, common] = [&first, &path("other"), &common].map(|path| path.to_str().unwrap().to_owned());
    run("dwz", &["-m", &common, &before, &other]);
    let link = ObjectFile::open(&first).unwrap().alt_link().unwrap();
    assert_eq!(ObjectFile::open(Path::new(&common)).unwrap().build_id(), Some(&link.build_id));
    check_local("dwz", &path("before"), &first, &BOTH);
}

/// A stripped program with the symbols of its functions in `.gnu_debugdata`, made as the GDB manual says: names as the tools read them from
/// the symbol table.
#[test]
fn mini_debug_info() {
    let program = build("oracle-mini", "g++", &["-O2", "-g"]);
    let path = |name: &str| program.with_file_name(name).to_str().unwrap().to_owned();
    let [from, symbols, mini, stripped] = ["program", "symbols", "mini", "stripped"].map(path);
    run("objcopy", &["--strip-debug", &from, &symbols]);
    run("objcopy", &["--strip-debug", "--remove-section=.comment", &from, &mini]);
    run("xz", &["--force", "--check=crc64", &mini]);
    run("objcopy", &["--strip-all", &format!("--add-section=.gnu_debugdata={mini}.xz"), &from, &stripped]);
    let (local, identity) = (LocalSymbols::new(), ObjectFile::open(&program).unwrap().identity().clone());
    let ours = |address| local.symbolize(Some(&identity), &stripped, address);
    for Count { tool, all, same, by_rule, unexplained, .. } in counted(Path::new(&symbols), &ours, &BOTH) {
        println!("mini {tool}: of {all} same {same}, {by_rule:?}");
        assert!(unexplained.is_empty(), "{tool}: {} unexplained: {:#?}", unexplained.len(), &unexplained[..unexplained.len().min(5)]);
    }
}

/// Sections compressed in each way give the answers of the uncompressed ones, all addresses of the text over.
#[test]
fn compressed() {
    let program = build("oracle-compressed", "g++", &["-O2", "-g"]);
    let convert = |path: &Path| Converter::default().convert(&std::fs::read(path).unwrap()).unwrap();
    let plain = convert(&program);
    for kind in ["zlib", "zlib-gnu", "zstd"] {
        let compressed = program.with_extension(kind);
        let option = format!("--compress-debug-sections={kind}");
        run("objcopy", &[&option, program.to_str().unwrap(), compressed.to_str().unwrap()]);
        assert!(compressed.metadata().unwrap().len() < program.metadata().unwrap().len(), "{kind}");
        let file = convert(&compressed);
        assert!(addresses(&program).into_iter().all(|address| file.symbolize(Svma(address)) == plain.symbolize(Svma(address))), "{kind}");
    }
}

/// Functions tell the line that they begin at, inlined ones too.
#[test]
fn start_lines() {
    let program = build("oracle-start", "g++", &["-O2", "-g"]);
    let file = Converter::default().convert(&std::fs::read(&program).unwrap()).unwrap();
    let source = include_str!("../programs/program.cpp");
    let line_of = |text: &str| u32::try_from(source.lines().position(|line| line.contains(text)).unwrap() + 1).unwrap();
    let start = address_of(&program, "_Z4workiPi").0;
    let found: BTreeSet<(String, u32)> = (start..start + 64)
        .flat_map(|address| match file.symbolize(Svma(address)) {
            Symbolized::Frames(frames) => frames.to_vec(),
            Symbolized::Unknown(_) => Vec::new(),
        })
        .map(|frame| (frame.function.to_string(), frame.start_line))
        .collect();
    assert!(found.contains(&("work(int, int*)".to_owned(), line_of("int work(int count"))), "{found:?}");
    let inlined = |(name, line): &(String, u32)| {
        name.starts_with("Nest<int, 6>::go") && *line == line_of("static inline T go(T value) { return Nest<")
    };
    assert!(found.iter().any(inlined), "{found:?}");
}

/// Several symbols of one address, in a table without debug information: the one that other programs call names it, whether the table has it before or
/// behind what a library calls inside itself.
#[test]
fn aliases() {
    let source = directory("oracle-aliases").join("aliases.c");
    let library = source.with_extension("so");
    let text = "int __work_impl(int n) { return n * 3; }\n\
        static int __work_alias_2(int) __attribute__((alias(\"__work_impl\"), used));\n\
        int __work(int) __attribute__((alias(\"__work_impl\")));\n\
        int work(int) __attribute__((weak, alias(\"__work_impl\")));\n\
        static int step(int n) { return n + 5; }\n\
        int _step(int) __attribute__((alias(\"step\")));\n\
        static int inner(int n) { return n - 7; }\n\
        int outer(int) __attribute__((alias(\"inner\")));\n";
    std::fs::write(&source, text).unwrap();
    let [from, to] = [&source, &library].map(|path| path.to_str().unwrap());
    run("gcc", &["-O2", "-shared", "-fPIC", "-fno-ipa-icf", "-o", to, from]);
    let file = Converter::default().convert(&std::fs::read(&library).unwrap()).unwrap();
    let name = |symbol| frames(&file.symbolize(address_of(&library, symbol)))[0].name.clone();
    assert_eq!(["__work_alias_2", "_step", "inner"].map(name), ["work", "step", "outer"]);
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
