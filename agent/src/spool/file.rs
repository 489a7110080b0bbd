//! A batch's file: 8 bytes of magic, the header's length and CRC-32 (each `u32`, little endian), the header (JSON), and
//! the body. The header holds the batch's identity, its ledger, and the body's length and CRC-32.

use std::io;

use flamekeeper_profile::Ledger;
use flamekeeper_wire::BatchId;
use serde::{Deserialize, Serialize};

use super::Stored;
use super::state::WrittenLedger;

const MAGIC: &[u8; 8] = b"FKBATCH1";
const FIXED: usize = 16;
/// The most bytes that are read to see a file's header: the fixed part, and a header far larger than any.
pub(super) const HEAD_BYTES: u64 = 4096;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    batch: String,
    ledger: WrittenLedger,
    body_bytes: u64,
    body_crc: u32,
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn damaged<T>(what: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// The content of a file.
pub(super) fn content(id: &BatchId, ledger: &Ledger, body: &[u8]) -> Vec<u8> {
    let header = Header { batch: id.to_string(), ledger: ledger.into(), body_bytes: body.len() as u64, body_crc: crc(body) };
    // Texts and numbers under text keys always serialize.
    let header = serde_json::to_vec(&header).unwrap_or_default();
    let length = u32::try_from(header.len()).unwrap_or(0);
    let mut content = Vec::with_capacity(FIXED + header.len() + body.len());
    content.extend_from_slice(MAGIC);
    content.extend_from_slice(&length.to_le_bytes());
    content.extend_from_slice(&crc(&header).to_le_bytes());
    content.extend_from_slice(&header);
    content.extend_from_slice(body);
    content
}

fn header(head: &[u8]) -> io::Result<(Header, usize)> {
    let Some((magic, rest)) = head.split_first_chunk::<8>() else { return damaged("it is too short") };
    let Some((length, rest)) = rest.split_first_chunk::<4>() else { return damaged("it is too short") };
    let Some((sum, rest)) = rest.split_first_chunk::<4>() else { return damaged("it is too short") };
    if magic != MAGIC {
        return damaged("it is no batch");
    }
    let length = u32::from_le_bytes(*length) as usize;
    let Some(text) = rest.get(..length) else { return damaged("its header is cut") };
    if crc(text) != u32::from_le_bytes(*sum) {
        return damaged("its header is damaged");
    }
    Ok((serde_json::from_slice(text)?, FIXED + length))
}

/// The ledger of a file of this size whose first bytes these are.
pub(super) fn parse_head(head: &[u8], size: u64) -> io::Result<Ledger> {
    let (header, start) = header(head)?;
    if (start as u64).checked_add(header.body_bytes) != Some(size) {
        return damaged("its length is not what its header says");
    }
    Ok((&header.ledger).into())
}

/// The batch in a whole file, which must be that of this number.
pub(super) fn parse(mut content: Vec<u8>, sequence: u64) -> io::Result<Stored> {
    let (header, start) = header(&content)?;
    let id: BatchId = header.batch.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if id.sequence != sequence {
        return damaged("its name is not that of its header");
    }
    let body = content.split_off(start);
    if body.len() as u64 != header.body_bytes || crc(&body) != header.body_crc {
        return damaged("its body is damaged");
    }
    Ok(Stored { id, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flamekeeper_profile::LossReason;

    /// A file reads back; one with any byte changed or cut off is damaged, never something else.
    #[test]
    fn detects_every_damage() {
        let mut ledger = Ledger::new();
        ledger.take(7);
        ledger.lose(LossReason::RingFull, 2);
        let id: BatchId = "agent-5".parse().unwrap();
        let whole = content(&id, &ledger, b"the body");
        assert_eq!(parse_head(&whole, whole.len() as u64).unwrap(), ledger);
        assert_eq!(parse(whole.clone(), 5).unwrap(), Stored { id, body: b"the body".to_vec() });
        assert!(parse(whole.clone(), 6).is_err());
        for place in 0..whole.len() {
            assert!(parse(whole[..place].to_vec(), 5).is_err(), "cut at {place}");
            let mut changed = whole.clone();
            changed[place] ^= 0x10;
            assert!(parse(changed, 5).is_err(), "changed at {place}");
        }
    }
}
