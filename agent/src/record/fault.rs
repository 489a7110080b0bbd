//! Samples of page faults: as those of the CPU, with two fields more.
//!
//! They come from rings of their own, so nothing in a record has to tell which of the two it is. The fields stand where
//! `perf_event_open(2)` has them: what the event has counted (`PERF_SAMPLE_READ`) after the CPU, the size of the page
//! (`PERF_SAMPLE_DATA_PAGE_SIZE`) after all others.

use perf_event_open_sys::bindings as sys;

use super::{Fields, HEADER_SIZE, Header, RecordError, Sample, sample_head, sample_rest};

/// The fields of each sample; [`super::SAMPLE_CGROUP`] besides where the kernel can tell it.
pub const SAMPLE_TYPE: u64 = super::SAMPLE_TYPE | (sys::PERF_SAMPLE_READ | sys::PERF_SAMPLE_DATA_PAGE_SIZE) as u64;

/// A page that a thread touched first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    /// Who, when and where in the code.
    pub sample: Sample<'a>,
    /// Faults that the event has counted, this one included.
    pub counted: u64,
    /// Size of the page in bytes; 0 where the page was gone again when the kernel looked.
    pub page_bytes: u64,
}

/// Reads a whole sample of page faults, header included.
///
/// # Errors
/// [`RecordError`] when a field lies outside the bytes or a count is impossible.
pub fn parse_fault(bytes: &[u8]) -> Result<Fault<'_>, RecordError> {
    let header = bytes.first_chunk::<HEADER_SIZE>().copied().map(Header::from_bytes).ok_or(RecordError::Short { kind: 0 })?;
    let short = RecordError::Short { kind: header.kind };
    let (rest, page_bytes) = bytes[HEADER_SIZE..].split_last_chunk::<8>().ok_or(short)?;
    let mut fields = Fields { kind: header.kind, rest };
    let head = sample_head(&mut fields)?;
    let counted = fields.u64()?;
    Ok(Fault { sample: sample_rest(&mut fields, head)?, counted, page_bytes: u64::from_ne_bytes(*page_bytes) })
}

#[cfg(test)]
mod tests {
    use flamekeeper_profile::Avma;

    use super::*;

    fn record(words: &[u64]) -> Vec<u8> {
        let size = u16::try_from(HEADER_SIZE + 8 * words.len()).unwrap();
        let header = [&sys::PERF_RECORD_SAMPLE.to_ne_bytes()[..], &[0; 2], &size.to_ne_bytes()].concat();
        header.into_iter().chain(words.iter().flat_map(|word| word.to_ne_bytes())).collect()
    }

    /// Each field is found where the kernel writes it, with the cgroup and without, and a record that ends early is refused.
    #[test]
    fn fields_are_where_they_belong() {
        // Process and thread 7, time 9, CPU 1, count 300, no callchain, no registers, no stack.
        let plain = [7 | 7 << 32, 9, 1, 300, 0, 0, 0];
        let fault = |more: &[u64]| record(&[&plain[..], more].concat());
        let bytes = fault(&[4096]);
        let read = parse_fault(&bytes).unwrap();
        assert_eq!((read.counted, read.page_bytes, read.sample.cgroup), (300, 4096, None));
        assert_eq!((read.sample.task.pid, read.sample.time, read.sample.cpu), (7, 9, 1));
        let bytes = fault(&[55, 2 << 20]);
        let read = parse_fault(&bytes).unwrap();
        assert_eq!((read.page_bytes, read.sample.cgroup), (2 << 20, Some(55)));
        for length in 0..fault(&[]).len() {
            assert!(parse_fault(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    /// A fault in the kernel has its part of the callchain, and the registers and the stack of the program that called it.
    #[test]
    fn stack_of_a_fault_in_the_kernel() {
        let registers = vec![1; super::super::REGS_COUNT];
        let words =
            [&[7 | 7 << 32, 9, 1, 300, 2, super::super::CONTEXT_KERNEL, 0xffff_8000_0000_1234, 2][..], &registers, &[8, 42, 8, 4096]];
        let bytes = record(&words.concat());
        let read = parse_fault(&bytes).unwrap();
        assert_eq!(read.sample.kernel_frames().collect::<Vec<_>>(), [Avma(0xffff_8000_0000_1234)]);
        assert_eq!((read.sample.stack, read.sample.stack_asked), (&42_u64.to_ne_bytes()[..], 8));
        assert!(read.sample.regs.is_some());
    }
}
