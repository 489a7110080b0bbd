//! What is the most that is read of one object: far above what real files hold, far below what hurts.

/// Program headers. Real files have 5 to 15.
pub const PROGRAM_HEADERS: u64 = 4096;
/// Section headers. Real linked files have 20 to 50; a kernel module built with `-ffunction-sections` some thousands.
pub const SECTION_HEADERS: u64 = 65_536;
/// Bytes of the section name table.
pub const SECTION_NAMES: u64 = 4 << 20;
/// Bytes of a note segment or section.
pub const NOTES: u64 = 64 << 10;
/// Bytes of one section in memory, after decompression. The largest `.debug_info` seen in practice is some 1 GB.
pub const SECTION: u64 = 2 << 30;
/// Bytes of the object that [`super::only_debug`] builds in memory.
pub const ONLY_DEBUG: u64 = 4 << 30;
/// How many times larger decompressed data may be than compressed: zlib cannot exceed 1032, real debug sections have 2 to 5.
pub const COMPRESSION_RATIO: u64 = 1100;
/// Bytes of a debug file whose checksum is computed.
pub const DEBUG_FILE: u64 = 8 << 30;
