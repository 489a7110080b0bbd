//! The header of a process context, and reading it together with its payload while its process may be writing both.
//!
//! Layout (OTEP 4719), 32 bytes in the machine's byte order: `char signature[8]` is `OTEL_CTX`, `uint32 version`,
//! `uint32 payload_size`, `uint64 published_at_ns`, `char *payload`. The time is 0 while the context is being written, and
//! another after each update: a payload that was read between two reads of the same time is whole.

use flamekeeper_wire::resource::MAX_PAYLOAD;

/// Bytes of the header.
const HEADER: usize = 32;
const SIGNATURE: [u8; 8] = *b"OTEL_CTX";
/// The version there is, and that of experiments with the same layout.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;
/// Times that a context is read before its writer is left alone.
const TRIES: usize = 3;

/// What was found at the address of a context.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A context, whole.
    Context {
        /// When it was written, by the process's own clock: good only to tell one from another. Not 0.
        published: u64,
        /// The payload.
        payload: Vec<u8>,
    },
    /// The context that is known already.
    Unchanged,
    /// A context that is being written.
    Busy,
    /// No context that could be read.
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Header {
    size: usize,
    published: u64,
    payload: u64,
}

impl Header {
    fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..)?.first_chunk::<8>().map(|word| u64::from_ne_bytes(*word));
        let half = |at: usize| bytes.get(at..)?.first_chunk::<4>().map(|half| u32::from_ne_bytes(*half));
        let known = bytes.starts_with(&SIGNATURE) && VERSIONS.contains(&half(8)?);
        let size = usize::try_from(half(12)?).ok().filter(|size| *size <= MAX_PAYLOAD)?;
        known.then_some(Self { size, published: word(16)?, payload: word(24)? })
    }

    fn read(address: u64, memory: &mut dyn FnMut(u64, &mut [u8]) -> bool) -> Option<Self> {
        let mut bytes = [0; HEADER];
        memory(address, &mut bytes).then(|| Self::parse(&bytes)).flatten()
    }
}

/// Reads a context. `memory` fills a buffer from an address of the process, and says whether it could. `known` is the time
/// of the context that the caller has, 0 for none.
pub fn read(address: u64, known: u64, memory: &mut dyn FnMut(u64, &mut [u8]) -> bool) -> Found {
    let Some(mut before) = Header::read(address, memory) else { return Found::Nothing };
    for _ in 0..TRIES {
        if before.published != 0 && before.published == known {
            return Found::Unchanged;
        }
        let mut payload = vec![0; before.size];
        let whole = before.published != 0 && memory(before.payload, &mut payload);
        let Some(after) = Header::read(address, memory) else { return Found::Nothing };
        if after != before {
            before = after;
        } else if whole {
            return Found::Context { published: before.published, payload };
        } else if before.published != 0 {
            // Nobody is writing, and the payload is still not there.
            return Found::Nothing;
        }
    }
    Found::Busy
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 0x7000;

    fn bytes(version: u32, size: u32, published: u64, payload: u64) -> Vec<u8> {
        [&SIGNATURE[..], &version.to_ne_bytes(), &size.to_ne_bytes(), &published.to_ne_bytes(), &payload.to_ne_bytes()].concat()
    }

    fn fill(from: &[u8], to: &mut [u8]) -> bool {
        from.get(..to.len()).is_some_and(|from| {
            to.copy_from_slice(from);
            true
        })
    }

    /// Reads over a script: the headers in their order (the last one stays), and a payload.
    fn read_script(headers: &[Vec<u8>], known: u64) -> Found {
        let mut turn = 0;
        read(AT, known, &mut |address, to| {
            if address != AT {
                return fill(b"payload", to);
            }
            let header = &headers[turn.min(headers.len() - 1)];
            turn += 1;
            fill(header, to)
        })
    }

    /// A context that stands still is read; a known one is not read again.
    #[test]
    fn still() {
        let header = [bytes(2, 7, 55, 0x9000)];
        assert_eq!(read_script(&header, 0), Found::Context { published: 55, payload: b"payload".to_vec() });
        assert_eq!(read_script(&header, 55), Found::Unchanged);
    }

    /// A context that changes under the reader's hands is read as it is afterwards, or not at all.
    #[test]
    fn moving() {
        let (old, writing, new) = (bytes(2, 7, 55, 0x9000), bytes(2, 7, 0, 0x9000), bytes(2, 3, 56, 0x9100));
        assert_eq!(read_script(&[old, writing.clone(), new], 0), Found::Context { published: 56, payload: b"pay".to_vec() });
        assert_eq!(read_script(&[writing], 0), Found::Busy);
        let ever: Vec<_> = (1..10).map(|published| bytes(2, 7, published, 0x9000)).collect();
        assert_eq!(read_script(&ever, 0), Found::Busy);
    }

    /// What is no context, of another version, too large, or points nowhere, is nothing.
    #[test]
    fn nothing() {
        let huge = u32::try_from(MAX_PAYLOAD + 1).unwrap();
        for header in [bytes(3, 7, 1, 0x9000), bytes(2, huge, 1, 0x9000), bytes(2, 8, 1, 0x9000), vec![0; 32], vec![0; 31]] {
            assert_eq!(read_script(&[header], 0), Found::Nothing);
        }
        assert_eq!(read(AT, 0, &mut |_, _| false), Found::Nothing);
    }
}
