//! Objects whose debug information lies in several files, as they are sent: copied with their companions, and converted together.
#![cfg(feature = "convert")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod programs;

use std::fs::File;
use std::path::{Path, PathBuf};

use flamekeeper_object::{BundleLayout, Companions, MemberKind, ObjectFile, SymbolCopy};
use flamekeeper_profile::{BuildId, Svma};
use flamekeeper_symbolizer::{AddError, Added, SymbolLimits, SymbolStore, Symbolized, SymbolsPresent};

use programs::{address_of, directory, run};

/// Small, so that it is compiled at once.
const SOURCE: &str = "
static inline int twice(int value) { return value * 2; }
__attribute__((noinline)) int work(int count) { int sum = 0; for (int i = 0; i < count; i++) sum += twice(sum) ^ i; return sum; }
int main(int argc, char **argv) { return work(argc) + twice(argc); }
";

/// A stripped program, and beside it the debug file `program.debug`, which names other files.
struct Program {
    debug: PathBuf,
    id: BuildId,
    work: Svma,
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Takes a program apart. `work` is the name of a function that others are inlined into.
fn apart(program: &Path, work: &str) -> Program {
    let debug = program.with_extension("debug");
    let (id, work) = (ObjectFile::open(program).unwrap().identity().clone(), address_of(program, work));
    run("objcopy", &["--only-keep-debug", text(program), text(&debug)]);
    run("strip", &["--strip-all", text(program)]);
    Program { debug, id, work }
}

/// A program whose units are split. Where they are packed, the `.dwo` file is gone.
fn split(name: &str, packed: bool) -> Program {
    let folder = directory(name);
    let program = compile("gcc", "-gdwarf-4", &folder);
    if packed {
        run("llvm-dwp", &["-e", text(&program), "-o", text(&folder.join("program.dwp"))]);
        std::fs::remove_file(folder.join("program.dwo")).unwrap();
    }
    apart(&program, "work")
}

/// Compiles [`SOURCE`] into `program` and `program.dwo`.
fn compile(compiler: &str, version: &str, folder: &Path) -> PathBuf {
    let [source, object, program] = ["program.c", "program.o", "program"].map(|name| folder.join(name));
    std::fs::write(&source, SOURCE).unwrap();
    run(compiler, &["-O2", version, "-gsplit-dwarf", "-c", "-o", text(&object), text(&source)]);
    run(compiler, &["-Wl,--build-id=sha1", "-o", text(&program), text(&object)]);
    program
}

/// A program whose debug information `dwz` moved into another file, as far as another has the same.
fn dwz(name: &str) -> Program {
    let first = programs::build(name, "g++", &["-O2", "-g"]);
    let other = programs::build(&format!("{name}-other"), "g++", &["-O2", "-g", "-DN=2"]);
    run("dwz", &["-m", text(&first.with_file_name("common.debug")), text(&first), text(&other)]);
    apart(&first, "_Z4workiPi")
}

/// The copy that an agent would send.
fn copy(program: &Program, companions: &Companions) -> Vec<u8> {
    let mut copy = SymbolCopy::of(ObjectFile::open(&program.debug).unwrap(), companions).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(copy.write(&mut bytes).unwrap(), copy.len());
    // Any part of it is the same without those before.
    for at in (0..bytes.len()).step_by(7919) {
        let mut part = vec![1; 1000.min(bytes.len() - at)];
        copy.read_at(at as u64, &mut part).unwrap();
        assert_eq!(part, bytes[at..at + part.len()], "{at}");
    }
    bytes
}

fn companions(program: &Program) -> Companions {
    Companions::find(&ObjectFile::open(&program.debug).unwrap(), &[&program.debug], Path::new("/"))
}

/// Whether an address in `work` shows an inlined function with its file and line.
fn has_inlines(store: &SymbolStore, program: &Program) -> bool {
    (0..64).any(|offset| match store.symbolize(&program.id, Svma(program.work.0 + offset)) {
        Symbolized::Frames(frames) => {
            let whole =
                frames.iter().all(|frame| frame.line > 0 && (frame.file.ends_with("program.cpp") || frame.file.ends_with("program.c")));
            frames.len() > 1 && frames.last().unwrap().function.starts_with("work") && whole
        }
        Symbolized::Unknown(_) => false,
    })
}

/// Without its companions an object has a part of its names, with them all, and they replace it; they are never replaced by it.
fn better_with(program: &Program, kind: MemberKind) {
    let found = companions(program);
    assert_eq!(found.files().iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [kind]);
    assert_eq!((found.missing(), found.left_out().missing()), (0, 1));
    let (alone, bundle) = (copy(program, &Companions::default()), copy(program, &found));
    let layout = BundleLayout::of_bytes(&bundle).unwrap();
    assert_eq!((layout.members()[1].kind, layout.object().of(&bundle) == alone), (kind, true));

    let folder = tempfile::tempdir().unwrap();
    let store = SymbolStore::open(folder.path(), SymbolLimits::default()).unwrap();
    assert_eq!(store.add(&program.id, &alone).unwrap(), Added::Stored);
    assert_eq!(store.source(&program.id), Some(SymbolsPresent::PartialDebugInfo));
    let in_file = folder.path().join("bundle");
    std::fs::write(&in_file, &bundle).unwrap();
    let addition = store.add_file(None, &File::open(&in_file).unwrap()).unwrap();
    assert_eq!((addition.id, addition.source), (program.id.clone(), SymbolsPresent::DebugInfo));
    assert_eq!(addition.replaced, Some(SymbolsPresent::PartialDebugInfo));
    assert!(has_inlines(&store, program));
    assert_eq!(store.add(&program.id, &alone).unwrap(), Added::AlreadyThere);
    assert!(has_inlines(&store, program));
    damaged(&store, &program.id, &bundle, &layout);
}

/// A bundle that does not hold together is refused as no object; one whose companion is damaged is as good as the object alone.
fn damaged(store: &SymbolStore, id: &BuildId, bundle: &[u8], layout: &BundleLayout) {
    assert!(matches!(store.add(id, &bundle[..bundle.len() - 1]), Err(AddError::Bundle(_))));
    store.remove(id).unwrap();
    let mut bundle = bundle.to_vec();
    let start = usize::try_from(layout.members()[1].offset).unwrap();
    let end = bundle.len().min(start + 4096);
    bundle[start..end].fill(0xff);
    assert_eq!(store.add(id, &bundle).unwrap(), Added::Stored);
    assert_eq!(store.source(id), Some(SymbolsPresent::PartialDebugInfo));
}

/// A program's split units, in the file beside it that has them all.
#[test]
fn package() {
    better_with(&split("companions-dwp", true), MemberKind::Package);
}

/// Split units where the compiler left them.
#[test]
fn split_units() {
    better_with(&split("companions-dwo", false), MemberKind::Split);
}

/// What `dwz` moved into a supplementary file.
#[test]
fn supplementary() {
    let program = dwz("companions-dwz");
    better_with(&program, MemberKind::Supplementary);
    elsewhere(&program);
}

/// The supplementary file is found below the directory of debug files too, by the name of the link and by its build id, and is no other's.
fn elsewhere(program: &Program) {
    let common = program.debug.with_file_name("common.debug");
    let hex = ObjectFile::open(&common).unwrap().identity().hex();
    let (root, main) = (tempfile::tempdir().unwrap(), ObjectFile::open(&program.debug).unwrap());
    let find = || Companions::find(&main, &[Path::new("/bin/program.debug")], root.path());
    let by_id = format!("usr/lib/debug/.build-id/{}/{}.debug", &hex[..2], &hex[2..]);
    for place in ["usr/lib/debug/.dwz/common.debug", &by_id] {
        let place = root.path().join(place);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(&program.debug, &place).unwrap();
        assert_eq!((find().files().len(), find().missing()), (0, 1), "another file");
        std::fs::copy(&common, &place).unwrap();
        assert_eq!(find().files(), [(MemberKind::Supplementary, place.clone())]);
        std::fs::remove_file(&place).unwrap();
    }
}

/// A bundle that is too large with its companions has the names that the object has without them, from memory as from a file.
#[test]
fn too_large() {
    let program = split("companions-large", true);
    let (alone, bundle) = (copy(&program, &Companions::default()), copy(&program, &companions(&program)));
    let folder = tempfile::tempdir().unwrap();
    let in_file = folder.path().join("bundle");
    std::fs::write(&in_file, &bundle).unwrap();
    let limits = SymbolLimits { object_bytes: alone.len() as u64, ..SymbolLimits::default() };
    let store = SymbolStore::open(&folder.path().join("store"), limits).unwrap();
    assert_eq!(store.add(&program.id, &bundle).unwrap(), Added::Stored);
    assert_eq!(store.source(&program.id), Some(SymbolsPresent::PartialDebugInfo));
    store.remove(&program.id).unwrap();
    assert_eq!(store.add_file(None, &File::open(&in_file).unwrap()).unwrap().source, SymbolsPresent::PartialDebugInfo);
    assert!(store.add(&program.id, &bundle).is_err(), "there is nothing to gain by it");
}

/// Files that are named and not there, or that are no ELF files, are missing; an object that names none lacks none.
#[test]
fn missing() {
    let program = split("companions-missing", false);
    let (dwo, package) = (program.debug.with_file_name("program.dwo"), program.debug.with_file_name("program.dwp"));
    let units = ObjectFile::open(&program.debug).unwrap().split_units();
    assert_eq!((units.count, &units.paths), (1, &vec![text(&dwo).to_owned()]));
    std::fs::write(&package, "no ELF file").unwrap();
    assert_eq!((companions(&program).files().len(), companions(&program).missing()), (1, 0), "no package is better than one that is none");
    std::fs::write(&dwo, "root:x:0:0").unwrap();
    assert_eq!((companions(&program).files().len(), companions(&program).missing()), (0, 1));
    let whole = ObjectFile::open(&std::env::current_exe().unwrap()).unwrap();
    assert_eq!(Companions::find(&whole, &[&std::env::current_exe().unwrap()], Path::new("/")), Companions::default());
}

/// Split units are found in each version and in compressed sections too.
#[test]
fn versions() {
    let folder = directory("companions-versions");
    for (compiler, version) in [("gcc", "-gdwarf-5"), ("gcc", "-gdwarf-4"), ("clang", "-gdwarf-5"), ("clang", "-gdwarf-4")] {
        let program = compile(compiler, version, &folder);
        let expected = ObjectFile::open(&program).unwrap().split_units();
        assert_eq!((expected.count, &expected.paths), (1, &vec![text(&folder.join("program.dwo")).to_owned()]), "{compiler} {version}");
        for kind in ["zlib", "zlib-gnu"] {
            let compressed = program.with_extension(kind);
            run("objcopy", &[&format!("--compress-debug-sections={kind}"), text(&program), text(&compressed)]);
            assert_eq!(ObjectFile::open(&compressed).unwrap().split_units(), expected, "{compiler} {version} {kind}");
        }
    }
}
