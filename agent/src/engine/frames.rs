//! From frames to locations of the current window's tables.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flamekeeper_profile::{Avma, FrameKind, Line, Location, LocationId, Svma, Tables};

use crate::fold::Fold;
use crate::jit::book::Memory;
use crate::jit::thread::Service;
use crate::process::file::File;
use crate::process::maps::Backing;
use crate::process::table::{Process, ProcessTable};
use crate::unwind::pool::ObjectPool;
use crate::unwind::{FrameCode, UserFrame};

/// Object of generated code that has a name.
const GENERATED: &str = "[jit]";
/// Object of generated code without one.
const ANONYMOUS: &str = "[anon]";

/// Frames of generated code without a name that are remembered until the window's edge.
const MAX_WAITING: usize = 1 << 16;

/// Generated code of all processes as locations of the current window's tables.
#[derive(Debug, Default)]
pub(crate) struct GeneratedFrames {
    /// By generation of the process, version of its names, and address.
    known: HashMap<(u64, u32, u64), LocationId, foldhash::fast::RandomState>,
    /// Frames whose names may yet be read, each with a location of its own.
    waiting: Vec<Waiting>,
}

/// A frame that was sampled before its name was read.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    location: LocationId,
    pid: u32,
    generation: u64,
    address: Avma,
    /// When it was sampled first.
    time: u64,
}

impl GeneratedFrames {
    /// A new window begins, with new tables.
    pub(crate) fn begin_window(&mut self) {
        self.known.clear();
        self.waiting.clear();
    }

    /// Bytes that it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.known.len() * 48
    }

    /// Addresses of generated code mean nothing in another process or run: only the name is kept, so that equal stacks
    /// are equal.
    fn location(&mut self, process: &Process, address: Avma, time: u64, tables: &mut Tables) -> LocationId {
        let key = (process.generation, process.names.version(), address.0);
        let Self { known, waiting } = self;
        *known.entry(key).or_insert_with(|| {
            if let Some(location) = named(process, address, time, tables) {
                return location;
            }
            process.names.missing(time);
            if !process.names.may_come() || waiting.len() >= MAX_WAITING {
                return unnamed(0, tables);
            }
            let location = unnamed(waiting.len() as u64 + 1, tables);
            waiting.push(Waiting { location, pid: process.pid, generation: process.generation, address, time });
            location
        })
    }

    /// A frame that a Java virtual machine's own records name.
    fn java(&mut self, process: &Process, number: u32, tables: &mut Tables) -> LocationId {
        // No address is so high.
        let key = (process.generation, u32::MAX, u64::MAX - u64::from(number));
        *self.known.entry(key).or_insert_with(|| {
            let object = tables.intern_object(None, GENERATED);
            tables.intern_named(FrameKind::Jvm, Some(object), Svma(0), process.java.name(number).unwrap_or(ANONYMOUS))
        })
    }

    /// Waits a little for the names that processes wrote as they ended: no window comes after this one.
    pub(crate) fn await_last_names(&self, processes: &mut ProcessTable) {
        const PATIENCE: Duration = Duration::from_secs(1);
        let until = Instant::now() + PATIENCE;
        for waiting in &self.waiting {
            if let Some(process) = processes.get_mut(waiting.pid).filter(|process| process.generation == waiting.generation) {
                process.names.await_last_look(until);
            }
        }
    }

    /// Names what has got its name since it was sampled, before the window is closed. What has none yet will have none.
    pub(crate) fn settle(&mut self, processes: &mut ProcessTable, jit: &mut Service, fold: &mut Fold, java: &Arc<Memory>) {
        if self.waiting.is_empty() {
            return;
        }
        let mut moved = HashMap::default();
        for waiting in &self.waiting {
            let process = processes.get_mut(waiting.pid).filter(|process| process.generation == waiting.generation);
            let location = process.and_then(|process| {
                process.names.refresh(jit, process.pid, process.born, &process.maps, waiting.time);
                let Process { pid, names, java: machine, .. } = process;
                let by_machine = machine.name_at((*pid, names), waiting.address.0, waiting.time, java).map(|name| {
                    let object = fold.tables().intern_object(None, GENERATED);
                    fold.tables().intern_named(FrameKind::Jvm, Some(object), Svma(0), name)
                });
                by_machine.or_else(|| named(process, waiting.address, waiting.time, fold.tables()))
            });
            moved.insert(waiting.location, location.unwrap_or_else(|| unnamed(0, fold.tables())));
        }
        fold.relocate(&moved);
    }
}

/// The location of code that a runtime has named.
fn named(process: &Process, address: Avma, time: u64, tables: &mut Tables) -> Option<LocationId> {
    let found = process.names.find(address, time)?;
    let object = Some(tables.intern_object(None, GENERATED));
    let line = Line { function: tables.intern_string(found.name), file: tables.intern_string(found.file), line: found.line };
    let kind = kind(process, found.name);
    Some(tables.intern_location(Location { kind, object, address: Svma(0), lines: Box::new([line]) }))
}

/// The location of code without a name; the number keeps those apart that may yet get one.
fn unnamed(number: u64, tables: &mut Tables) -> LocationId {
    let object = tables.intern_object(None, ANONYMOUS);
    tables.intern_address(FrameKind::Jit, Some(object), Svma(number))
}

/// The location of a user frame.
pub(crate) fn location(
    frame: &UserFrame,
    (process, time): (&Process, u64),
    pool: &mut ObjectPool,
    fold: &mut Fold,
    generated: &mut GeneratedFrames,
) -> LocationId {
    let window = fold.serial();
    let tables = fold.tables();
    match frame.code {
        FrameCode::Object(object, svma) => {
            let kind = pool.kind(object, svma);
            let object = pool.interned(object, window, |id, path| tables.intern_object(Some(id.clone()), path));
            tables.intern_address(kind, object, svma)
        }
        FrameCode::File(offset) => {
            // Without the file nobody knows where its parts belong, so this offset is no address of it: an object without
            // an identity keeps others from looking it up.
            let path = process.maps.get(frame.address).map_or("", |mapping| match &mapping.backing {
                Backing::File(file) => &*file.path,
                Backing::Vdso => "[vdso]",
                Backing::Anonymous => ANONYMOUS,
            });
            let object = tables.intern_object(None, path);
            tables.intern_address(FrameKind::Native, Some(object), Svma(offset.0))
        }
        FrameCode::Generated => generated.location(process, frame.address, time, tables),
        FrameCode::Java(number) => generated.java(process, number, tables),
        FrameCode::Nowhere => tables.intern_address(FrameKind::Native, None, Svma(frame.address.0)),
    }
}

/// Whose code a name is: by what the process runs.
fn kind(process: &Process, name: &str) -> FrameKind {
    let file_name = |file: &File| file.path.rsplit('/').next().unwrap_or_default().to_owned();
    let maps = |prefix: &str| process.maps_file(|file| file_name(file).starts_with(prefix));
    if name.starts_with("py::") {
        FrameKind::Cpython
    } else if maps("libjvm.so") {
        FrameKind::Jvm
    } else if maps("libcoreclr.so") {
        FrameKind::Dotnet
    } else if maps("node") || maps("libnode.so") || maps("chrome") || maps("electron") {
        FrameKind::V8js
    } else if maps("beam.smp") {
        FrameKind::Beam
    } else {
        FrameKind::Jit
    }
}
