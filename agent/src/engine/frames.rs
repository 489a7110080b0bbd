//! From frames to locations of the current window's tables.

use std::collections::HashMap;

use flamekeeper_profile::{Avma, FrameKind, LocationId, Svma, Tables};

use crate::fold::Fold;
use crate::process::file::File;
use crate::process::maps::Backing;
use crate::process::table::Process;
use crate::unwind::pool::ObjectPool;
use crate::unwind::{FrameCode, UserFrame};

/// Object of generated code that has a name.
const GENERATED: &str = "[jit]";
/// Object of generated code without one.
const ANONYMOUS: &str = "[anon]";

/// Generated code of all processes as locations of the current window's tables.
#[derive(Debug, Default)]
pub(crate) struct GeneratedFrames {
    /// By generation of the process, version of its perf map, and address.
    known: HashMap<(u64, u32, u64), LocationId, foldhash::fast::RandomState>,
}

impl GeneratedFrames {
    /// A new window begins, with new tables.
    pub(crate) fn begin_window(&mut self) {
        self.known.clear();
    }

    /// Addresses of generated code mean nothing in another process or run: only the name is kept, so that equal stacks
    /// are equal.
    fn location(&mut self, process: &Process, address: Avma, tables: &mut Tables) -> LocationId {
        let key = (process.generation, process.perf_map.version(), address.0);
        *self.known.entry(key).or_insert_with(|| match process.perf_map.name(address) {
            Some(name) => {
                let object = tables.intern_object(None, GENERATED);
                tables.intern_named(kind(process, name), Some(object), Svma(0), name)
            }
            None => {
                let object = tables.intern_object(None, ANONYMOUS);
                tables.intern_address(FrameKind::Jit, Some(object), Svma(0))
            }
        })
    }
}

/// The location of a user frame.
pub(crate) fn location(
    frame: &UserFrame,
    process: &Process,
    pool: &mut ObjectPool,
    fold: &mut Fold,
    generated: &mut GeneratedFrames,
) -> LocationId {
    let window = fold.serial();
    let tables = fold.tables();
    match frame.code {
        FrameCode::Object(object, svma) => {
            let object = pool.interned(object, window, |id, path| tables.intern_object(Some(id.clone()), path));
            tables.intern_address(FrameKind::Native, object, svma)
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
        FrameCode::Generated => generated.location(process, frame.address, tables),
        FrameCode::Nowhere => tables.intern_address(FrameKind::Native, None, Svma(frame.address.0)),
    }
}

/// Whose code a name of a perf map is: by what the process runs.
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
