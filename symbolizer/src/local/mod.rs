//! Symbols of this host's objects, straight from their files.

mod gather;

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use flamekeeper_object::{ObjectError, ObjectFile, SymbolsPresent, find_debug_file};
use flamekeeper_profile::{BuildId, Svma, UnnamedReason};

use self::gather::{Found, Gathered};
use crate::convert::{ConvertError, Converter};
use crate::symbol_file::SymbolFile;
use crate::symbolized::{Symbolize, Symbolized};

const VDSO: &str = "[vdso]";
/// A vdso has two or three pages.
const MAX_VDSO: u64 = 1 << 20;

/// Names objects from the files of this host and their separate debug files. Each object is converted once, in memory, when
/// it is first asked for, and kept. For one program's recording; a collector has [`crate::SymbolStore`].
#[derive(Debug)]
pub struct LocalSymbols {
    /// Where paths are looked up, in this order.
    roots: Vec<PathBuf>,
    converter: Converter,
    objects: Mutex<HashMap<Key, Arc<OnceLock<Loaded>>>>,
}

/// The identity of an object, or its path where it has none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Id(BuildId),
    Path(Box<str>),
}

type Loaded = Result<SymbolFile, UnnamedReason>;

impl Default for LocalSymbols {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalSymbols {
    /// Symbols of objects in this mount namespace.
    #[must_use]
    pub fn new() -> Self {
        Self { roots: vec![PathBuf::from("/")], converter: Converter::default(), objects: Mutex::default() }
    }

    /// Symbols of objects as a process sees them, in its container for instance, then in this mount namespace, since the
    /// process may have ended.
    #[must_use]
    pub fn of_process(pid: u32) -> Self {
        Self { roots: vec![PathBuf::from(format!("/proc/{pid}/root")), PathBuf::from("/")], ..Self::new() }
    }

    fn object(&self, key: Key) -> Arc<OnceLock<Loaded>> {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(objects.entry(key).or_default())
    }

    fn load(&self, id: Option<&BuildId>, path: &str) -> Loaded {
        let found = self.find(id, path).ok_or(UnnamedReason::NoSymbols)?;
        let files = Gathered::of(found, self.converter.object_bytes).map_err(|_| UnnamedReason::BadSymbols)?;
        self.converter.convert_all(&files.sources(&files.split())).map_err(|error| match error {
            ConvertError::NoSymbols => UnnamedReason::NoSymbols,
            _ => UnnamedReason::BadSymbols,
        })
    }

    /// The file with the best symbols of an object, and the object.
    fn find(&self, id: Option<&BuildId>, path: &str) -> Option<Found> {
        let is_it = |object: &ObjectFile| id.is_none_or(|id| object.identity() == id);
        if path == VDSO {
            return own_vdso().ok().filter(is_it).map(Found::alone);
        }
        // The kernel adds it to the path of a file that was removed; another may stand there now, which its identity tells.
        let path = Path::new(path.strip_suffix(" (deleted)").unwrap_or(path));
        let inside = path.strip_prefix("/").ok()?;
        self.roots.iter().find_map(|root| {
            let own = ObjectFile::open(&root.join(inside)).ok().filter(is_it);
            let has_all = own.as_ref().is_some_and(|object| object.has_symbols() == SymbolsPresent::DebugInfo);
            let identity = id.or_else(|| own.as_ref().map(ObjectFile::identity)).filter(|_| !has_all);
            let debug = identity.and_then(|id| find_debug_file(id, path, root));
            let debug = debug.and_then(|path| Some((ObjectFile::open(&path).ok()?, path)));
            Found::new(root, path, own, debug)
        })
    }
}

impl Symbolize for LocalSymbols {
    fn symbolize(&self, id: Option<&BuildId>, path: &str, address: Svma) -> Symbolized {
        let key = id.map_or_else(|| Key::Path(path.into()), |id| Key::Id(id.clone()));
        let object = self.object(key);
        match object.get_or_init(|| self.load(id, path)) {
            Ok(file) => file.symbolize(address),
            Err(reason) => Symbolized::Unknown(*reason),
        }
    }
}

/// The code that the kernel maps into every process of this host, read from this one.
fn own_vdso() -> Result<ObjectFile, ObjectError> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let line = maps.lines().find(|line| line.ends_with(VDSO));
    let range = line.and_then(mapped_range).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let len = range.end.saturating_sub(range.start).min(MAX_VDSO);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    std::fs::File::open("/proc/self/mem")?.read_exact_at(&mut bytes, range.start)?;
    ObjectFile::from_bytes(bytes)
}

/// The addresses of a line of `/proc/PID/maps`: proc(5).
fn mapped_range(line: &str) -> Option<std::ops::Range<u64>> {
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}
