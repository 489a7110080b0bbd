//! What of a process's memory the library cannot see.

use std::fs;

use flamekeeper_object::ObjectFile;

/// What is known of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Paths of the files that it maps.
    pub(super) files: Vec<String>,
    /// Its environment, as it was started.
    pub(super) environment: Vec<String>,
    /// Whether its executable was made by Go.
    pub(super) go: bool,
    /// Whether it lives in the kernel only, or hides its files.
    pub(super) kernel_thread: bool,
}

impl Facts {
    /// Reads them; none where the process is gone or may not be looked at.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
        let files = maps.lines().filter_map(|line| Some(line.get(line.find('/')?..)?.to_owned()));
        let mut files: Vec<String> = files.collect();
        files.dedup();
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environment = environment.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect();
        let executable = fs::File::open(format!("/proc/{pid}/exe")).ok();
        let object = executable.and_then(|file| ObjectFile::from_file(&file).ok());
        let go = object.is_some_and(|object| object.section(".go.buildinfo").is_some());
        Some(Self { kernel_thread: files.is_empty(), files, environment, go })
    }

    fn maps(&self, prefix: &str) -> bool {
        self.files.iter().any(|path| path.rsplit('/').next().is_some_and(|name| name.starts_with(prefix)))
    }

    fn sets(&self, name: &str, value: &str) -> bool {
        self.environment.iter().any(|text| text.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) == Some(value))
    }

    /// Whether the library is loaded.
    pub(super) fn has_library(&self) -> bool {
        self.maps("libflamekeeper_heap.so")
    }

    /// Whether it was started with the library in its environment.
    pub(super) fn wants_library(&self) -> bool {
        self.environment.iter().any(|text| text.starts_with("LD_PRELOAD=") && text.contains("libflamekeeper_heap.so"))
    }

    /// What cannot be seen, and what to do.
    pub(super) fn blindness(&self, samples: bool) -> Vec<&'static str> {
        let is_static = !self.kernel_thread && !self.maps("ld-") && !self.maps("ld.so");
        let python = self.maps("python") || self.maps("libpython");
        let mut found = Vec::new();
        if self.kernel_thread {
            found.push("a kernel thread, or another user's process that may not be looked at");
        }
        if is_static && !self.go && !samples {
            found.push("a static program: LD_PRELOAD has no effect; link it dynamically, or (Rust) use flamekeeper_heap::Sampled as its global allocator");
        }
        if self.go {
            found.push("Go has an allocator of its own: only C code in it is seen; use net/http/pprof's heap profile");
        }
        if self.maps("libjvm.so") {
            found.push("the Java heap is not seen, only what the machine and native code allocate beside it; use JFR's allocation events");
        }
        if python && !self.sets("PYTHONMALLOC", "malloc") {
            found.push(
                "Python objects of up to 512 bytes lie in arenas of Python's own and are not seen; start it with PYTHONMALLOC=malloc",
            );
        }
        if self.maps("node") || self.maps("libnode.so") {
            found.push("V8's heap (JavaScript objects) is not seen, only buffers and native code; use node --heap-prof");
        }
        if self.maps("libjemalloc") {
            found.push("jemalloc has functions of its own for C++'s new (and mallocx) that are not seen; malloc and free are");
        }
        if self.wants_library() && !self.has_library() && !is_static {
            found.push("the library was asked for and is not loaded: it is missing, or not readable, in the process's file system");
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(files: &[&str], environment: &[&str]) -> Facts {
        let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Facts { files: all(files), environment: all(environment), ..Facts::default() }
    }

    /// Each kind of blindness is told by its cause, and a plain program has none.
    #[test]
    fn blindness_is_told() {
        const LOADER: &str = "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
        let of = |files: &[&str], environment: &[&str]| facts(files, environment).blindness(false).join("|");
        assert_eq!(of(&["/usr/bin/nginx", LOADER], &[]), "");
        assert!(of(&["/usr/bin/busybox"], &[]).starts_with("a static program"));
        assert!(of(&["/usr/bin/python3.11", LOADER], &[]).contains("PYTHONMALLOC"));
        assert_eq!(of(&["/usr/bin/python3.11", LOADER], &["PYTHONMALLOC=malloc"]), "");
        assert!(of(&["/usr/lib/jvm/libjvm.so", LOADER], &[]).contains("Java heap"));
        assert!(of(&["/usr/bin/node", LOADER], &[]).contains("V8"));
        assert!(of(&["/usr/lib/libjemalloc.so.2", LOADER], &[]).contains("jemalloc"));
        assert!(of(&["/bin/a", LOADER], &["LD_PRELOAD=/x/libflamekeeper_heap.so"]).contains("not loaded"));
        let go = Facts { go: true, ..facts(&["/bin/go"], &[]) };
        assert_eq!(go.blindness(false).len(), 1);
        assert_eq!(facts(&["/bin/rust-static"], &[]).blindness(true), Vec::<&str>::new());
    }
}
