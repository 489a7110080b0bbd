//! What the fuzz targets call: see `crate::fuzz`.

use std::sync::Arc;

use crate::jit::book::Memory as Allowance;
use crate::jvm::layout::{Heap, Layout, Number};
use crate::jvm::machine::{Machine, Registers};
use crate::jvm::memory::Memory;

/// Where the bytes stand in the made-up process.
const BASE: u64 = 0x10_0000;

/// A process whose whole memory is these bytes.
struct Bytes<'a>(&'a [u8]);

impl Memory for Bytes<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        let at = address.checked_sub(BASE).and_then(|at| usize::try_from(at).ok());
        let Some(bytes) = at.and_then(|at| self.0.get(at..)).and_then(|bytes| bytes.get(..buffer.len())) else { return false };
        buffer.copy_from_slice(bytes);
        true
    }
}

/// A layout like that of JDK 17, of a code heap that begins with the bytes and whose segment map is their end.
fn layout(length: u64) -> Layout {
    Layout {
        heaps: vec![Heap { low: BASE, high: BASE + length, segments: BASE + length / 8 * 7, log2_segment: 7 }],
        block_header: 16,
        block_used: 8,
        blob_name: 0x60,
        blob_size: 0x0c,
        frame_size: 0x1c,
        frame_complete: Number { offset: 0x14, short: false },
        code_begin: Some(0x20),
        code_offset: None,
        nmethod_method: 0x70,
        method_const: 8,
        const_constants: 8,
        const_name: 0x22,
        const_signature: 0x24,
        pool_size: 0x48,
        pool_holder: 0x18,
        pool_length: 0x3c,
        klass_name: 0x18,
        symbol_length: 4,
        symbol_body: 6,
    }
}

/// The tables of a machine, and frames of one: memory stays within its bounds, and a caller lies above its callee.
pub(crate) fn hotspot(bytes: &[u8]) {
    let memory = Bytes(bytes);
    let found = Layout::read(&memory, BASE);
    let allowance = Arc::new(Allowance::new(1 << 16));
    for layout in [Some(layout(bytes.len() as u64)), found].into_iter().flatten() {
        let mut machine = Machine::new(Arc::new(layout), Arc::clone(&allowance));
        for (index, leaf) in (0..64_u64).zip([true, false].into_iter().cycle()) {
            let at = BASE + index * (bytes.len() as u64 / 64);
            let regs = Registers { sp: BASE + index * 8, bp: BASE + index * 16 };
            let stack = |address: u64| memory.u64(address).ok_or(());
            if let Some(frame) = machine.frame(&memory, (at, leaf, index << 28), regs, &stack) {
                assert!(frame.name.is_none_or(|name| machine.name(name).is_some_and(|name| name.len() <= 512)));
            }
        }
        assert!(allowance.used() <= 1 << 16);
    }
    assert_eq!(allowance.used(), 0);
}
