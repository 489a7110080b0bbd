//! What the fuzz targets call (`fuzz/`): parsers of foreign bytes that are private otherwise. No part of the API.

/// What a ClickHouse server answers: contents of stacks, ledgers of hosts, sums, labels. A stack that was read is written in one form.
pub fn clickhouse(bytes: &[u8]) {
    crate::store::fuzz_clickhouse(bytes);
}

/// A profile in a file, compared with itself: nothing changed, whatever it holds.
///
/// # Panics
/// Where something did.
pub fn profile_file(bytes: &[u8]) {
    use crate::files::{FileLimits, FileOptions, NamedFile, ProfileFile, compared};
    let limits = FileLimits { bytes: 1 << 20, entries: 10_000 };
    let side = || ProfileFile::parse(bytes, limits).map(|file| vec![NamedFile { name: "file".to_owned(), file }]);
    let (Ok(a), Ok(b)) = (side(), side()) else { return };
    let Ok(report) = compared([a, b], &FileOptions::default()) else { return };
    assert!(report.regressions.is_empty() && report.improvements.is_empty(), "a profile differs from itself");
    assert!(!report.text(None, 10).contains("NaN") && !report.markdown(None, 10).contains("NaN"), "no number");
}
