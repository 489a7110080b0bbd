//! What the fuzz targets call (`fuzz/`): what is private otherwise. No part of the API.

use crate::convert;
use crate::{Converter, SymbolFile};

/// Converts an object or a bundle on this thread, which a panic in it therefore reaches.
#[must_use]
pub fn convert(bytes: &[u8]) -> Option<SymbolFile> {
    Converter { object_bytes: 1 << 20, section_bytes: 1 << 20 }.convert_here(bytes).ok()
}

/// Decompresses MiniDebugInfo to at most `limit` bytes.
#[must_use]
pub fn mini_debug_info(xz: &[u8], limit: u64) -> Option<Vec<u8>> {
    convert::decompress(xz, limit)
}
