//! Symbols of a library as it is mapped: by its dynamic section and GNU hash table, without its file.

use crate::jvm::memory::Memory;

const PT_DYNAMIC: u32 = 2;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
/// Entries of a dynamic section that are looked at.
const MAX_DYNAMIC: u64 = 128;
/// Symbols of a hash chain that are looked at.
const MAX_CHAIN: u32 = 4096;

/// The dynamic symbols of a mapped library.
pub(super) struct Symbols {
    base: u64,
    strings: u64,
    symbols: u64,
    hash: u64,
}

impl Symbols {
    /// Of a library that is mapped from a base on.
    pub(super) fn of(memory: &impl Memory, base: u64) -> Option<Self> {
        if memory.u32(base)? != u32::from_ne_bytes(*b"\x7fELF") {
            return None;
        }
        let (headers, size, count) =
            (memory.u64(base.wrapping_add(32))?, memory.u16(base.wrapping_add(54))?, memory.u16(base.wrapping_add(56))?);
        let at = |index: u16| base.wrapping_add(headers).wrapping_add(u64::from(index) * u64::from(size));
        let dynamic = (0..count.min(64)).map(at).find(|header| memory.u32(*header) == Some(PT_DYNAMIC))?;
        let dynamic = base.wrapping_add(memory.u64(dynamic.wrapping_add(16))?);
        let (mut strings, mut symbols, mut hash) = (None, None, None);
        for index in 0..MAX_DYNAMIC {
            let entry = dynamic.wrapping_add(index * 16);
            let (tag, value) = (memory.u64(entry)?, memory.u64(entry.wrapping_add(8))?);
            // glibc's linker has made addresses of these, others leave them as the file has them.
            let address = if value < base { base.wrapping_add(value) } else { value };
            match tag {
                0 => break,
                DT_STRTAB => strings = Some(address),
                DT_SYMTAB => symbols = Some(address),
                DT_GNU_HASH => hash = Some(address),
                _ => {}
            }
        }
        Some(Self { base, strings: strings?, symbols: symbols?, hash: hash? })
    }

    /// The address of a symbol.
    pub(super) fn find(&self, memory: &impl Memory, name: &str) -> Option<u64> {
        let (buckets, first, bloom) =
            (memory.u32(self.hash)?, memory.u32(self.hash.wrapping_add(4))?, memory.u32(self.hash.wrapping_add(8))?);
        let wanted = gnu_hash(name);
        let table = self.hash.wrapping_add(16 + u64::from(bloom) * 8);
        let mut index = memory.u32(table.wrapping_add(u64::from(wanted.checked_rem(buckets)?) * 4))?;
        let chain = table.wrapping_add(u64::from(buckets) * 4);
        for _ in 0..MAX_CHAIN {
            let hash = memory.u32(chain.wrapping_add(u64::from(index.checked_sub(first)?) * 4))?;
            if hash | 1 == wanted | 1 {
                let symbol = self.symbols.wrapping_add(u64::from(index) * 24);
                let text = memory.text(self.strings.wrapping_add(memory.u32(symbol)?.into()))?;
                if text == name {
                    return Some(self.base.wrapping_add(memory.u64(symbol.wrapping_add(8))?));
                }
            }
            if hash & 1 == 1 {
                return None;
            }
            index = index.checked_add(1)?;
        }
        None
    }
}

fn gnu_hash(name: &str) -> u32 {
    name.bytes().fold(5381, |hash: u32, byte| hash.wrapping_mul(33).wrapping_add(byte.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of the specification's own examples.
    #[test]
    fn hashes() {
        assert_eq!((gnu_hash(""), gnu_hash("printf"), gnu_hash("exit")), (0x1505, 0x156b_2bb8, 0x7c96_7e3f));
    }
}
