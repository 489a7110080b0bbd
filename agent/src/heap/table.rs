//! Parsing what a table holds. Functions of bytes: nothing here trusts a number, and nothing allocates by one.

use flamekeeper_heap::layout::{
    self, FREED, MAX_SHIFT, MAX_STACK, MIN_SHIFT, NUMBER_MASK, RECORD_HEADER, RING_SIZE, SIZE_MASK, at, ending, record, seal,
};

/// Why bytes are no table, or no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TableError {
    /// Fewer bytes than the thing has.
    #[error("too short")]
    Short,
    /// It does not begin like a table of a heap.
    #[error("no table of a heap")]
    Magic,
    /// A layout that this agent does not know.
    #[error("version {0}")]
    Version(u64),
    /// Positions of the ring that contradict each other.
    #[error("the ring's ends contradict each other")]
    Ring,
    /// A record's length, interval or size that cannot be.
    #[error("a record that contradicts itself")]
    Record,
}

/// The part of the header that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Samples taken, and freed, and that found no place: together they tell whether anything has changed.
    pub(crate) taken: u64,
    /// Those that are in the table.
    pub(crate) live: u64,
    pub(crate) freed: u64,
    pub(crate) lost_full: u64,
    pub(crate) replaced: u64,
    /// The shift that is wanted, and the one in use; 0: sampling is off.
    pub(crate) wanted: u64,
    pub(crate) shift: u64,
    /// When the process began to sample: nanoseconds of the monotonic clock.
    pub(crate) started: u64,
    /// Whether it would have said so if it had come to its end in order, and did not.
    pub(crate) unfinished: bool,
    pub(crate) ring: Ring,
}

/// What the ring holds: `[tail, head)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) tail: u64,
    pub(crate) head: u64,
}

/// A live sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) address: u64,
    pub(crate) number: u64,
    pub(crate) size: u64,
    pub(crate) shift: u8,
    /// When its block was made: nanoseconds of the monotonic clock.
    pub(crate) time: u64,
}

/// A sample as it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) number: u64,
    /// Nanoseconds of the monotonic clock.
    pub(crate) time: u64,
    pub(crate) size: u64,
    pub(crate) shift: u8,
    pub(crate) ip: u64,
    pub(crate) sp: u64,
    pub(crate) bp: u64,
    /// The stack from `sp` upwards.
    pub(crate) stack: &'a [u8],
}

fn word(bytes: &[u8], at: usize) -> Result<u64, TableError> {
    bytes.get(at..).and_then(<[u8]>::first_chunk::<8>).map(|word| u64::from_ne_bytes(*word)).ok_or(TableError::Short)
}

/// Reads the header.
pub(crate) fn header(bytes: &[u8]) -> Result<Header, TableError> {
    if word(bytes, at::MAGIC)? != layout::MAGIC {
        return Err(TableError::Magic);
    }
    match word(bytes, at::VERSION)? {
        layout::VERSION => {}
        version => return Err(TableError::Version(version)),
    }
    let ring = Ring { tail: word(bytes, at::RING_TAIL)?, head: word(bytes, at::RING_HEAD)? };
    if ring.head.checked_sub(ring.tail).is_none_or(|length| length > RING_SIZE as u64)
        || !ring.tail.is_multiple_of(8)
        || !ring.head.is_multiple_of(8)
    {
        return Err(TableError::Ring);
    }
    Ok(Header {
        taken: word(bytes, at::TAKEN)?,
        live: word(bytes, at::LIVE)?,
        wanted: word(bytes, at::CONTROL)?,
        shift: word(bytes, at::SHIFT)?,
        freed: word(bytes, at::FREED)?,
        lost_full: word(bytes, at::LOST_FULL)?,
        replaced: word(bytes, at::REPLACED)?,
        started: word(bytes, at::STARTED)?,
        unfinished: word(bytes, at::ENDING)? == ending::RUNNING,
        ring,
    })
}

/// Hands out the live samples among entries; answers how many contradict themselves: they were being changed, or are lies.
pub(crate) fn live(entries: &[u8], mut visit: impl FnMut(Live)) -> u64 {
    let mut torn = 0;
    for entry in entries.chunks_exact(layout::ENTRY_SIZE) {
        let words = [0, 8, 16, 24].map(|at| word(entry, at).unwrap_or_default());
        let [address, sealed, numbered, time] = words;
        if address <= FREED {
            continue;
        }
        let (size, shift) = (sealed & SIZE_MASK, (numbered >> 56) as u8);
        if seal(address, size, numbered, time) != sealed || !(MIN_SHIFT..=MAX_SHIFT).contains(&shift) || size == 0 {
            torn += 1;
            continue;
        }
        visit(Live { address, number: numbered & NUMBER_MASK, size, shift, time });
    }
    torn
}

/// The record that begins the bytes, and its length.
pub(crate) fn record(bytes: &[u8]) -> Result<(Record<'_>, usize), TableError> {
    let first = word(bytes, record::LENGTH)?;
    let (length, shift) = ((first & 0xffff_ffff) as usize, (first >> 32 & 0xff) as u8);
    let size = word(bytes, record::SIZE)?;
    let fits = (RECORD_HEADER..=RECORD_HEADER + MAX_STACK).contains(&length) && length.is_multiple_of(8);
    if !fits || !(MIN_SHIFT..=MAX_SHIFT).contains(&shift) || size == 0 {
        return Err(TableError::Record);
    }
    let stack = bytes.get(RECORD_HEADER..length).ok_or(TableError::Short)?;
    let word = |at| word(bytes, at);
    let record = Record {
        number: word(record::NUMBER)?,
        time: word(record::TIME)?,
        size: size.min(SIZE_MASK),
        shift,
        ip: word(record::IP)?,
        sp: word(record::SP)?,
        bp: word(record::BP)?,
        stack,
    };
    Ok((record, length))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The bytes of a record with this stack.
    pub(crate) fn bytes_of(number: u64, (size, shift): (u64, u8), stack: &[u8]) -> Vec<u8> {
        let length = (RECORD_HEADER + stack.len()) as u64 | u64::from(shift) << 32;
        let words = [length, number, 1000 + number, 0x1000 * number, size, 0x40_0000, 0x7ff0, 0, 1];
        words.iter().flat_map(|word| word.to_ne_bytes()).chain(stack.iter().copied()).collect()
    }

    /// A record says what was written; one that is cut, too long, of no interval or of no size is refused.
    #[test]
    fn records_are_checked() {
        let bytes = bytes_of(7, (4096, 19), &[1; 64]);
        let (record, length) = record(&bytes).unwrap();
        assert_eq!((record.number, record.size, record.shift, record.stack.len(), length), (7, 4096, 19, 64, 136));
        assert_eq!(super::record(&bytes[..100]), Err(TableError::Short));
        assert_eq!(super::record(&bytes_of(7, (0, 19), &[])), Err(TableError::Record));
        assert_eq!(super::record(&bytes_of(7, (1, 63), &[])), Err(TableError::Record));
        assert_eq!(super::record(&bytes_of(7, (1, 19), &[0; MAX_STACK + 8])), Err(TableError::Record));
    }

    /// Entries whose check does not match are counted, free ones are passed over.
    #[test]
    fn entries_are_checked() {
        let entry = |address: u64, size: u64| {
            let numbered = 5 | 19 << 56;
            [address, seal(address, size, numbered, 9), numbered, 9].map(u64::to_ne_bytes).concat()
        };
        let mut bytes = [entry(0, 3), entry(1, 3), entry(0x1000, 100), entry(0x2000, 200)].concat();
        bytes[3 * 32] ^= 0x10;
        let mut found = Vec::new();
        assert_eq!(live(&bytes, |sample| found.push(sample)), 1);
        assert_eq!(found, [Live { address: 0x1000, number: 5, size: 100, shift: 19, time: 9 }]);
    }

    /// A header of another kind, version or with impossible ends is refused by name.
    #[test]
    fn headers_are_checked() {
        let mut bytes = vec![0; layout::HEADER_SIZE];
        let mut put = |at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        put(at::MAGIC, layout::MAGIC);
        put(at::VERSION, 1);
        put(at::RING_HEAD, 640);
        put(at::RING_TAIL, 64);
        assert_eq!(header(&bytes).unwrap().ring, Ring { tail: 64, head: 640 });
        let change = |at: usize, value: u64| {
            let mut changed = bytes.clone();
            changed[at..at + 8].copy_from_slice(&value.to_ne_bytes());
            header(&changed).unwrap_err()
        };
        assert_eq!(change(at::MAGIC, 1), TableError::Magic);
        assert_eq!(change(at::VERSION, 2), TableError::Version(2));
        assert_eq!(change(at::RING_HEAD, 56), TableError::Ring);
        assert_eq!(change(at::RING_HEAD, u64::MAX - 7), TableError::Ring);
        assert_eq!(header(&[0; 20]), Err(TableError::Magic));
    }
}
