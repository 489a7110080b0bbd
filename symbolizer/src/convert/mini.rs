//! MiniDebugInfo: an ELF object with a symbol table, compressed by xz, in the section `.gnu_debugdata` of another (GDB manual, "Debugging
//! information in a special section").

use std::io::{Cursor, Read as _};
use std::num::NonZeroUsize;

use flamekeeper_object::ObjectBytes;
use xz4rust::{XzDecoder, XzReader};

/// Largest section that is read. Real ones have 5 % of the code, some MB.
const COMPRESSED: u64 = 64 << 20;
/// Most bytes of the object in it.
const DECOMPRESSED: u64 = 256 << 20;
/// Largest window of the compression. `xz -9` has 64 MB.
const WINDOW: usize = 64 << 20;

/// The object in the section; none where there is no such section or it cannot be decompressed within the limits.
pub(super) fn object(elf: &[u8]) -> Option<Vec<u8>> {
    let object = ObjectBytes::parse(elf).ok()?;
    decompress(&object.section(".gnu_debugdata", COMPRESSED).ok()??, DECOMPRESSED)
}

/// The bytes of a stream; none where it is damaged, or has more than `limit`.
pub(crate) fn decompress(xz: &[u8], limit: u64) -> Option<Vec<u8>> {
    let buffer = NonZeroUsize::new(64 << 10)?;
    let decoder = XzDecoder::in_heap_with_alloc_dict_size(0, WINDOW);
    let reader = XzReader::new_with_buffer_size_and_decoder(Cursor::new(xz.to_vec()), buffer, decoder);
    let mut bytes = Vec::new();
    let len = reader.take(limit.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (len as u64 <= limit).then_some(bytes)
}
