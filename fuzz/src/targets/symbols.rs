//! Debug information and what belongs to it: all of it was made on a host that is not ours.

use std::hint::black_box;
use std::path::Path;

use flamekeeper_object::{ObjectBytes, ObjectFile, find_alt_file, find_debug_file, limits};
use flamekeeper_profile::Svma;
use flamekeeper_symbolizer::{Symbolized, fuzz};

/// Sections that may be compressed, and are read.
const SECTIONS: [&str; 9] = [
    ".debug_abbrev",
    ".debug_addr",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
    ".gnu_debugdata",
];

/// An object, alone or in a bundle with split units or a supplementary file, becomes a symbol file, which is not out of proportion and in which every
/// address can be looked up.
pub(super) fn dwarf(bytes: &[u8]) {
    let Some(file) = fuzz::convert(bytes) else { return };
    assert!(file.as_bytes().len() <= (bytes.len() + 4096) * 256, "{} bytes of {}", file.as_bytes().len(), bytes.len());
    let mut state = 1_u64;
    let random = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 50
    });
    for address in (0..0x400).step_by(3).chain(random.take(64)).chain([u64::from(u32::MAX), u64::MAX]) {
        if let Symbolized::Frames(frames) = file.symbolize(Svma(address)) {
            assert!(!frames.is_empty());
            assert!(frames.iter().take(frames.len() - 1).all(|frame| frame.inlined));
        }
    }
}

/// A compressed object in a section of another.
pub(super) fn mini_debug_info(bytes: &[u8]) {
    const LIMIT: u64 = 1 << 20;
    if let Some(object) = fuzz::mini_debug_info(bytes, LIMIT) {
        assert!(object.len() as u64 <= LIMIT);
    }
}

/// Sections compressed in both ways that there are, by both readers.
pub(super) fn compressed(bytes: &[u8]) {
    const LIMIT: u64 = 1 << 20;
    let Ok(object) = ObjectBytes::parse(bytes) else { return };
    for name in SECTIONS {
        if let Ok(Some(section)) = object.section(name, LIMIT) {
            assert!(section.len() as u64 <= LIMIT);
            assert!(section.len() as u64 <= bytes.len() as u64 * limits::COMPRESSION_RATIO);
        }
    }
    if let Ok(object) = ObjectFile::from_bytes(bytes.to_vec()) {
        SECTIONS.iter().for_each(|name| _ = black_box(object.section(name)));
    }
}

/// Names of other files: of a debug file with its checksum, and of a supplementary file with its build id. They are looked for below a root that is
/// not there.
pub(super) fn links(bytes: &[u8]) {
    let (root, path) = (Path::new("/nonexistent/root"), Path::new("/usr/lib/debug/.build-id/ab/cd.debug"));
    if let Some(link) = ObjectBytes::parse(bytes).ok().and_then(|object| object.alt_link()) {
        assert!(!link.path.is_empty() && link.path.len() < bytes.len());
        assert_eq!(find_alt_file(&link, path, root), None);
    }
    let Ok(object) = ObjectFile::from_bytes(bytes.to_vec()) else { return };
    if let Some((name, _)) = object.debug_link() {
        assert!(!name.is_empty() && !name.contains('/'));
    }
    assert_eq!(find_debug_file(object.identity(), path, root), None);
}
