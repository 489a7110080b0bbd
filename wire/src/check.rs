//! A sum over a batch as it is sent, so that what a network changed on the way is known from what an agent sends.

use std::fmt;

use crate::BatchId;

/// CRC-32 over identity, encoding and body, in eight hexadecimal digits. gzip's own sum covers the body alone, and neither the
/// identity, by which a batch counts once, nor that it is gzip at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchCheck(u32);

impl BatchCheck {
    /// The sum of a batch under this identity and `Content-Encoding` (empty where there is none).
    #[must_use]
    pub fn of(id: &BatchId, encoding: &str, body: &[u8]) -> Self {
        let mut crc = flate2::Crc::new();
        // Neither text holds a line's end.
        crc.update(format!("{id}\n{encoding}\n").as_bytes());
        crc.update(body);
        Self(crc.sum())
    }

    /// Whether a header's value says this sum.
    #[must_use]
    pub fn is(self, value: &[u8]) -> bool {
        self.to_string().as_bytes() == value
    }
}

impl fmt::Display for BatchCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every part is covered, each in its place.
    #[test]
    fn covers_every_part() {
        let [a, b] = ["agent-1", "agent-3"].map(|id| id.parse::<BatchId>().unwrap());
        let sum = BatchCheck::of(&a, "gzip", b"body");
        let others = [BatchCheck::of(&b, "gzip", b"body"), BatchCheck::of(&a, "", b"gzipbody"), BatchCheck::of(&a, "gzip", b"bodz")];
        assert!(others.iter().all(|other| *other != sum));
        assert!(sum.is(sum.to_string().as_bytes()) && !sum.is(b"") && !sum.is(others[0].to_string().as_bytes()));
    }
}
