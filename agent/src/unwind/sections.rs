//! The sections of an object that unwinding reads.

use std::ops::Range;

use flamekeeper_object::ObjectFile;
use framehop::{ExplicitModuleSectionInfo, Module, Unwinder as _};

use crate::unwind::arch::Unwinder;

/// Bytes of a section.
pub(crate) type Bytes = Box<[u8]>;

/// How an object's code is unwound.
pub(crate) struct UnwindInfo {
    /// An unwinder in the object's own addresses.
    pub(crate) unwinder: Unwinder<Bytes>,
    /// Whether the object says how to unwind its code; else frame pointers are followed.
    pub(crate) present: bool,
    /// Bytes of memory that its sections take.
    pub(crate) bytes: usize,
}

/// Reads what an object says about unwinding its code.
pub(crate) fn read(object: &ObjectFile) -> UnwindInfo {
    let mut unwinder = Unwinder::new();
    let executable = object.segments().iter().filter(|segment| segment.executable);
    let end = executable.map(|segment| segment.svma.0.saturating_add(segment.memory_size)).max().unwrap_or_default();
    // framehop's relative addresses have 32 bits; most objects state addresses from 0 or 4 MiB on, a few far above.
    let base = object.segments().iter().map(|segment| segment.svma.0).min().unwrap_or_default();
    let eh_frame = section(object, ".eh_frame");
    let eh_frame_hdr = if eh_frame.is_some() { section(object, ".eh_frame_hdr") } else { None };
    let debug_frame = if eh_frame.is_none() { section(object, ".debug_frame") } else { None };
    let sections = [&eh_frame, &eh_frame_hdr, &debug_frame];
    let bytes = sections.into_iter().flatten().map(|(_, bytes)| bytes.len()).sum();
    let present = eh_frame.is_some() || debug_frame.is_some();
    // Of these two only the address matters, as a base of encoded pointers.
    let start = |name: &str| object.section_svma(name).map(|svma| svma.0..svma.0);
    let info = ExplicitModuleSectionInfo {
        base_svma: base,
        text_svma: start(".text"),
        got_svma: start(".got"),
        eh_frame_svma: eh_frame.as_ref().map(|section| section.0.clone()),
        eh_frame: eh_frame.map(|section| section.1),
        eh_frame_hdr_svma: eh_frame_hdr.as_ref().map(|section| section.0.clone()),
        eh_frame_hdr: eh_frame_hdr.map(|section| section.1),
        debug_frame: debug_frame.map(|section| section.1),
        ..ExplicitModuleSectionInfo::default()
    };
    unwinder.add_module(Module::new(String::new(), base..end, base, info));
    UnwindInfo { unwinder, present, bytes }
}

fn section(object: &ObjectFile, name: &str) -> Option<(Range<u64>, Bytes)> {
    let section = object.section(name).filter(|section| !section.data.is_empty())?;
    let svma = section.svma.0..section.svma.0.saturating_add(section.data.len() as u64);
    Some((svma, section.data.into()))
}
