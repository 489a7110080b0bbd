//! Real binaries of several linkers: build ids, bias, debug files, reduced copies; and thousands of damaged ones.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use flamekeeper_object::{Allocator, ObjectFacts, ObjectFile, SymbolsPresent, find_debug_file, only_debug};
use flamekeeper_profile::{Avma, BuildIdKind, FileOffset};

/// Prints the addresses of its functions and of the C library's `getpid`, then waits.
const PROGRAM: &str = r#"
#include <cstdio>
#include <unistd.h>
extern "C" __attribute__((noinline)) int leaf(int value) { return value * 3; }
int table[100000] = {1};
int main(int argc, char **argv) {
    std::printf("%p\n", reinterpret_cast<void *>(&leaf));
    std::fflush(stdout);
    char byte;
    return static_cast<int>(read(0, &byte, 1)) + leaf(argc) + table[argc];
}
"#;

fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{tool}: {error} (./dev test installs what the tests need)"));
    assert!(output.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("object-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn build(name: &str, compiler: &str, flags: &[&str]) -> PathBuf {
    let directory = directory(name);
    let (source, output) = (directory.join("program.cpp"), directory.join("program"));
    std::fs::write(&source, PROGRAM).unwrap();
    run(compiler, &[flags, &["-o", output.to_str().unwrap(), source.to_str().unwrap()]].concat());
    output
}

/// Ends the child whatever the test does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Runs the program; returns it with the address of `leaf` in its memory.
fn start(program: &Path) -> (Running, u64) {
    let mut child = Running(Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = u64::from_str_radix(line.trim().trim_start_matches("0x"), 16).unwrap();
    (child, address)
}

/// Mappings of a file: start, offset, whether executable.
fn mappings(pid: u32, program: &Path) -> Vec<(u64, u64, u64, bool)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let lines = maps.lines().filter(|line| line.ends_with(program.to_str().unwrap()));
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    lines
        .map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (start, end) = fields[0].split_once('-').unwrap();
            (hex(start), hex(end), hex(fields[2]), fields[1].contains('x'))
        })
        .collect()
}

/// The address of `leaf` in memory minus the bias of its mapping is what the symbol table states, for each linker and layout.
#[test]
fn bias_of_running_programs() {
    let kinds: [(&str, &str, &[&str]); 6] = [
        ("ld", "g++", &["-O2"]),
        ("ld-separate", "g++", &["-O2", "-Wl,-z,noseparate-code"]),
        ("fixed", "g++", &["-O2", "-no-pie"]),
        ("static", "g++", &["-O2", "-static"]),
        ("lld", "clang++", &["-O2", "-fuse-ld=lld"]),
        ("lld-fixed", "clang++", &["-O2", "-fuse-ld=lld", "-no-pie"]),
    ];
    for (name, compiler, flags) in kinds {
        let program = build(name, compiler, flags);
        let nm = run("nm", &[program.to_str().unwrap()]);
        let stated = nm.lines().find(|line| line.ends_with(" T leaf")).unwrap();
        let stated = u64::from_str_radix(stated.split(' ').next().unwrap(), 16).unwrap();
        let (child, actual) = start(&program);
        let object = ObjectFile::open(&program).unwrap();
        let mut code = 0;
        for (start, end, offset, executable) in mappings(child.0.id(), &program) {
            if !executable {
                continue;
            }
            let bias = object.bias(Avma(start), FileOffset(offset), executable).unwrap_or_else(|| panic!("{name}: no bias of {start:#x}"));
            assert_eq!(bias, actual.wrapping_sub(stated), "{name}: mapping {start:#x} of {offset:#x}");
            code += usize::from((start..end).contains(&actual));
        }
        assert_eq!(code, 1, "{name}");
    }
}

/// Build ids as readelf shows them; without one, the hash as its definition says, computed by other tools.
#[test]
fn identities() {
    let program = build("id", "g++", &["-Wl,--build-id=sha1"]);
    let readelf = run("readelf", &["-n", program.to_str().unwrap()]);
    let expected = readelf.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).unwrap().to_owned();
    let object = ObjectFile::open(&program).unwrap();
    assert_eq!((object.identity().kind(), object.build_id().unwrap().hex()), (BuildIdKind::Gnu, expected));

    let program = build("no-id", "g++", &["-Wl,--build-id=none"]);
    let script = "import hashlib, sys; b = open(sys.argv[1], 'rb').read(); \
                  print(hashlib.sha256(b[:4096] + b[-4096:] + len(b).to_bytes(8, 'big')).hexdigest()[:32])";
    let object = ObjectFile::open(&program).unwrap();
    assert_eq!((object.build_id(), object.identity().kind()), (None, BuildIdKind::Htlhash));
    assert_eq!(object.identity().hex(), run("python3", &["-c", script, program.to_str().unwrap()]).trim());
}

/// Go's own note, of a program that Go built; both notes are there where Go's linker writes GNU's too, which then wins.
#[test]
fn go_build_id() {
    let folder = run("go", &["env", "GOROOT"]);
    let tool = Path::new(folder.trim()).join("bin/gofmt");
    let object = ObjectFile::open(&tool).unwrap();
    let expected = run("go", &["tool", "buildid", tool.to_str().unwrap()]);
    let id = object.build_id().unwrap();
    if id.kind() == BuildIdKind::Go {
        assert_eq!(String::from_utf8_lossy(id.bytes()), expected.trim());
    }
}

/// The separate debug file is found by its link, only with the right checksum, and by build id below another root.
#[test]
fn debug_files() {
    let program = build("debug", "g++", &["-g", "-Wl,--build-id=sha1"]);
    let (path, debug) = (program.to_str().unwrap(), program.with_extension("debug"));
    run("objcopy", &["--only-keep-debug", path, debug.to_str().unwrap()]);
    run("strip", &[path]);
    run("objcopy", &[&format!("--add-gnu-debuglink={}", debug.display()), path]);
    let object = ObjectFile::open(&program).unwrap();
    let id = object.identity().clone();
    assert_eq!(object.has_symbols(), SymbolsPresent::DynamicOnly);
    assert_eq!(object.debug_link().unwrap().0, "program.debug");
    assert_eq!(find_debug_file(&id, &program, Path::new("/")), Some(debug.clone()));

    let root = directory("root");
    let place = root.join("usr/lib/debug/.build-id").join(&id.hex()[..2]);
    std::fs::create_dir_all(&place).unwrap();
    let by_id = place.join(format!("{}.debug", &id.hex()[2..]));
    std::fs::copy(&debug, &by_id).unwrap();
    assert_eq!(find_debug_file(&id, Path::new("/nothing"), &root), Some(by_id));

    let mut bytes = std::fs::read(&debug).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&debug, bytes).unwrap();
    assert_eq!(find_debug_file(&id, &program, Path::new("/")), None, "another checksum");
}

/// Other tools read the reduced copy without complaint, and find the same build id and lines in it.
#[test]
fn other_tools_read_the_copy() {
    for (name, flags) in [("pie", &["-g"][..]), ("fixed", &["-g", "-no-pie"]), ("packed", &["-g", "-gz"])] {
        let program = build(&format!("copy-{name}"), "g++", flags);
        let object = ObjectFile::open(&program).unwrap();
        let copy = program.with_extension("copy");
        std::fs::write(&copy, only_debug(&object).unwrap()).unwrap();
        let output = Command::new("readelf").args(["-a", "-W", "--debug-dump=info"]).arg(&copy).output().unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        // The parts left out on purpose: lists of variables' locations, and what the loader reads.
        let known = |line: &&str| {
            ["loclist", "location list", "dynamic", "elocation", "PT_", "interpreter", "version"].iter().any(|known| line.contains(known))
        };
        let unknown: Vec<_> = complaints.lines().filter(|line| !line.is_empty() && !known(line)).collect();
        assert!(output.status.success() && unknown.is_empty(), "{name}: {unknown:?}");
        let nm = run("nm", &[program.to_str().unwrap()]);
        assert_eq!(nm.lines().count(), run("nm", &[copy.to_str().unwrap()]).lines().count());
        let leaf = nm.lines().find(|line| line.ends_with(" T leaf")).unwrap().split(' ').next().unwrap().to_owned();
        let ask = |path: &Path| run("addr2line", &["-i", "-f", "-e", path.to_str().unwrap(), &leaf]);
        assert_eq!(ask(&program), ask(&copy));
        assert!(ask(&copy).contains("program.cpp:4"), "{}", ask(&copy));
        assert_eq!(ObjectFile::open(&copy).unwrap().build_id(), object.build_id());
    }
}

/// A file that its owner truncates after it was opened is an error, not the end of the reader.
#[test]
fn truncated_while_open() {
    let program = build("truncated", "g++", &["-g"]);
    let object = ObjectFile::open(&program).unwrap();
    assert!(object.section(".eh_frame").is_some());
    std::fs::File::options().write(true).open(&program).unwrap().set_len(4096).unwrap();
    assert!(object.section(".debug_info").is_none());
    assert!(only_debug(&object).is_err());
}

/// What is no regular ELF file is refused, without blocking.
#[test]
fn other_files() {
    assert!(ObjectFile::open(Path::new("/dev/null")).is_err());
    assert!(ObjectFile::open(Path::new("/tmp")).is_err());
    assert!(ObjectFile::open(Path::new("/proc/self/status")).is_err());
    let fifo = directory("fifo").join("fifo");
    run("mkfifo", &[fifo.to_str().unwrap()]);
    assert!(ObjectFile::open(&fifo).is_err());
    std::fs::remove_file(fifo).unwrap();
}

/// Damaged and truncated files of all layouts: no panic, and no copy or section larger than the limits allow.
#[test]
fn damaged_files() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let programs = [build("hurt", "g++", &["-g1", "-gz"]), build("hurt-lld", "clang++", &["-fuse-ld=lld", "-g1"])];
    for program in programs {
        let good = std::fs::read(&program).unwrap();
        let headers_at = usize::try_from(u64::from_le_bytes(*good[40..].first_chunk().unwrap())).unwrap();
        let (mut opened, mut copied) = (0, 0);
        for round in 0..6000 {
            let mut bad = good.clone();
            for _ in 0..=random(8) {
                // Mostly where it hurts: the file header, the program headers, the section headers.
                let place = match round % 3 {
                    0 => random(64 + 13 * 56),
                    1 => (headers_at + random(40 * 64)).min(bad.len() - 1),
                    _ => random(bad.len()),
                };
                bad[place] = [0, 0xff, 0x7f, 0x80, 1][random(5)] ^ u8::try_from(random(2) * random(256)).unwrap();
            }
            if round % 10 == 0 {
                bad.truncate(random(bad.len()));
            }
            opened += usize::from(ObjectFacts::of(&bad).is_ok());
            let len = bad.len();
            let Ok(object) = ObjectFile::from_bytes(bad) else { continue };
            copied += usize::from(exercise(&object, len));
        }
        assert!(opened > 1000 && copied > 500, "opened {opened} copied {copied}: the damage is no longer of interest");
    }
}

fn exercise(object: &ObjectFile, len: usize) -> bool {
    for name in [".eh_frame", ".eh_frame_hdr", ".debug_info", ".debug_line", ".debug_str", ".symtab", ".text", ""] {
        if let Ok(Some(section)) = object.read_section(name) {
            assert!(section.data.len() <= len * 1100);
        }
        _ = object.section_svma(name);
    }
    for offset in [0, 0x1000, 0x6000, u64::MAX - 0xfff] {
        _ = object.bias(Avma(u64::MAX - 0xfff), FileOffset(offset), true);
    }
    _ = (object.has_symbols(), object.debug_link(), object.load_address(), object.identity());
    let Ok(copy) = only_debug(object) else { return false };
    assert!(copy.len() <= 2 * len + (8 << 20), "{} of {len}", copy.len());
    ObjectFile::from_bytes(copy).is_ok()
}

/// A program's own allocator is told by its symbols, and where these were stripped by what it says; so is a static program.
#[test]
fn own_allocators_are_told() {
    let directory = directory("allocators");
    let build = |name: &str, source: &str, flags: &[&str]| {
        let (path, output) = (directory.join(format!("{name}.c")), directory.join(name));
        std::fs::write(&path, source).unwrap();
        run("gcc", &[flags, &["-fno-builtin", "-o", output.to_str().unwrap(), path.to_str().unwrap()]].concat());
        ObjectFile::open(&output).unwrap()
    };
    let main = "int main(void) { return 0; }\n";
    let plain = build("plain", "#include <stdlib.h>\nint main(void) { free(malloc(3)); return 0; }\n", &[]);
    assert_eq!((plain.is_static(), plain.allocator()), (false, None));
    assert!(build("static", main, &["-static"]).is_static());
    let own = format!("void *malloc(unsigned long size) {{ static char memory[99]; return memory + size % 9; }}\n{main}");
    assert_eq!(build("own", &own, &[]).allocator(), Some(Allocator::Own));
    let family = format!(
        "static void *mi_malloc(int size) {{ return (char *)0 + size; }}\nvoid *malloc(int size) {{ return mi_malloc(size); }}\n{main}"
    );
    assert_eq!(build("family", &family, &["-O0"]).allocator(), Some(Allocator::Mimalloc));
    // A table of names of some hundred kilobytes.
    let many: String = (0..4000).map(|number| format!("int a_function_with_a_long_name_{number}(void) {{ return {number}; }}\n")).collect();
    assert_eq!(build("many", &format!("{many}{own}"), &[]).allocator(), Some(Allocator::Own));
    assert_eq!(build("none", &format!("{many}{main}"), &[]).allocator(), None);
    let stripped = "int puts(const char *); int main(void) { return puts(\"<jemalloc>: Out of memory\"); }\n";
    assert_eq!(build("stripped", stripped, &["-s"]).allocator(), Some(Allocator::Jemalloc));
}
