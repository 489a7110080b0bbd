//! What of a process's memory is not seen, and why: allocators that the library does not stand before, and processes without it.
//!
//! Processes that were sampled in a window, and before it, are looked at once a minute: their mappings, two variables of their environment
//! (`LD_PRELOAD`, `PYTHONMALLOC`), and once for each executable its headers and symbols. What was found travels as sample types of the
//! process's labels ([`Blindness::type_name`]), so that it is known of services on all hosts, in every tier.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use flamekeeper_object::{Allocator, ObjectFile};
use flamekeeper_profile::leaks::Blindness;
use flamekeeper_profile::{FrameKind, Labels, SampleType, Series, StackEnd, Svma};

use crate::heap::Unwind;
use crate::process::lines;

/// How long a process has been known before it is looked at, and how often it is then, in nanoseconds.
const MATURE: u64 = 5_000_000_000;
const EVERY: u64 = 55_000_000_000;
/// Processes that are looked at in one window.
const LOOKS_A_WINDOW: usize = 64;
/// Processes and executables that are remembered.
const MOST: usize = 16_384;
/// Bytes of an environment that are read.
const MAX_ENVIRONMENT: u64 = 256 << 10;

/// How the files of allocators begin that are used as libraries.
const ALLOCATORS: [&[u8]; 3] = [b"libjemalloc.so", b"libtcmalloc", b"libmimalloc"];

/// What an executable is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Program {
    go: bool,
    is_static: bool,
    allocator: Option<Allocator>,
    mallocx: bool,
}

impl Program {
    fn of(file: &File) -> Self {
        let Ok(object) = ObjectFile::from_file(file) else { return Self::default() };
        let go = object.section_svma(".go.buildinfo").is_some();
        let allocator = if go { None } else { object.allocator() };
        Self { go, is_static: object.is_static(), allocator, mallocx: object.calls_mallocx() }
    }
}

/// What a process maps, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mapped {
    /// Any file at all: one that lives in the kernel only has none.
    file: bool,
    library: bool,
    python: bool,
    java: bool,
    node: bool,
    jemalloc: bool,
}

impl Mapped {
    /// Takes the path of a mapping.
    fn path(&mut self, path: &[u8]) {
        if !path.starts_with(b"/") {
            return;
        }
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        self.file = true;
        self.library |= name.starts_with(b"libflamekeeper_heap.so");
        self.python |= name.starts_with(b"python") || name.starts_with(b"libpython");
        self.java |= name == b"libjvm.so";
        self.node |= matches!(name, b"node" | b"nodejs") || name.starts_with(b"libnode.so");
        self.jemalloc |= name.starts_with(b"libjemalloc.so");
    }
}

/// Of a process's environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Environment {
    wants_library: bool,
    /// Another allocator is named before the library.
    allocator_before: bool,
    python_malloc: bool,
}

impl Environment {
    fn of(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        for variable in bytes.split(|byte| *byte == 0) {
            if let Some(libraries) = variable.strip_prefix(b"LD_PRELOAD=") {
                for name in libraries.split(|byte| b"/ :".contains(byte)) {
                    found.wants_library |= name == b"libflamekeeper_heap.so";
                    found.allocator_before |= !found.wants_library && ALLOCATORS.iter().any(|allocator| name.starts_with(allocator));
                }
            }
            found.python_malloc |= variable.strip_prefix(b"PYTHONMALLOC=").is_some_and(|value| value.starts_with(b"malloc"));
        }
        found
    }
}

/// What is known of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    program: Program,
    mapped: Mapped,
    environment: Environment,
}

impl Facts {
    /// Looks at a process; none where it is gone or may not be looked at.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Self::with(pid, true, Program::of)
    }

    /// `environment`: whether that is looked at.
    fn with(pid: u32, environment: bool, program: impl FnOnce(&File) -> Program) -> Option<Self> {
        let mut mapped = Mapped::default();
        lines::each(pid, |line| mapped.path(line.path)).ok()?;
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let executable = OpenOptions::new().read(true).custom_flags(flags).open(format!("/proc/{pid}/exe")).ok();
        let mut variables = Vec::new();
        if environment && let Ok(file) = File::open(format!("/proc/{pid}/environ")) {
            // What cannot be read is not there.
            _ = file.take(MAX_ENVIRONMENT).read_to_end(&mut variables);
        }
        let program = executable.as_ref().map(program).unwrap_or_default();
        Some(Self { program, mapped, environment: Environment::of(&variables) })
    }

    /// Whether the library is loaded.
    #[must_use]
    pub const fn has_library(&self) -> bool {
        self.mapped.library
    }

    /// Whether it was started with the library in its environment.
    #[must_use]
    pub const fn wants_library(&self) -> bool {
        self.environment.wants_library
    }

    /// Whether it lives in the kernel only, or hides its files.
    #[must_use]
    pub const fn is_opaque(&self) -> bool {
        !self.mapped.file
    }

    /// What is not seen of it, `samples` being whether it has a table.
    #[must_use]
    pub fn blindness(&self, samples: bool) -> Vec<Blindness> {
        let Self { program, mapped, environment } = self;
        if !mapped.file {
            return Vec::new();
        }
        // Where the library is part of the program, it stands before whatever allocator that has.
        let built_in = samples && !mapped.library;
        let allocator = program.allocator.filter(|_| !built_in && !program.is_static).map(|allocator| match allocator {
            Allocator::Own => Blindness::OwnAllocator,
            Allocator::Jemalloc => Blindness::LinkedJemalloc,
            Allocator::Tcmalloc => Blindness::LinkedTcmalloc,
            Allocator::Mimalloc => Blindness::LinkedMimalloc,
        });
        let mut found = Vec::new();
        found.extend(program.go.then_some(Blindness::Go));
        found.extend((program.is_static && !program.go && !samples).then_some(Blindness::Static));
        found.extend(allocator);
        found.extend(mapped.java.then_some(Blindness::Java));
        found.extend(mapped.node.then_some(Blindness::JavaScript));
        let other_heap = !found.is_empty();
        found.extend((mapped.python && !environment.python_malloc).then_some(Blindness::Python));
        found.extend((mapped.jemalloc && program.mallocx).then_some(Blindness::Mallocx));
        found.extend((mapped.library && environment.allocator_before).then_some(Blindness::BehindAllocator));
        if !samples && mapped.library {
            found.push(Blindness::NoTable);
        } else if !samples && environment.wants_library && !program.is_static {
            found.push(Blindness::NotLoaded);
        } else if !samples && !other_heap {
            found.push(Blindness::NotSampled);
        }
        found
    }
}

/// What tells an executable from others: device, inode, and when it was changed.
type FileId = (u64, u64, i64, i64);

/// When a process was first seen, and last told of.
#[derive(Clone, Copy, Debug)]
struct Seen {
    first: u64,
    told: Option<u64>,
}

/// What was found of processes and their executables.
#[derive(Debug, Default)]
pub(super) struct Blind {
    seen: HashMap<u32, Seen, foldhash::fast::RandomState>,
    programs: HashMap<FileId, Program, foldhash::fast::RandomState>,
}

impl Blind {
    /// A process has ended, or runs another program now.
    pub(super) fn forget(&mut self, pid: u32) {
        self.seen.remove(&pid);
    }

    /// The series of a window that ends now, over its tables, of processes that were sampled in it; `samples` says which have a table,
    /// `environment` whether environments are looked at.
    pub(super) fn close(
        &mut self,
        (active, environment): (&[u32], bool),
        now: u64,
        samples: impl Fn(u32) -> bool,
        unwind: &mut impl Unwind,
    ) -> Vec<Series> {
        if self.seen.len() > MOST {
            self.seen.clear();
        }
        let mut found: BTreeMap<(Labels, Blindness), u64> = BTreeMap::new();
        let mut left = LOOKS_A_WINDOW;
        for pid in active {
            let seen = self.seen.entry(*pid).or_insert(Seen { first: now, told: None });
            let recent = seen.told.is_some_and(|told| now.saturating_sub(told) < EVERY);
            if left == 0 || recent || now.saturating_sub(seen.first) < MATURE || unwind.is_hidden(*pid) {
                continue;
            }
            seen.told = Some(now);
            left -= 1;
            let Some(facts) = self.look(*pid, environment) else { continue };
            let kinds = facts.blindness(samples(*pid));
            if kinds.is_empty() {
                continue;
            }
            let Some(named) = unwind.named(*pid).filter(|named| !named.excluded) else { continue };
            for kind in kinds {
                *found.entry((named.labels.clone(), kind)).or_default() += 1;
            }
        }
        let tables = unwind.tables();
        let series = found.into_iter().map(|((labels, kind), looks)| {
            let frame = tables.intern_named(FrameKind::Other, None, Svma(0), kind.cause());
            let stack = tables.intern_stack(&[frame], StackEnd::Root);
            Series { labels, sample_type: SampleType::plain(&kind.type_name(), "count"), values: vec![(stack, looks)] }
        });
        series.collect()
    }

    fn look(&mut self, pid: u32, environment: bool) -> Option<Facts> {
        let programs = &mut self.programs;
        Facts::with(pid, environment, |file| {
            let Ok(metadata) = file.metadata() else { return Program::default() };
            if programs.len() > MOST {
                programs.clear();
            }
            let id = (metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec());
            *programs.entry(id).or_insert_with(|| Program::of(file))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(program: Program, files: &[&str], environment: &[u8]) -> Facts {
        let mut mapped = Mapped::default();
        files.iter().for_each(|file| mapped.path(file.as_bytes()));
        Facts { program, mapped, environment: Environment::of(environment) }
    }

    /// Each kind of blindness is told by its cause; a plain program that samples has none.
    #[test]
    fn kinds_are_told() {
        const LIBRARY: &str = "/usr/lib/flamekeeper/libflamekeeper_heap.so";
        const WANTED: &[u8] = b"A=1\0LD_PRELOAD=/usr/lib/flamekeeper/libflamekeeper_heap.so\0";
        let of = |files: &[&str], environment: &[u8], samples: bool| facts(Program::default(), files, environment).blindness(samples);
        assert_eq!(of(&["/usr/sbin/nginx"], b"", false), [Blindness::NotSampled]);
        assert_eq!(of(&["/usr/sbin/nginx", LIBRARY], WANTED, true), []);
        assert_eq!(of(&["/usr/sbin/nginx", LIBRARY], WANTED, false), [Blindness::NoTable]);
        assert_eq!(of(&["/usr/sbin/nginx"], WANTED, false), [Blindness::NotLoaded]);
        assert_eq!(of(&[], b"", false), []);
        assert_eq!(of(&["/usr/bin/python3.13"], b"", false), [Blindness::Python, Blindness::NotSampled]);
        assert_eq!(of(&["/usr/bin/python3.13", LIBRARY], b"PYTHONMALLOC=malloc", true), []);
        assert_eq!(of(&["/usr/lib/jvm/lib/server/libjvm.so"], b"", false), [Blindness::Java]);
        assert_eq!(of(&["/usr/bin/node", LIBRARY], b"", true), [Blindness::JavaScript]);
        assert_eq!(of(&["/usr/bin/node_exporter"], b"", false), [Blindness::NotSampled]);
        const JEMALLOC: &str = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2";
        assert_eq!(of(&[JEMALLOC, LIBRARY], b"LD_PRELOAD=libflamekeeper_heap.so:libjemalloc.so.2", true), []);
        let behind = b"LD_PRELOAD=/usr/lib/libtcmalloc_minimal.so.4 libflamekeeper_heap.so";
        assert_eq!(of(&["/usr/lib/libtcmalloc_minimal.so.4", LIBRARY], behind, true), [Blindness::BehindAllocator]);
        let program = |go, is_static, allocator| Program { go, is_static, allocator, mallocx: false };
        let flagged = Program { mallocx: true, ..Program::default() };
        assert_eq!(facts(flagged, &[JEMALLOC, LIBRARY], b"").blindness(true), [Blindness::Mallocx]);
        assert_eq!(facts(program(true, true, None), &["/bin/a"], b"").blindness(false), [Blindness::Go]);
        assert_eq!(facts(program(false, true, None), &["/bin/a"], WANTED).blindness(false), [Blindness::Static]);
        assert_eq!(facts(program(false, true, None), &["/bin/a"], b"").blindness(true), []);
        let linked = facts(program(false, false, Some(Allocator::Mimalloc)), &["/bin/a", LIBRARY], b"");
        assert_eq!(linked.blindness(true), [Blindness::LinkedMimalloc]);
        assert_eq!(facts(linked.program, &["/bin/a"], b"").blindness(true), []);
    }

    /// This test's own program is dynamic, with the C library's allocator.
    #[test]
    fn this_process_is_seen() {
        let facts = Facts::of(std::process::id()).unwrap();
        assert!(!facts.program.go && !facts.program.is_static && !facts.is_opaque(), "{facts:?}");
        assert_eq!(facts.program.allocator, None);
    }
}
