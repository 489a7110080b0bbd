//! The one place that compresses and decompresses, with a cap on what comes out.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Why a body could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum GunzipError {
    /// It would be larger than the limit.
    #[error("the body is larger than {limit} bytes when decompressed")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// It is no gzip, or a damaged one.
    #[error("the body is not valid gzip: {0}")]
    Invalid(#[source] io::Error),
}

/// Compresses with gzip (RFC 1952), quickly: for what an agent sends, on a machine that has other work.
#[must_use]
pub fn compress(bytes: &[u8]) -> Vec<u8> {
    compress_at(bytes, Compression::fast())
}

/// Compresses with gzip to about half of what [`compress`] makes of a call tree, in some three times its time: for answers
/// to a browser.
#[must_use]
pub fn compress_small(bytes: &[u8]) -> Vec<u8> {
    compress_at(bytes, Compression::new(4))
}

fn compress_at(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), level);
    // Writing to a Vec cannot fail, so neither can this.
    _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// Decompresses gzip, several members too, to at most `limit` bytes.
///
/// # Errors
/// [`GunzipError`]; memory used never exceeds `limit` by more than one read.
pub fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, GunzipError> {
    #[allow(clippy::disallowed_types)] // This is the capped place that the ban names.
    let decoder = flate2::bufread::MultiGzDecoder::new(bytes);
    let mut out = Vec::with_capacity(stated_len(bytes).min(limit).saturating_add(1));
    let cap = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(cap).read_to_end(&mut out).map_err(GunzipError::Invalid)?;
    if out.len() > limit { Err(GunzipError::TooLarge { limit }) } else { Ok(out) }
}

/// What the last four bytes say of the length, as far as it can be true: one byte of deflate makes at most 1032. A hint only.
fn stated_len(bytes: &[u8]) -> usize {
    let stated = bytes.last_chunk().map_or(0, |stated| u32::from_le_bytes(*stated));
    usize::try_from(stated).unwrap_or(usize::MAX).min(bytes.len().saturating_mul(1032))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was compressed comes back, up to the limit and not beyond.
    #[test]
    fn caps_the_output() {
        let bomb = compress(&vec![0; 1 << 20]);
        // How small depends on flate2's backend, which other crates of a build may choose; here it only has to be a bomb.
        assert!(bomb.len() < (1 << 20) / 32, "{} bytes", bomb.len());
        assert!(matches!(decompress(&bomb, 1000), Err(GunzipError::TooLarge { limit: 1000 })));
        assert_eq!(decompress(&bomb, 1 << 20).unwrap().len(), 1 << 20);
        assert!(matches!(decompress(b"no gzip", 1000), Err(GunzipError::Invalid(_))));
        assert!(matches!(decompress(&bomb[..bomb.len() - 9], 2 << 20), Err(GunzipError::Invalid(_))));
    }
}
