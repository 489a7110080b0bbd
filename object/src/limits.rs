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
/// Functions of a Go program. The largest known have some 500,000.
pub const GO_FUNCTIONS: u64 = 4 << 20;
/// Bytes of Go's function table. The largest known have some 200 MB.
pub const GO_TABLE: u64 = 1 << 30;
/// Bytes of a Go program's inlining trees, with what lies between them.
pub const GO_INLINE: u64 = 256 << 20;
/// Bytes of memory that the stack map of one Go program may take.
pub const GO_STACK_MAP: usize = 32 << 20;
/// Bytes that are searched for what the section headers of a Go program do not tell.
pub const GO_SEARCH: u64 = 512 << 20;
/// Files with split units (`.dwo`) of one object. The largest programs have some ten thousand.
pub const SPLIT_FILES: usize = 50_000;
/// Members of a bundle.
pub const BUNDLE_MEMBERS: usize = 65_536;
/// Units of an object's debug information that are looked at for whether they are split.
pub const SPLIT_UNITS: usize = 500_000;
/// Bytes of a unit that may be one of those whose other part is elsewhere. Real ones have less than 200, and some kB where inlined
/// functions are told in them too.
pub const SKELETON: u64 = 64 << 10;
/// Bytes of a compressed section that is decompressed to find split units.
pub const SPLIT_SECTION: u64 = 16 << 20;
