//! The targets.

mod bundle;
mod python;
mod symbols;

use std::io::{self, Write};

use flamekeeper_agent::{fuzz, record};
use flamekeeper_object::go::GoBytes;
use flamekeeper_object::{DataSymbols, ObjectFacts, ObjectFile, OnlyDebug, limits, write_only_debug};
use flamekeeper_profile::{Avma, FileOffset, Svma};
use flamekeeper_wire::{Limits, decode, encode, gzip, lz4};

/// A parser under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Reads the bytes; panics when something that must hold does not.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 25] = [
    Target { name: "perf_record", run: perf_record },
    Target { name: "perf_ring", run: fuzz::perf_ring },
    Target { name: "perf_map", run: fuzz::perf_map },
    Target { name: "jitdump", run: fuzz::jitdump },
    Target { name: "hotspot", run: fuzz::hotspot },
    Target { name: "python", run: python::python },
    Target { name: "unwind", run: fuzz::unwind },
    Target { name: "heap_table", run: fuzz::heap_table },
    Target { name: "heap_profile", run: fuzz::heap_profile },
    Target { name: "process", run: fuzz::process },
    Target { name: "memory", run: fuzz::memory },
    Target { name: "environ", run: fuzz::environ },
    Target { name: "cgroup", run: fuzz::cgroup },
    Target { name: "process_context", run: fuzz::process_context },
    Target { name: "object", run: object },
    Target { name: "bundle", run: bundle::bundle },
    Target { name: "dwarf", run: symbols::dwarf },
    Target { name: "mini_debug_info", run: symbols::mini_debug_info },
    Target { name: "compressed", run: symbols::compressed },
    Target { name: "links", run: symbols::links },
    Target { name: "go", run: go },
    Target { name: "otlp", run: otlp },
    Target { name: "symbol_part", run: symbol_part },
    Target { name: "clickhouse", run: flamekeeper_collector::fuzz::clickhouse },
    Target { name: "profile_file", run: flamekeeper_collector::fuzz::profile_file },
];

/// The target of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// One record of a perf ring: what it borrows lies inside it.
fn perf_record(bytes: &[u8]) {
    let plain = match record::parse(bytes) {
        Ok(record::Record::Sample(sample)) => Some(sample),
        Ok(_) | Err(_) => None,
    };
    let fault = record::fault::parse_fault(bytes).ok().map(|fault| fault.sample);
    for sample in plain.into_iter().chain(fault) {
        let frames = sample.kernel_frames().count();
        assert!(frames * 8 + sample.stack.len() <= bytes.len());
        assert!(sample.stack.len() <= sample.stack_asked);
    }
}

/// Takes what is written and counts it.
struct Sink(u64);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An ELF file: headers, notes, sections, and its copy for upload.
fn object(bytes: &[u8]) {
    let facts = ObjectFacts::of(bytes);
    let Ok(object) = ObjectFile::from_bytes(bytes.to_vec()) else { return };
    if let Ok(facts) = facts {
        assert_eq!(facts.build_id.as_ref(), object.build_id());
        assert_eq!(facts.symbols, object.has_symbols());
    }
    for name in [".eh_frame", ".eh_frame_hdr", ".debug_frame", ".gopclntab", ".gnu_debugdata", ".symtab", ".debug_info"] {
        if let Some(section) = object.section(name) {
            // Decompression has a limit by ratio; see flamekeeper_object::limits.
            assert!(section.data.len() <= bytes.len() * 1200);
        }
    }
    for (start, offset) in [(0x40_0000, 0), (0x5555_0000_1000, 0x1000), (u64::MAX, u64::MAX)] {
        if object.bias(Avma(start), FileOffset(offset), true).is_some() {
            assert!(!object.segments().is_empty(), "a bias without a segment");
        }
    }
    if let Some((name, _)) = object.debug_link() {
        assert!(!name.is_empty() && !name.contains('/'));
    }
    if let Some(map) = object.go_stack_map() {
        assert!(map.bytes() <= limits::GO_STACK_MAP);
    }
    _ = (object.is_static(), object.allocator(), object.calls_mallocx());
    let variables = DataSymbols::of(&object);
    for address in [0, 1, 0x4000, 0x40_1000, u64::MAX] {
        assert!(variables.find(Svma(address)).is_none_or(|(name, at)| !name.is_empty() && at <= address));
    }
    let split = object.split_units();
    assert!(split.paths.len() <= split.count && split.paths.iter().all(|path| path.starts_with('/')));
    let mut sink = Sink(0);
    if let Ok(length) = write_only_debug(&object, &mut sink) {
        assert_eq!(length, sink.0);
        // The end of the copy can be had without what is before.
        let mut end = [0; 64];
        let copy = OnlyDebug::of(&object).map(|copy| copy.read_at(length.saturating_sub(end.len() as u64), &mut end));
        assert!(matches!(copy, Ok(Ok(()))));
    }
}

/// A part of an upload of symbols.
fn symbol_part(bytes: &[u8]) {
    const LIMIT: usize = 64 << 10;
    if let Ok(plain) = lz4::decompress(bytes, LIMIT) {
        assert!(plain.len() <= LIMIT);
        let again = lz4::compress(&plain);
        assert!(again.len() <= lz4::greatest(plain.len()));
        assert_eq!(lz4::decompress(&again, plain.len()).as_ref(), Ok(&plain));
    }
}

/// The body of an OTLP profiles request. What was understood can be sent on, and is understood alike.
fn otlp(bytes: &[u8]) {
    let limits = Limits { decompressed_bytes: 1 << 20, ..Limits::default() };
    if let Ok(plain) = gzip::decompress(bytes, limits.decompressed_bytes) {
        assert!(plain.len() <= limits.decompressed_bytes);
    }
    let Ok(batch) = decode(bytes, &limits) else { return };
    let again = match decode(&encode(&batch), &Limits::default()) {
        Ok(again) => again,
        Err(error) => panic!("what was decoded is refused when sent on: {error}"),
    };
    assert_eq!((again.samples(), again.ledger.taken), (batch.samples(), batch.ledger.taken));
    assert_eq!(again.series.len(), batch.series.len());
}

/// Go's table in an ELF file, without section headers too: stack depths, names, lines, and inlined calls.
fn go(bytes: &[u8]) {
    object(bytes);
    let Some(found) = GoBytes::of(bytes) else { return };
    if let Ok(object) = ObjectFile::from_bytes(bytes.to_vec())
        && let Some(map) = object.go_stack_map()
    {
        for address in (0..0x200).map(|at| Svma(0x40_1000 + at)).chain([Svma(0), Svma(u64::MAX)]) {
            assert!(map.rule(address).is_none() || map.covers(address));
        }
    }
    for function in found.functions().iter().flat_map(|functions| functions.iter()).take(1 << 10) {
        let text = |text: Option<std::borrow::Cow<'_, str>>| assert!(text.is_none_or(|text| text.len() <= bytes.len() * 3));
        text(function.name());
        let ranges = function.ranges(1 << 10);
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
        for range in ranges {
            text(function.path(range.file));
            text(range.call.and_then(|call| function.call(call)).map(|call| call.name));
        }
    }
}
