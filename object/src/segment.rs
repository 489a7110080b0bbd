//! Loadable segments, and where a process has them.

use flamekeeper_profile::{Avma, FileOffset, Svma};
use object::elf;

use crate::header::ProgramHeader;

/// A part of the file that is loaded into memory (`PT_LOAD`, elf(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file. Need not be page aligned: lld places the next segment's bytes right after the last's.
    pub offset: FileOffset,
    /// Its bytes in the file.
    pub file_size: u64,
    /// The address that the file states for its first byte.
    pub svma: Svma,
    /// Its bytes in memory; beyond `file_size` they are zero.
    pub memory_size: u64,
    /// Whether its memory is executable.
    pub executable: bool,
    /// The alignment that the file states, in bytes.
    pub align: u64,
}

/// The smallest page of any architecture that is supported.
const PAGE: u64 = 4096;
/// The largest page: aarch64 and ppc64 kernels may use 64 KiB.
const LARGEST_PAGE: u64 = 64 << 10;

impl Segment {
    pub(crate) fn of(header: &ProgramHeader) -> Option<Self> {
        (header.kind == elf::PT_LOAD.0).then_some(Self {
            offset: FileOffset(header.offset),
            file_size: header.file_size,
            svma: Svma(header.address),
            memory_size: header.memory_size,
            executable: header.flags & elf::PF_X.0 != 0,
            align: header.align,
        })
    }

    /// How well a mapping from this file offset fits the segment; larger is better, none where it does not.
    ///
    /// The loader maps from the page that the segment begins in, so an exact fit has the page-rounded offset. A mapping
    /// that was split later (mprotect) begins further in.
    fn fit(&self, offset: u64) -> Option<u8> {
        let begin = self.offset.0;
        let end = begin.saturating_add(self.file_size);
        let largest = self.align.clamp(PAGE, LARGEST_PAGE);
        if begin >= offset && begin - offset < PAGE {
            Some(3)
        } else if offset > begin && offset < end {
            Some(2)
        } else if begin >= offset && begin - offset < largest {
            Some(1)
        } else {
            None
        }
    }
}

/// The bias (actual minus stated address, wrapping) of a mapping that begins at `start` and maps the file from `offset`.
///
/// Of the segments that share the file page, which lld's do, the one with the mapping's permission wins; a segment of the
/// other permission is taken only where none of the right one fits. Of data that is not executable the answer may be that of
/// the neighbour: read-only and writable data may share a file page too, and are not told apart here.
#[must_use]
pub fn bias(segments: &[Segment], start: Avma, offset: FileOffset, executable: bool) -> Option<u64> {
    let rank = |segment: &&Segment| segment.fit(offset.0).map(|fit| (segment.executable == executable, fit));
    let fitting = segments.iter().filter(|segment| segment.fit(offset.0).is_some());
    let best = fitting.max_by_key(rank)?;
    // The address that the file states for the mapping's first byte.
    let stated = best.svma.0.wrapping_sub(best.offset.0).wrapping_add(offset.0);
    Some(start.0.wrapping_sub(stated))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(offset: u64, file_size: u64, svma: u64, executable: bool) -> Segment {
        Segment { offset: FileOffset(offset), file_size, svma: Svma(svma), memory_size: file_size, executable, align: 0x1000 }
    }

    /// lld: the read-only and the executable segment share file page 0x6000; the mapping's permission decides.
    #[test]
    fn shared_page_goes_to_the_segment_with_the_mappings_permission() {
        let segments = [segment(0, 0x6a54, 0, false), segment(0x6a60, 0x1000, 0x7a60, true), segment(0x7a60, 0x100, 0x9a60, false)];
        let at = |offset, executable| bias(&segments, Avma(0x5000_0000), FileOffset(offset), executable);
        assert_eq!(at(0x6000, true), Some(0x5000_0000 - 0x7000));
        assert_eq!(at(0x6000, false), Some(0x5000_0000 - 0x6000));
        assert_eq!(at(0x7000, false), Some(0x5000_0000 - 0x9000));
        assert_eq!(at(0x9000, true), None);
    }

    /// A mapping that mprotect split begins inside its segment, and has the same bias as the whole.
    #[test]
    fn split_mapping_keeps_the_bias() {
        let segments = [segment(0x1000, 0x8000, 0x40_1000, true)];
        assert_eq!(bias(&segments, Avma(0x40_1000), FileOffset(0x1000), true), Some(0));
        assert_eq!(bias(&segments, Avma(0x40_3000), FileOffset(0x3000), true), Some(0));
    }

    /// With 64 KiB pages the kernel rounds the offset down further.
    #[test]
    fn large_pages() {
        let segments = [Segment { align: 0x1_0000, ..segment(0x1_5000, 0x8000, 0x2_5000, true) }];
        assert_eq!(bias(&segments, Avma(0x7002_0000), FileOffset(0x1_0000), true), Some(0x7000_0000));
    }
}
