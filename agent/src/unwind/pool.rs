//! The objects whose code was sampled, each loaded once for all processes, and a bound on how many.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use flamekeeper_object::go::StackMap;
use flamekeeper_object::{ObjectFile, Segment, bias};
use flamekeeper_profile::{BuildId, FrameKind, ObjectId, Svma};

use crate::engine::{EngineStats, ObjectSeen};
use crate::process::file::FileKey;
use crate::process::maps::{Backing, Mapping};
use crate::unwind::locate::Stamp;
use crate::unwind::sections::{self, UnwindInfo};
use crate::unwind::{Resolved, locate, vdso};

/// Objects that are kept loaded. A busy host samples a few hundred.
const MAX_OBJECTS: usize = 2048;
/// Bytes of unwind sections that are kept: an object is worth at most a few megabytes, rustc's and Chromium's 12 to 20.
const MAX_SECTION_BYTES: usize = 40 << 20;
/// Files that are remembered as resolved or not, beyond which the memory is cleared.
const MAX_FILES: usize = 16_384;
/// Times that opening a file is tried, each time through another process.
const MAX_TRIES: u8 = 3;
/// framehop numbers the states of all unwinders of a program with 16 bits; each of ours takes two of them. Start anew
/// well before the numbers repeat.
const MODULES_PER_EPOCH: u32 = 30_000;

/// An object in the pool. It may have been unloaded since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObjectRef {
    slot: u32,
    serial: u32,
}

impl ObjectRef {
    /// The place in the pool.
    pub(crate) const fn slot(self) -> usize {
        self.slot as usize
    }

    /// The number of the loading, which is never 0.
    pub(crate) const fn serial(self) -> u32 {
        self.serial
    }
}

/// A loaded object.
struct Loaded {
    serial: u32,
    /// Its identity.
    build_id: BuildId,
    /// Its path, as the process saw it that it was first sampled in.
    path: Arc<str>,
    /// Where its file's parts belong. The file itself is not kept open.
    segments: Box<[Segment]>,
    unwind: UnwindInfo,
    /// The round in which it was used last.
    used: u64,
    /// The window whose tables it is in, and where.
    interned: Option<(u64, ObjectId)>,
}

/// What became of a file.
#[derive(Clone, Copy, Debug)]
enum FileState {
    /// The stamp is of the file that was loaded; only a file without a build id may be another now.
    Loaded(ObjectRef, Option<Stamp>),
    Failed {
        pid: u32,
        tries: u8,
    },
}

/// Loaded objects.
pub(crate) struct ObjectPool {
    slots: Vec<Option<Loaded>>,
    by_identity: HashMap<BuildId, ObjectRef>,
    by_file: HashMap<u64, FileState, foldhash::fast::RandomState>,
    vdso: Option<ObjectRef>,
    seen: Option<SyncSender<ObjectSeen>>,
    stats: Arc<EngineStats>,
    serial: u32,
    clock: u64,
    /// Bytes of unwind sections that may be kept.
    max_bytes: usize,
    /// Bytes of those that are.
    bytes: usize,
    /// Lookups of objects that were loaded already.
    hits: u64,
    modules: u32,
    epoch: u64,
}

impl std::fmt::Debug for ObjectPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectPool").field("objects", &self.by_identity.len()).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl ObjectPool {
    /// An empty pool. `seen` is told of every object that is loaded.
    pub(crate) fn new(seen: Option<SyncSender<ObjectSeen>>, stats: Arc<EngineStats>) -> Self {
        Self {
            slots: Vec::new(),
            by_identity: HashMap::new(),
            by_file: HashMap::default(),
            vdso: None,
            seen,
            stats,
            serial: 0,
            clock: 0,
            max_bytes: MAX_SECTION_BYTES,
            bytes: 0,
            hits: 0,
            modules: 0,
            epoch: 0,
        }
    }

    /// Grows when all unwinders were made anew: caches of rules must go then.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Notes that an object is used; false when it is not loaded any more.
    pub(crate) fn touch(&mut self, object: ObjectRef) -> bool {
        let clock = self.clock;
        let loaded = self.loaded_mut(object).map(|loaded| loaded.used = clock).is_some();
        self.hits += u64::from(loaded);
        loaded
    }

    /// As [`Self::touch`], for several.
    pub(crate) fn touch_all(&mut self, objects: &[ObjectRef]) -> bool {
        let clock = self.clock;
        objects.iter().all(|object| self.loaded_mut(*object).map(|loaded| loaded.used = clock).is_some())
    }

    /// Counts frames of objects that were loaded already.
    pub(crate) const fn used_again(&mut self, frames: usize) {
        self.hits += frames as u64;
    }

    /// What the object says of its Go code.
    pub(crate) fn go(&self, object: ObjectRef) -> Option<&StackMap> {
        self.loaded(object)?.unwind.go.as_ref()
    }

    /// What runs the code at an address of the object.
    pub(crate) fn kind(&self, object: ObjectRef, address: Svma) -> FrameKind {
        let go = self.go(object).is_some_and(|go| go.covers(address));
        if go { FrameKind::Go } else { FrameKind::Native }
    }

    /// How the object's code is unwound.
    pub(crate) fn unwind_info(&self, object: ObjectRef) -> Option<&UnwindInfo> {
        self.loaded(object).map(|loaded| &loaded.unwind)
    }

    /// The object's identity.
    pub(crate) fn build_id(&self, object: ObjectRef) -> Option<&BuildId> {
        self.loaded(object).map(|loaded| &loaded.build_id)
    }

    /// The object's handle in the tables of a window; `intern` makes it the first time.
    pub(crate) fn interned(&mut self, object: ObjectRef, window: u64, intern: impl FnOnce(&BuildId, &str) -> ObjectId) -> Option<ObjectId> {
        let loaded = self.loaded_mut(object)?;
        match loaded.interned {
            Some((of, id)) if of == window => Some(id),
            _ => {
                let id = intern(&loaded.build_id, &loaded.path);
                loaded.interned = Some((window, id));
                Some(id)
            }
        }
    }

    /// The object that a mapping belongs to, loaded now if need be.
    pub(crate) fn resolve(&mut self, pid: u32, mapping: &Mapping) -> Resolved {
        let object = match &mapping.backing {
            Backing::Anonymous => None,
            Backing::Vdso => self.vdso(),
            Backing::File(file) => match self.by_file.get(&file.serial).copied() {
                Some(FileState::Loaded(object, stamp)) if is_unchanged(pid, mapping, file, stamp) && self.touch(object) => Some(object),
                Some(FileState::Failed { tries, .. }) if tries >= MAX_TRIES => return Resolved::Unreadable,
                Some(FileState::Failed { pid: tried, .. }) if tried == pid => return Resolved::Unreadable,
                state => self.load(pid, mapping, file, state),
            },
        };
        let Some(object) = object else { return Resolved::Unreadable };
        let bias = self.loaded(object).and_then(|loaded| bias(&loaded.segments, mapping.start, mapping.offset, true));
        bias.map_or(Resolved::Unreadable, |bias| Resolved::Object { object, bias })
    }

    /// The identity of the object that a mapping belongs to, which is not loaded for that.
    pub(crate) fn identity(&self, pid: u32, mapping: &Mapping) -> Option<BuildId> {
        let Backing::File(file) = &mapping.backing else { return None };
        if let Some(known) = file.key.build_id() {
            return Some(known);
        }
        match self.by_file.get(&file.serial) {
            Some(FileState::Loaded(object, stamp)) if is_unchanged(pid, mapping, file, *stamp) && self.loaded(*object).is_some() => {
                self.build_id(*object).cloned()
            }
            _ => locate::open(pid, mapping, file).map(|located| located.object.identity().clone()),
        }
    }

    /// Ends a round: what was not used for the longest time goes when there is too much.
    pub(crate) fn sweep(&mut self) {
        self.clock += 1;
        self.by_file.retain(|_, state| !matches!(*state, FileState::Failed { tries, .. } if tries < MAX_TRIES));
        if self.by_file.len() > MAX_FILES {
            self.by_file.clear();
        }
        self.unload_idle();
        self.report();
    }

    /// Bytes that unwind sections take.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes how many bytes of unwind sections may be kept.
    pub(crate) const fn bound(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
    }

    /// Between two records, when no handle is in use: unloads objects if too much is loaded, also those of this round.
    /// Returns how many.
    pub(crate) fn keep_within(&mut self) -> usize {
        if self.bytes <= self.max_bytes { 0 } else { self.unload(self.max_bytes / 4 * 3, u64::MAX) }
    }

    /// Unloads the objects that were not used for the longest time until the limits hold; never one of this round or the
    /// last.
    fn unload_idle(&mut self) {
        let unloaded = self.unload(self.max_bytes, self.clock.saturating_sub(1));
        self.stats.evicted.add(unloaded as u64);
    }

    fn unload(&mut self, max_bytes: usize, used_before: u64) -> usize {
        let mut count = self.slots.iter().flatten().count();
        if count <= MAX_OBJECTS && self.bytes <= max_bytes {
            return 0;
        }
        let mut by_use: Vec<usize> = (0..self.slots.len()).filter(|slot| self.slots[*slot].is_some()).collect();
        by_use.sort_unstable_by_key(|slot| self.slots[*slot].as_ref().map(|loaded| loaded.used));
        let before = count;
        for slot in by_use {
            if count <= MAX_OBJECTS && self.bytes <= max_bytes {
                break;
            }
            let Some(idle) = self.slots[slot].take_if(|loaded| loaded.used < used_before) else { break };
            (count, self.bytes) = (count - 1, self.bytes.saturating_sub(idle.unwind.bytes));
            self.by_identity.remove(&idle.build_id);
        }
        self.report();
        before - count
    }

    fn load(&mut self, pid: u32, mapping: &Mapping, file: &crate::process::file::File, before: Option<FileState>) -> Option<ObjectRef> {
        // The same object under another path, perhaps of a file that nobody can open any more.
        let same = file.key.build_id().and_then(|id| self.by_identity.get(&id).copied()).filter(|object| self.touch(*object));
        if let Some(object) = same {
            self.by_file.insert(file.serial, FileState::Loaded(object, None));
            return Some(object);
        }
        let Some(located) = locate::open(pid, mapping, file) else {
            let tries = match before {
                Some(FileState::Failed { tries, .. }) => tries + 1,
                _ => 1,
            };
            self.by_file.insert(file.serial, FileState::Failed { pid, tries });
            return None;
        };
        let identity = located.object.identity().clone();
        let stamp = Stamp::of(&located.file);
        let known = self.by_identity.get(&identity).copied().filter(|object| self.touch(*object));
        let object = known.unwrap_or_else(|| {
            self.announce(&identity, &file.path, located.file);
            self.insert(identity, &file.path, &located.object)
        });
        self.by_file.insert(file.serial, FileState::Loaded(object, stamp));
        Some(object)
    }

    fn vdso(&mut self) -> Option<ObjectRef> {
        if let Some(object) = self.vdso.filter(|object| self.touch(*object)) {
            return Some(object);
        }
        let file = vdso::file()?;
        let object = ObjectFile::from_file(&file).ok()?;
        self.announce(object.identity(), vdso::NAME, file);
        let object = self.insert(object.identity().clone(), vdso::NAME, &object);
        self.vdso = Some(object);
        Some(object)
    }

    fn insert(&mut self, build_id: BuildId, path: &str, object: &ObjectFile) -> ObjectRef {
        self.modules += 1;
        if self.modules > MODULES_PER_EPOCH {
            self.modules = 1;
            self.epoch += 1;
            self.slots.clear();
            self.bytes = 0;
            self.by_identity.clear();
            self.by_file.clear();
        }
        // Idle ones make room. Where there are none, this one goes without: to read it again and again in turn with others
        // would cost more than its stacks are worth.
        let unwind = sections::read(object, self.max_bytes.saturating_sub(self.bytes));
        if self.bytes + unwind.bytes > self.max_bytes / 8 * 7 {
            let unloaded = self.unload(self.max_bytes / 4 * 3, self.clock.saturating_sub(1));
            self.stats.evicted.add(unloaded as u64);
        }
        self.serial = self.serial.wrapping_add(1).max(1);
        self.stats.object_loads.add(1);
        let loaded = Loaded {
            serial: self.serial,
            build_id: build_id.clone(),
            path: path.into(),
            segments: object.segments().into(),
            unwind,
            used: self.clock,
            interned: None,
        };
        self.bytes += loaded.unwind.bytes;
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(loaded);
        let object = ObjectRef { slot: u32::try_from(slot).unwrap_or(u32::MAX), serial: self.serial };
        self.by_identity.insert(build_id, object);
        self.report();
        object
    }

    fn announce(&self, build_id: &BuildId, path: &str, file: std::fs::File) {
        let Some(seen) = &self.seen else { return };
        let object = ObjectSeen { build_id: build_id.clone(), path: path.to_owned(), file };
        if let Err(TrySendError::Full(_)) = seen.try_send(object) {
            self.stats.objects_unannounced.add(1);
        }
    }

    fn report(&self) {
        self.stats.objects.set(self.by_identity.len() as u64);
        self.stats.object_hits.set(self.hits);
    }

    fn loaded(&self, object: ObjectRef) -> Option<&Loaded> {
        self.slots.get(object.slot())?.as_ref().filter(|loaded| loaded.serial == object.serial)
    }

    fn loaded_mut(&mut self, object: ObjectRef) -> Option<&mut Loaded> {
        self.slots.get_mut(object.slot())?.as_mut().filter(|loaded| loaded.serial == object.serial)
    }
}

/// Whether a file that was loaded is still the one that a mapping maps. A build id says so by itself; device and inode stay
/// when a library is compiled anew in place, and an inode is soon given to another file.
fn is_unchanged(pid: u32, mapping: &Mapping, file: &crate::process::file::File, stamp: Option<Stamp>) -> bool {
    let by_inode = matches!(file.key, FileKey::Inode { .. });
    !by_inode || Stamp::now(pid, mapping).is_none_or(|now| Some(now) == stamp)
}
