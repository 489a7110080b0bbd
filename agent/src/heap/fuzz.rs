//! A table's content as anybody may have made it.

use flamekeeper_heap::layout::{ENTRY_SIZE, MAX_STACK, NUMBER_MASK, at};

use crate::heap::find;
use crate::heap::sum::Estimate;
use crate::heap::table;
use crate::process::lines::Line;

/// A header, then entries and records in the same bytes, and a line of `maps`.
pub(crate) fn heap_table(bytes: &[u8]) {
    let head = bytes.get(..at::END).unwrap_or(bytes);
    if let Ok(header) = table::header(head) {
        assert!(header.ring.tail <= header.ring.head);
    }
    let rest = bytes.get(at::END..).unwrap_or_default();
    let mut found = 0;
    let torn = table::live(rest, |live| {
        found += 1;
        let estimate = Estimate::of(live.size, live.shift);
        assert!(live.number <= NUMBER_MASK && estimate.objects >= 1.0 && estimate.bytes.is_finite());
    });
    assert!(found + torn <= (rest.len() / ENTRY_SIZE) as u64);
    let mut records = rest;
    while let Ok((record, length)) = table::record(records) {
        assert!(record.stack.len() <= MAX_STACK && length <= records.len());
        assert!(Estimate::of(record.size, record.shift).objects >= 1.0);
        records = &records[length..];
    }
    _ = Line::parse(rest).and_then(|line| find::table_line(&line));
}
