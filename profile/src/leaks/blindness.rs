//! What of a process's memory the sampling of live heaps does not see.

/// The name of a sample type of blindness, before its kind.
const PREFIX: &str = "heap_blind_";

/// Why (a part of) a process's heap is not seen. Each kind is a sample type of its own ([`Self::type_name`]), so that it is known of each service
/// and version in every tier of every store; its values count the looks at processes that found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blindness {
    /// The library was asked for, and is not loaded.
    NotLoaded,
    /// The library is loaded, and could not make its table.
    NoTable,
    /// A program whose heap could be sampled, and is not.
    NotSampled,
    /// It is linked statically.
    Static,
    /// It defines `malloc` itself.
    OwnAllocator,
    /// jemalloc is linked into it.
    LinkedJemalloc,
    /// tcmalloc is linked into it.
    LinkedTcmalloc,
    /// mimalloc is linked into it.
    LinkedMimalloc,
    /// It calls jemalloc's `mallocx` and its like, which the library does not stand before.
    Mallocx,
    /// Another allocator stands before the library.
    BehindAllocator,
    /// Go.
    Go,
    /// A Java virtual machine.
    Java,
    /// Python, with arenas of its own.
    Python,
    /// V8: node.
    JavaScript,
}

impl Blindness {
    /// All kinds.
    pub const ALL: [Self; 14] = [
        Self::NotLoaded,
        Self::NoTable,
        Self::NotSampled,
        Self::Static,
        Self::OwnAllocator,
        Self::LinkedJemalloc,
        Self::LinkedTcmalloc,
        Self::LinkedMimalloc,
        Self::Mallocx,
        Self::BehindAllocator,
        Self::Go,
        Self::Java,
        Self::Python,
        Self::JavaScript,
    ];

    /// The name, in snake case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotLoaded => "not_loaded",
            Self::NoTable => "no_table",
            Self::NotSampled => "not_sampled",
            Self::Static => "static_program",
            Self::OwnAllocator => "own_allocator",
            Self::LinkedJemalloc => "linked_jemalloc",
            Self::LinkedTcmalloc => "linked_tcmalloc",
            Self::LinkedMimalloc => "linked_mimalloc",
            Self::Mallocx => "mallocx",
            Self::BehindAllocator => "behind_allocator",
            Self::Go => "go_heap",
            Self::Java => "java_heap",
            Self::Python => "python_arenas",
            Self::JavaScript => "v8_heap",
        }
    }

    /// The sample type that it travels and is stored as; its unit is `count`.
    #[must_use]
    pub fn type_name(self) -> String {
        format!("{PREFIX}{}", self.as_str())
    }

    /// The kind whose [`Self::type_name`] this is.
    #[must_use]
    pub fn of_type(name: &str) -> Option<Self> {
        let kind = name.strip_prefix(PREFIX)?;
        Self::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    /// What is not seen, and why.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            Self::NotLoaded => "the library was asked for and is not loaded: nothing of its heap is seen",
            Self::NoTable => "the library is loaded and could not make its table: nothing of its heap is seen",
            Self::NotSampled => "its heap is not sampled",
            Self::Static => "a static program: LD_PRELOAD has no effect on it",
            Self::OwnAllocator => "the program brings its own malloc: what it allocates by that is not seen",
            Self::LinkedJemalloc => "jemalloc is linked into the program: what it allocates is not seen",
            Self::LinkedTcmalloc => "tcmalloc is linked into the program: what it allocates is not seen",
            Self::LinkedMimalloc => "mimalloc is linked into the program: what it allocates is not seen",
            Self::Mallocx => "what it allocates by jemalloc's mallocx and rallocx is not seen; what it does by malloc and new is",
            Self::BehindAllocator => "LD_PRELOAD names another allocator before the library: nothing of its heap is seen",
            Self::Go => "Go has an allocator of its own: only C code in it is seen",
            Self::Java => "the Java heap is not seen, only what the machine and native code allocate beside it",
            Self::Python => "Python objects of up to 512 bytes lie in arenas of Python's own and are not seen",
            Self::JavaScript => "V8's heap (JavaScript objects) is not seen, only buffers and native code",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NotLoaded => {
                "see that libflamekeeper_heap.so is there and readable in the process's own file system (a container has another); a setuid program takes no library"
            }
            Self::NoTable => "see that no limit on file sizes (ulimit -f) is below 1 MB, and that the kernel allows memfd_create",
            Self::NotSampled => "`flamekeeper heap enable UNIT`, then restart it (or start it with libflamekeeper_heap.so in LD_PRELOAD)",
            Self::Static => "link it dynamically, or (Rust) use flamekeeper_heap::Sampled as its global allocator",
            Self::OwnAllocator => {
                "build it without that allocator (C and C++), or (Rust) use flamekeeper_heap::Sampled as its global allocator"
            }
            Self::LinkedJemalloc => {
                "build jemalloc with profiling, run with MALLOC_CONF=prof:true, serve its heap profile over HTTP and name that address in the agent's [[scrape]]; or (Rust) use flamekeeper_heap::Sampled"
            }
            Self::LinkedTcmalloc => {
                "serve tcmalloc's heap profile over HTTP and name that address in the agent's [[scrape]]; or link it as a library"
            }
            Self::LinkedMimalloc => "link mimalloc as a library, or (Rust) use flamekeeper_heap::Sampled as its global allocator",
            Self::Mallocx => {
                "where that matters, run with MALLOC_CONF=prof:true, serve jemalloc's heap profile and name it in the agent's [[scrape]]"
            }
            Self::BehindAllocator => "name libflamekeeper_heap.so first in LD_PRELOAD: it passes on to the allocator that comes next",
            Self::Go => "import net/http/pprof, and name its address (http://127.0.0.1:6060/debug/pprof/heap) in the agent's [[scrape]]",
            Self::Java => "record allocations and old objects with JFR (jcmd PID JFR.start settings=profile)",
            Self::Python => "start it with PYTHONMALLOC=malloc",
            Self::JavaScript => "take a profile with node --heap-prof, or a snapshot with --heapsnapshot-signal=SIGUSR2",
        }
    }

    /// Whether nothing at all is seen of a process that is blind so.
    #[must_use]
    pub const fn is_total(self) -> bool {
        matches!(self, Self::NotLoaded | Self::NoTable | Self::NotSampled | Self::Static | Self::BehindAllocator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each kind is known again by its type, and no other type is taken for one.
    #[test]
    fn types_have_kinds() {
        for kind in Blindness::ALL {
            assert_eq!(Blindness::of_type(&kind.type_name()), Some(kind));
            assert!(!kind.cause().is_empty() && !kind.advice().is_empty());
        }
        assert_eq!(["heap_blind_", "heap_blind_x", "heap_aged_space", "cpu"].map(Blindness::of_type), [None; 4]);
    }
}
