//! Heap profiles as text: jemalloc's (`heap_v2/524288`, what `prof.dump` writes) and tcmalloc's (`heap profile: ... @ heap_v2/524288`).
//!
//! jemalloc states for each stack the samples of all threads on a line `t*: LIVE: BYTES [ALLOCATED: BYTES]` (the latter with `prof_accum:true`
//! only), tcmalloc writes `LIVE: BYTES [ALLOCATED: BYTES] @ ADDRESSES`. These are samples, as they were taken at the mean interval that the
//! first line states: each is made unbiased as `jeprof` and `pprof` do it, by the mean size of a stack's blocks. What the process maps
//! follows after `MAPPED_LIBRARIES:`, in the format of `/proc/PID/maps`.
//! (<https://jemalloc.net/jemalloc.3.html>, `prof.dump`; <https://gperftools.github.io/gperftools/heapprofile.html>.)

use flamekeeper_profile::LocationId;

use super::profile::{Amounts, HeapProfile, MAX_DEPTH, ParseError};
use super::resolve::{self, Mapped, Resolve};

/// Stacks and mappings of one profile.
const MAX_STACKS: usize = 500_000;
const MAX_MAPPINGS: usize = 65_536;

/// A mapping of the process that wrote the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapping<'a> {
    start: u64,
    end: u64,
    offset: u64,
    path: &'a str,
}

/// Whether bytes begin like such a text.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    bytes.starts_with(b"heap_v2/") || bytes.starts_with(b"heap profile:")
}

/// Reads a profile.
pub(super) fn parse(bytes: &[u8], resolve: &mut dyn Resolve) -> Result<HeapProfile, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ParseError::Damaged("it is no text"))?;
    let mut lines = text.lines();
    let interval = interval(lines.next().unwrap_or_default())?;
    let (stacks, mapped) = match text.find("\nMAPPED_LIBRARIES:") {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mappings = mappings(mapped)?;
    let mut heap = HeapProfile::default();
    let mut count = 0;
    let mut pending: Option<&str> = None;
    for line in stacks.lines().skip(1) {
        let line = line.trim();
        let found = if let Some(addresses) = line.strip_prefix("@ ") {
            // jemalloc: the figures follow, those of all threads first.
            pending = Some(addresses);
            None
        } else if let Some(figures) = line.strip_prefix("t*: ") {
            pending.take().map(|addresses| (figures, addresses))
        } else if line.starts_with(|letter: char| letter.is_ascii_digit()) {
            line.split_once(" @ ")
        } else {
            None
        };
        let Some((figures, addresses)) = found else { continue };
        count += 1;
        if count > MAX_STACKS {
            return Err(ParseError::TooLarge("500,000 stacks"));
        }
        let amounts = amounts(figures, interval).ok_or(ParseError::Damaged("a stack without its figures"))?;
        let stack = stack(addresses, &mappings, &mut heap, resolve)?;
        heap.add(&stack, amounts);
    }
    Ok(heap.finish())
}

/// The mean interval between samples, in bytes: of the first line.
fn interval(line: &str) -> Result<f64, ParseError> {
    let (_, interval) = line.split_once("heap_v2/").ok_or(ParseError::Damaged("the first line has no heap_v2/INTERVAL"))?;
    let interval: u64 = interval.trim().parse().map_err(|_| ParseError::Damaged("the first line's interval is no number"))?;
    Ok(interval.max(1) as f64)
}

/// `LIVE: BYTES [ALLOCATED: BYTES]`.
fn amounts(figures: &str, interval: f64) -> Option<Amounts> {
    let mut numbers = figures.split(|letter: char| !letter.is_ascii_digit()).filter(|number| !number.is_empty());
    let mut pair = || Some((numbers.next()?.parse::<u64>().ok()?, numbers.next()?.parse::<u64>().ok()?));
    let (live, allocated) = (pair()?, pair().unwrap_or_default());
    let (inuse_objects, inuse_space) = scaled(live, interval);
    let (alloc_objects, alloc_space) = scaled(allocated, interval);
    Some(Amounts { alloc_space, alloc_objects, inuse_space, inuse_objects })
}

/// What sampled blocks stand for: each was sampled with the probability `1 - exp(-size / interval)`.
fn scaled((objects, bytes): (u64, u64), interval: f64) -> (u64, u64) {
    if objects == 0 || bytes == 0 {
        return (0, 0);
    }
    let probability = -(-(bytes as f64) / objects as f64 / interval).exp_m1();
    // Positive, and `as` saturates.
    ((objects as f64 / probability).round() as u64, (bytes as f64 / probability).round() as u64)
}

fn stack(
    addresses: &str,
    mappings: &[Mapping<'_>],
    heap: &mut HeapProfile,
    resolve: &mut dyn Resolve,
) -> Result<Vec<LocationId>, ParseError> {
    let mut stack = Vec::new();
    for address in addresses.split_ascii_whitespace().take(MAX_DEPTH + 1) {
        let address = hex(address).ok_or(ParseError::Damaged("an address of a stack is no number"))?;
        // All are return addresses: the call is before them.
        let address = address.wrapping_sub(1);
        let at = mappings.partition_point(|mapping| mapping.end <= address);
        let mapping = mappings.get(at).filter(|mapping| mapping.start <= address);
        let mapped = mapping.map(|mapping| Mapped { path: mapping.path, build_id: "", start: mapping.start, offset: mapping.offset });
        stack.push(resolve::location(heap, mapped, address, resolve));
    }
    Ok(stack)
}

/// Executable mappings of files, by address.
fn mappings(text: &str) -> Result<Vec<Mapping<'_>>, ParseError> {
    let mut mappings = Vec::new();
    for line in text.lines() {
        let Some(mapping) = mapping(line) else { continue };
        if mappings.len() == MAX_MAPPINGS {
            return Err(ParseError::TooLarge("65,536 mappings"));
        }
        mappings.push(mapping);
    }
    mappings.sort_by_key(|mapping: &Mapping<'_>| (mapping.end, mapping.start));
    Ok(mappings)
}

fn mapping(line: &str) -> Option<Mapping<'_>> {
    let path = line.get(line.find('/')?..)?.trim_end();
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end) = (hex(start)?, hex(end)?);
    fields.next().filter(|permissions| permissions.contains('x'))?;
    let offset = hex(fields.next()?)?;
    (start < end).then_some(Mapping { start, end, offset, path })
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::resolve::Nobody;

    const JEMALLOC: &str = "heap_v2/524288\n  t*: 4: 2097152 [0: 0]\n  t0: 4: 2097152 [0: 0]\n@ 0x401011 0x401101 0x7f0000001001\n  t*: 4: 2097152 [8: 4194304]\n  t0: 4: 2097152 [8: 4194304]\n\
        @ 0x401021\n  t*: 1: 64 [0: 0]\n\nMAPPED_LIBRARIES:\n00400000-00401000 r--p 00000000 08:01 7  /bin/leaky\n00401000-00402000 r-xp 00001000 08:01 7    /bin/leaky\n7f0000001000-7f0000002000 r-xp 00000000 08:01 9 /lib/libc.so.6\n";

    /// Both formats say the same; samples are scaled as jeprof does it, and addresses are those of the calls.
    #[test]
    fn texts_are_read() {
        let whole = (1.0 - (-1.0_f64).exp()).recip() * 4.0 * f64::from(1 << 19);
        let heap = parse(JEMALLOC.as_bytes(), &mut Nobody).unwrap();
        let large = heap.stacks().find(|(_, amounts)| amounts.alloc_objects > 0).unwrap();
        assert!(
            (large.1.inuse_space as f64 - whole).abs() < 1.0 && large.1.alloc_space.abs_diff(2 * large.1.inuse_space) <= 1,
            "{large:?}"
        );
        let stack = heap.tables().stack(large.0).unwrap();
        let addresses: Vec<_> = stack.locations.iter().map(|location| heap.tables().location(*location).unwrap().address.0).collect();
        // Nobody knows the objects: addresses in the file are kept.
        assert_eq!(addresses, [0x1010, 0x1100, 0]);
        assert!(heap.total().inuse_space > large.1.inuse_space + 500_000);
        let tcmalloc = "heap profile:      4:  2097152 [     8:  4194304] @ heap_v2/524288\n     4:  2097152 [     8:  4194304] @ 0x401011 0x401101 0x7f0000001001\n\nMAPPED_LIBRARIES:\n00401000-00402000 r-xp 00001000 08:01 7    /bin/leaky\n";
        let other = parse(tcmalloc.as_bytes(), &mut Nobody).unwrap();
        assert_eq!(other.total(), large.1);
    }

    /// Texts that contradict themselves are refused, with what is wrong.
    #[test]
    fn damage_is_told() {
        let refused = |text: &str| parse(text.as_bytes(), &mut Nobody).unwrap_err();
        assert_eq!(refused("heap profile: 1: 2 [3: 4] @ heapprofile\n"), ParseError::Damaged("the first line has no heap_v2/INTERVAL"));
        assert_eq!(refused("heap_v2/x\n"), ParseError::Damaged("the first line's interval is no number"));
        assert_eq!(refused("heap_v2/1\n@ 0xzz\n  t*: 1: 1 [0: 0]\n"), ParseError::Damaged("an address of a stack is no number"));
        assert_eq!(refused("heap_v2/1\n@ 0x1\n  t*: x\n"), ParseError::Damaged("a stack without its figures"));
        assert!(parse(b"heap_v2/524288\n", &mut Nobody).unwrap().stacks().next().is_none());
    }
}
