//! HotSpot's code cache: from an address to the blob of code that it lies in, and the frame that the blob makes.

use crate::jvm::layout::{Layout, Number};
use crate::jvm::memory::Memory;

/// Bytes at the start of a blob in which all fields that are read lie.
pub(super) const MAX_BLOB_HEADER: usize = 512;
/// Steps back over the segment map: each byte of it says how far at most 254 segments.
const MAX_STEPS: usize = 1 << 12;
/// The largest frame, in words: a copied stack is not larger.
const MAX_FRAME: u32 = 1 << 13;
/// The largest blob.
const MAX_CODE: u64 = 64 << 20;

/// What a blob of code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A compiled method, or the wrapper of a native one; the method's address.
    Method(u64),
    /// The interpreter: its frames are chained by their frame pointers.
    Interpreter,
    /// Code without a frame, that goes on to where it leads: virtual calls and adapters.
    Bare,
    /// Anything else: stubs, calls into the runtime.
    Stub,
}

/// A blob of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    /// Where its structure is.
    pub(super) address: u64,
    /// First instruction.
    pub(super) start: u64,
    /// End of the blob.
    pub(super) end: u64,
    /// What it is.
    pub(super) kind: Kind,
    /// Words of its frame, return address and saved frame pointer included; 0: not known.
    pub(super) frame_size: u32,
    /// Bytes from the start after which the frame stands; none: not known.
    pub(super) frame_complete: Option<u32>,
    /// Address of its name.
    pub(super) name: u64,
}

/// The blob that an address lies in.
pub(super) fn find(memory: &impl Memory, layout: &Layout, address: u64) -> Option<Blob> {
    let heap = layout.heaps.iter().find(|heap| (heap.low..heap.high).contains(&address))?;
    let mut segment = (address - heap.low) >> heap.log2_segment;
    for _ in 0..MAX_STEPS {
        match memory.u8(heap.segments.checked_add(segment)?)? {
            0 => {
                let block = heap.low.checked_add(segment << heap.log2_segment)?;
                let used = memory.u8(block.checked_add(layout.block_used)?)? != 0;
                return if used { at(memory, layout, block.checked_add(layout.block_header)?) } else { None };
            }
            0xff => return None,
            back => segment = segment.checked_sub(back.into())?,
        }
    }
    None
}

/// The blob whose structure is at an address.
pub(super) fn at(memory: &impl Memory, layout: &Layout, address: u64) -> Option<Blob> {
    let mut header = [0; MAX_BLOB_HEADER];
    // What lies behind the header is code of the same blob, or of the heap, which is committed in pages.
    let to_page_end = usize::try_from(4096 - address % 4096).ok()?;
    if !memory.read(address, &mut header) && !memory.read(address, header.get_mut(..to_page_end)?) {
        return None;
    }
    let header = Header(&header);
    let size = u64::from(header.u32(layout.blob_size)?);
    let start = match (layout.code_begin, layout.code_offset) {
        (Some(begin), _) => header.u64(begin)?,
        (None, Some(offset)) => address.checked_add(header.number(offset)?.into())?,
        (None, None) => return None,
    };
    let end = address.checked_add(size)?;
    if size > MAX_CODE || !(address..end).contains(&start) {
        return None;
    }
    let name = header.u64(layout.blob_name)?;
    let kind = match memory.text(name).as_deref() {
        Some("nmethod" | "native nmethod") => Kind::Method(header.u64(layout.nmethod_method)?),
        Some("Interpreter") => Kind::Interpreter,
        Some(name) if name.starts_with("vtable") || name.starts_with("itable") || name.ends_with("adapters") => Kind::Bare,
        _ => Kind::Stub,
    };
    let complete = header.number(layout.frame_complete)?;
    let frame_complete = u32::try_from(if layout.frame_complete.short { i32::from(complete as u16 as i16) } else { complete as i32 }).ok();
    let frame_size = header.u32(layout.frame_size).filter(|size| (2..=MAX_FRAME).contains(size)).unwrap_or(0);
    Some(Blob { address, start, end, kind, frame_size, frame_complete, name })
}

struct Header<'a>(&'a [u8; MAX_BLOB_HEADER]);

impl Header<'_> {
    fn u64(&self, offset: u64) -> Option<u64> {
        self.0.get(usize::try_from(offset).ok()?..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
    }

    fn u32(&self, offset: u64) -> Option<u32> {
        self.0.get(usize::try_from(offset).ok()?..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    fn number(&self, number: Number) -> Option<u32> {
        let wide = self.u32(number.offset)?;
        Some(if number.short {
            u32::from(self.0.get(usize::try_from(number.offset).ok()?..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))?)
        } else {
            wide
        })
    }
}

/// How to come from a frame to its caller's, when the frame is the leaf and may stand only in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The frame stands: the caller's stack pointer is so many bytes above, the frame pointer is saved below the return
    /// address.
    Whole(u64),
    /// Only the return address is on the stack, that many bytes above the stack pointer; the frame pointer is the caller's.
    ReturnOnly(u64),
}

/// The shape of a compiled method's leaf frame from its code: `before` are the bytes from its start (at most 128), `at` the
/// offset of the instruction that is next, `ahead` the bytes from there.
///
/// A prologue makes the frame by `push rbp; sub rsp, size - 16` (or `sub rsp, size - 8; mov [rsp + size - 16], rbp`), an
/// epilogue takes it away by `add rsp, size - 16; pop rbp`, polls for a safepoint, and returns
/// (`C1_MacroAssembler::build_frame`, `MacroAssembler::verified_entry`).
pub(super) fn leaf_shape(blob: &Blob, before: &[u8], at: usize, ahead: &[u8]) -> Shape {
    let size = u64::from(blob.frame_size) * 8;
    if blob.frame_complete.is_some_and(|complete| at < complete as usize) {
        let pushed =
            prologue(before, size.saturating_sub(16)).filter(|sub| sub.checked_sub(1).and_then(|push| before.get(push)) == Some(&0x55));
        return match (pushed, prologue(before, size.saturating_sub(8))) {
            (Some(sub), _) if at < sub => Shape::ReturnOnly(0),
            (Some(sub), _) if at == sub => Shape::Whole(16),
            (Some(_), _) => Shape::Whole(size),
            (None, Some(sub)) if at <= sub => Shape::ReturnOnly(0),
            (None, Some(_)) => Shape::ReturnOnly(size.saturating_sub(8)),
            // Before the part of the prologue that was looked at.
            (None, None) => Shape::ReturnOnly(0),
        };
    }
    match ahead {
        // pop rbp
        [0x5d, ..] => Shape::Whole(16),
        // ret; cmp rsp, [r15 + x]; ja; test eax, [x]; test [r10], eax; before a ret.
        [0xc3, ..] | [0xc2, ..] => Shape::ReturnOnly(0),
        [0x49, 0x3b, 0xa7, _, _, _, _, 0x0f, 0x87, ..] | [0x0f, 0x87, _, _, _, _, 0xc3, ..] => Shape::ReturnOnly(0),
        [0x85, 0x05, _, _, _, _, 0xc3, ..] | [0x41, 0x85, 0x02, 0xc3, ..] => Shape::ReturnOnly(0),
        _ => Shape::Whole(size),
    }
}

/// Where `sub rsp, size` stands.
fn prologue(code: &[u8], size: u64) -> Option<usize> {
    let wide = u32::try_from(size).ok()?.to_le_bytes();
    code.windows(7).position(|code| match code {
        [0x48, 0x81, 0xec, a, b, c, d] => [*a, *b, *c, *d] == wide,
        [0x48, 0x83, 0xec, a, ..] => u64::from(*a) == size && size < 128,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(frame_size: u32, complete: u32) -> Blob {
        Blob { address: 0, start: 0, end: 0x1000, kind: Kind::Method(1), frame_size, frame_complete: Some(complete), name: 0 }
    }

    /// C1 and C2 of JDK 17 (`objdump -D` of a running machine): mov [rsp-0x14000], eax; push rbp; sub rsp, 0xb0; ...
    #[test]
    fn prologues_that_push() {
        let code = [0x89, 0x84, 0x24, 0, 0xc0, 0xfe, 0xff, 0x55, 0x48, 0x81, 0xec, 0xb0, 0, 0, 0, 0x48, 0xba, 0, 0, 0, 0, 0, 0, 0, 0];
        let shape = |at: usize| leaf_shape(&blob(24, 15), &code, at, &code[at..]);
        assert_eq!([0, 7, 8, 15].map(shape), [Shape::ReturnOnly(0), Shape::ReturnOnly(0), Shape::Whole(16), Shape::Whole(192)]);
        let short = [0xe9, 0x3b, 0x74, 0x58, 7, 0xfe, 0xff, 0x55, 0x48, 0x83, 0xec, 0x30, 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0];
        let shape = |at: usize| leaf_shape(&blob(8, 12), &short, at, &short[at..]);
        assert_eq!([0, 8, 12].map(shape), [Shape::ReturnOnly(0), Shape::Whole(16), Shape::Whole(64)]);
    }

    /// sub rsp, 0x18; mov [rsp+0x10], rbp: a small C2 frame of 4 words; and epilogues.
    #[test]
    fn prologues_that_store_and_epilogues() {
        let code = [0x48, 0x81, 0xec, 0x18, 0, 0, 0, 0x48, 0x89, 0x6c, 0x24, 0x10, 0x90, 0x90];
        let shape = |at: usize| leaf_shape(&blob(4, 12), &code, at, &code[at..]);
        assert_eq!([0, 7, 12].map(shape), [Shape::ReturnOnly(0), Shape::ReturnOnly(24), Shape::Whole(32)]);
        let ahead = |ahead: &[u8]| leaf_shape(&blob(4, 12), &code, 100, ahead);
        assert_eq!(ahead(&[0x5d, 0xc3]), Shape::Whole(16));
        assert_eq!(ahead(&[0x49, 0x3b, 0xa7, 0x38, 3, 0, 0, 0x0f, 0x87]), Shape::ReturnOnly(0));
        assert_eq!((ahead(&[0xc3]), ahead(&[]), ahead(&[0x48])), (Shape::ReturnOnly(0), Shape::Whole(32), Shape::Whole(32)));
    }
}
