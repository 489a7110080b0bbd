//! What the fuzz targets call: see `crate::fuzz`.

use std::sync::Arc;

use crate::jit::book::{Book, Draft, MAX_NAME, Memory, NewCode};
use crate::jit::perf_map;
use crate::jit::reader::read_dump;

/// What is found is clean and bounded, and all memory is given back.
fn check(book: Book, memory: &Memory, addresses: impl Iterator<Item = u64>) {
    for address in addresses.take(256) {
        if let Some(found) = book.find(address, u64::MAX) {
            assert!(!found.name.chars().any(char::is_control) && found.name.chars().count() <= MAX_NAME);
            assert!(!found.file.chars().any(char::is_control));
        }
    }
    assert_eq!(memory.used(), book.bytes());
    drop(book);
    assert_eq!(memory.used(), 0);
}

/// Reads a map in two pieces.
pub(crate) fn perf_map(bytes: &[u8]) {
    let memory = Arc::new(Memory::new(usize::MAX));
    let mut book = Book::default();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for piece in [first, second] {
        let mut draft = Draft::default();
        let (lines, done) = perf_map::lines(piece);
        lines.for_each(|line| draft.add(NewCode { start: line.start.0, size: line.size, since: 0, name: line.name }));
        assert!(done <= piece.len());
        if !draft.is_empty() {
            book.bind(draft, &memory);
        }
    }
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(perf_map::parse_line);
    let addresses = lines.flat_map(|line| [line.start.0, line.start.0 + (line.size - 1), line.start.0.wrapping_sub(1)]);
    check(book, &memory, addresses.collect::<Vec<_>>().into_iter());
}

/// Reads a dump in two pieces.
pub(crate) fn jitdump(bytes: &[u8]) {
    let memory = Arc::new(Memory::new(usize::MAX));
    let mut book = Book::default();
    read_dump(bytes, &mut book, &memory);
    let addresses: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    check(book, &memory, addresses.into_iter());
}
