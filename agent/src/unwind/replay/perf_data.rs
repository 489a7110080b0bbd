//! A reader of `perf.data` files, as far as this replay needs them: the records of one event, in order of time, each written
//! anew in the layout that [`crate::record`] parses.
//!
//! Source: `tools/perf/Documentation/perf.data-file-format.txt` and `include/uapi/linux/perf_event.h` of Linux. A file whose
//! records do not hold together is an error; nothing here panics on what a file says.

use crate::record::{HEADER_SIZE, REGS_USER};
use perf_event_open_sys::bindings as sys;

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("perf.data: {0}")]
pub(super) struct DataError(pub(super) &'static str);

/// A record in our layout, and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transcoded {
    /// Nanoseconds; 0 for what perf made up from procfs when it started.
    pub(super) time: u64,
    /// The whole record, header included.
    pub(super) bytes: Vec<u8>,
}

/// What the event's attributes say of the records' fields.
#[derive(Clone, Copy, Debug)]
struct Layout {
    fields: u64,
    registers: u64,
}

/// Records of these kinds and above are perf's own, not the kernel's (`PERF_RECORD_USER_TYPE_START`).
const USER_KINDS: u32 = 64;

/// Reads all records of a file.
pub(super) fn read(file: &[u8]) -> Result<Vec<Transcoded>, DataError> {
    let mut header = Fields(file);
    if header.bytes(8)? != b"PERFILE2" {
        return Err(DataError("not a perf.data file of this byte order"));
    }
    header.u64()?;
    let attributes = header.u64()?;
    let (attribute_size, attributes) = (attributes, part(file, header.u64()?, header.u64()?)?);
    let data = part(file, header.u64()?, header.u64()?)?;
    let layout = layout_of_all(attributes, attribute_size)?;
    let mut records = Vec::new();
    let mut rest = data;
    while let Some((kind, misc, size)) = peek(rest) {
        let (record, after) = rest.split_at_checked(size).filter(|_| size >= HEADER_SIZE).ok_or(DataError("a record's size"))?;
        rest = after;
        if kind < USER_KINDS {
            records.push(transcode(kind, misc, &record[HEADER_SIZE..], layout)?);
        }
    }
    records.sort_by_key(|record| record.time);
    Ok(records)
}

/// The layout of the event that copies stacks. perf opens another beside it, which only tells what happens to processes: its
/// records must end alike.
fn layout_of_all(attributes: &[u8], size: u64) -> Result<Layout, DataError> {
    let size = usize::try_from(size).ok().filter(|size| *size > 0).ok_or(DataError("an attribute's size"))?;
    let layouts = attributes.chunks_exact(size).map(layout).collect::<Result<Vec<_>, _>>()?;
    let stacks = u64::from(sys::PERF_SAMPLE_STACK_USER);
    let found = layouts.iter().find(|layout| layout.fields & stacks != 0).copied().ok_or(DataError("no stacks"))?;
    let id = Id::of(found.fields);
    if layouts.iter().any(|layout| Id::of(layout.fields) != id) {
        return Err(DataError("events whose records end differently"));
    }
    Ok(found)
}

fn layout(attribute: &[u8]) -> Result<Layout, DataError> {
    let word = |at: usize| attribute.get(at..).and_then(<[u8]>::first_chunk::<8>).map(|word| u64::from_ne_bytes(*word));
    let missing = DataError("an attribute's size");
    let (fields, flags, registers) = (word(24).ok_or(missing)?, word(40).ok_or(missing)?, word(80).ok_or(missing)?);
    // `sample_id_all`: without it nothing but samples has a time.
    if flags >> 18 & 1 == 0 {
        return Err(DataError("records without an id"));
    }
    Ok(Layout { fields, registers })
}

fn peek(rest: &[u8]) -> Option<(u32, u16, usize)> {
    let [a, b, c, d, e, f, g, h] = *rest.first_chunk::<8>()?;
    Some((u32::from_ne_bytes([a, b, c, d]), u16::from_ne_bytes([e, f]), u16::from_ne_bytes([g, h]).into()))
}

fn part(file: &[u8], offset: u64, size: u64) -> Result<&[u8], DataError> {
    let start = usize::try_from(offset).map_err(|_| DataError("an offset"))?;
    let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size)).ok_or(DataError("a size"))?;
    file.get(start..end).ok_or(DataError("a section outside of the file"))
}

fn transcode(kind: u32, misc: u16, record: &[u8], layout: Layout) -> Result<Transcoded, DataError> {
    if kind == sys::PERF_RECORD_SAMPLE {
        return sample(record, layout);
    }
    let id = Id::of(layout.fields);
    let (fields, trailer) = record.split_at_checked(record.len().wrapping_sub(id.size)).ok_or(DataError("a record's id"))?;
    let time = Fields(trailer.get(id.time..).ok_or(DataError("a record's id"))?).u64()?;
    let task = trailer.first_chunk::<8>().ok_or(DataError("a record's id"))?;
    // perf makes up the names of the processes that run already; for our table those are programs that begin.
    let first_name = kind == sys::PERF_RECORD_COMM && time == 0 && fields.get(..4) == fields.get(4..8);
    let misc = if first_name { misc | sys::PERF_RECORD_MISC_COMM_EXEC as u16 } else { misc };
    let mut body = fields.to_vec();
    body.extend_from_slice(task);
    body.extend_from_slice(&time.to_ne_bytes());
    body.extend_from_slice(&[0; 8]);
    Ok(Transcoded { time, bytes: with_header(kind, misc, &body)? })
}

/// Where the time stands in the trailer of a record that is no sample, and how long that is: pid and tid, time, id, stream,
/// cpu, identifier, as far as the sample type has them.
#[derive(PartialEq, Eq)]
struct Id {
    time: usize,
    size: usize,
}

impl Id {
    fn of(fields: u64) -> Self {
        let has = |field: sys::perf_event_sample_format| usize::from(fields & u64::from(field) != 0) * 8;
        let all = [sys::PERF_SAMPLE_TID, sys::PERF_SAMPLE_TIME, sys::PERF_SAMPLE_ID, sys::PERF_SAMPLE_STREAM_ID];
        let rest = [sys::PERF_SAMPLE_CPU, sys::PERF_SAMPLE_IDENTIFIER];
        Self { time: has(sys::PERF_SAMPLE_TID), size: all.into_iter().chain(rest).map(has).sum() }
    }
}

fn sample(record: &[u8], layout: Layout) -> Result<Transcoded, DataError> {
    let mut fields = Fields(record);
    let has = |field: sys::perf_event_sample_format| layout.fields & u64::from(field) != 0;
    let mut of = |field| if has(field) { fields.u64().map(Some) } else { Ok(None) };
    of(sys::PERF_SAMPLE_IDENTIFIER)?;
    of(sys::PERF_SAMPLE_IP)?;
    let task = of(sys::PERF_SAMPLE_TID)?.ok_or(DataError("samples without a thread"))?;
    let time = of(sys::PERF_SAMPLE_TIME)?.ok_or(DataError("samples without a time"))?;
    of(sys::PERF_SAMPLE_ADDR)?;
    of(sys::PERF_SAMPLE_ID)?;
    of(sys::PERF_SAMPLE_STREAM_ID)?;
    let cpu = of(sys::PERF_SAMPLE_CPU)?.unwrap_or(0);
    of(sys::PERF_SAMPLE_PERIOD)?;
    if has(sys::PERF_SAMPLE_READ) || has(sys::PERF_SAMPLE_RAW) || has(sys::PERF_SAMPLE_BRANCH_STACK) {
        return Err(DataError("samples of a kind that is not read here"));
    }
    let mut body = Vec::new();
    for word in [task, time, cpu] {
        body.extend_from_slice(&word.to_ne_bytes());
    }
    let entries = if has(sys::PERF_SAMPLE_CALLCHAIN) { fields.u64()? } else { 0 };
    body.extend_from_slice(&entries.to_ne_bytes());
    body.extend_from_slice(fields.words(entries)?);
    registers(&mut fields, layout, &mut body)?;
    stack(&mut fields, &mut body)?;
    Ok(Transcoded { time, bytes: with_header(sys::PERF_RECORD_SAMPLE, 0, &body)? })
}

fn registers(fields: &mut Fields<'_>, layout: Layout, body: &mut Vec<u8>) -> Result<(), DataError> {
    let abi = fields.u64()?;
    body.extend_from_slice(&abi.to_ne_bytes());
    if abi == 0 {
        return Ok(());
    }
    let all = fields.words(layout.registers.count_ones().into())?;
    for register in (0..64).filter(|register| REGS_USER >> register & 1 != 0) {
        if layout.registers >> register & 1 == 0 {
            return Err(DataError("a register that unwinding needs is missing"));
        }
        let place = (layout.registers & ((1 << register) - 1)).count_ones() as usize * 8;
        body.extend_from_slice(&all[place..place + 8]);
    }
    Ok(())
}

fn stack(fields: &mut Fields<'_>, body: &mut Vec<u8>) -> Result<(), DataError> {
    let size = fields.u64()?;
    body.extend_from_slice(&size.to_ne_bytes());
    if size > 0 {
        body.extend_from_slice(fields.bytes(usize::try_from(size).map_err(|_| DataError("a stack's size"))?)?);
        body.extend_from_slice(fields.bytes(8)?);
    }
    Ok(())
}

fn with_header(kind: u32, misc: u16, body: &[u8]) -> Result<Vec<u8>, DataError> {
    let size = u16::try_from(body.len() + HEADER_SIZE).map_err(|_| DataError("a record too large for our layout"))?;
    let header = [&kind.to_ne_bytes()[..], &misc.to_ne_bytes(), &size.to_ne_bytes()].concat();
    Ok([&header, body].concat())
}

/// What is left of a record.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], DataError> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(DataError("a record ends inside a field"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn words(&mut self, count: u64) -> Result<&'a [u8], DataError> {
        let bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(8));
        self.bytes(bytes.ok_or(DataError("a count"))?)
    }

    fn u64(&mut self) -> Result<u64, DataError> {
        let bytes = self.bytes(8)?.first_chunk().ok_or(DataError("a record ends inside a field"))?;
        Ok(u64::from_ne_bytes(*bytes))
    }
}
