//! The sections of an object that unwinding reads.

use std::ops::Range;
use std::sync::Arc;

use flamekeeper_object::ObjectFile;
use flamekeeper_object::go::StackMap;
use flamekeeper_profile::Svma;
use framehop::{ExplicitModuleSectionInfo, Module, Unwinder as _};
use gimli::BaseAddresses;

use crate::unwind::arch::Unwinder;
use crate::unwind::callsite::Sites;
use crate::unwind::cfi::{Cfi, Context};
use crate::unwind::verdict::Verdict;

pub(crate) use crate::unwind::cfi::Bytes;

/// How an object's code is unwound.
pub(crate) struct UnwindInfo {
    /// An unwinder in the object's own addresses.
    pub(crate) unwinder: Unwinder<Bytes>,
    /// What the object says of its frames; else frame pointers are followed.
    pub(crate) cfi: Option<Cfi>,
    /// What its code shows where it says nothing.
    pub(crate) sites: Sites,
    /// What it says of its Go code, which goes before all else.
    pub(crate) go: Option<StackMap>,
    /// Bytes of memory that its sections take.
    pub(crate) bytes: usize,
}

impl UnwindInfo {
    /// How to step from a frame at an address.
    pub(crate) fn verdict(&self, address: Svma, context: &mut Context) -> Verdict {
        let verdict = self.cfi.as_ref().map_or(Verdict::Uncovered, |cfi| cfi.verdict(address, context));
        if verdict == Verdict::Uncovered { self.sites.verdict(address) } else { verdict }
    }
}

/// Reads what an object says about unwinding its code. A section of more than `max_bytes` is left out: one object must not
/// take the memory of all.
pub(crate) fn read(object: &ObjectFile, max_bytes: usize) -> UnwindInfo {
    let eh_frame = section(object, ".eh_frame", max_bytes);
    let table = if eh_frame.is_some() { section(object, ".eh_frame_hdr", max_bytes) } else { None };
    let go = object.go_stack_map().filter(|map| map.bytes() <= max_bytes);
    // Where there is C code beside Go's it has an .eh_frame.
    let debug_frame = if eh_frame.is_none() && go.is_none() { section(object, ".debug_frame", max_bytes) } else { None };
    let bases = bases(object);
    let cfi = match (&eh_frame, &debug_frame) {
        (Some((_, frames)), _) => Some(Cfi::of_eh_frame(Arc::clone(frames), table.as_ref().map(|table| Arc::clone(&table.1)), bases)),
        (None, Some((_, frames))) => Some(Cfi::of_debug_frame(Arc::clone(frames), bases)),
        (None, None) => None,
    };
    let mut context = Context::new_in();
    let covered = |address| cfi.as_ref().is_some_and(|cfi| cfi.verdict(address, &mut context) != Verdict::Uncovered);
    let sites = if go.is_some() { Sites::default() } else { Sites::read(object, max_bytes, covered) };
    let sections = [&eh_frame, &table, &debug_frame];
    let bytes: usize = sections.into_iter().flatten().map(|(_, bytes)| bytes.len()).sum();
    let bytes = bytes + go.as_ref().map_or(0, StackMap::bytes) + sites.bytes() + cfi.as_ref().map_or(0, Cfi::index_bytes);
    UnwindInfo { unwinder: unwinder(object, eh_frame, table, debug_frame), cfi, sites, go, bytes }
}

type Loaded = Option<(Range<u64>, Bytes)>;

fn unwinder(object: &ObjectFile, eh_frame: Loaded, table: Loaded, debug_frame: Loaded) -> Unwinder<Bytes> {
    let mut unwinder = Unwinder::new();
    let executable = object.segments().iter().filter(|segment| segment.executable);
    let end = executable.map(|segment| segment.svma.0.saturating_add(segment.memory_size)).max().unwrap_or_default();
    // framehop's relative addresses have 32 bits; most objects state addresses from 0 or 4 MiB on, a few far above.
    let base = object.segments().iter().map(|segment| segment.svma.0).min().unwrap_or_default();
    // Of these two only the address matters, as a base of encoded pointers.
    let start = |name: &str| object.section_svma(name).map(|svma| svma.0..svma.0);
    let info = ExplicitModuleSectionInfo {
        base_svma: base,
        text_svma: start(".text"),
        got_svma: start(".got"),
        eh_frame_svma: eh_frame.as_ref().map(|section| section.0.clone()),
        eh_frame: eh_frame.map(|section| section.1),
        eh_frame_hdr_svma: table.as_ref().map(|section| section.0.clone()),
        eh_frame_hdr: table.map(|section| section.1),
        debug_frame: debug_frame.map(|section| section.1),
        ..ExplicitModuleSectionInfo::default()
    };
    unwinder.add_module(Module::new(String::new(), base..end, base, info));
    unwinder
}

fn bases(object: &ObjectFile) -> BaseAddresses {
    let start = |name| object.section_svma(name).map_or(0, |svma| svma.0);
    BaseAddresses::default()
        .set_eh_frame(start(".eh_frame"))
        .set_eh_frame_hdr(start(".eh_frame_hdr"))
        .set_text(start(".text"))
        .set_got(start(".got"))
}

fn section(object: &ObjectFile, name: &str, max_bytes: usize) -> Loaded {
    let section = object.section(name).filter(|section| (1..=max_bytes).contains(&section.data.len()))?;
    let svma = section.svma.0..section.svma.0.saturating_add(section.data.len() as u64);
    Some((svma, section.data.into()))
}
