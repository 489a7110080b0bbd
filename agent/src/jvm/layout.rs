//! Where HotSpot keeps what is read here, as the running machine says itself.
//!
//! `libjvm.so` exports tables of its own structures for tools (`gHotSpotVMStructs` and its like, `vmStructs.cpp` of OpenJDK):
//! for each type its size, for each field its offset, or for a static one its address. Nothing here knows a version; what a
//! table does not have makes the machine one that is not read.

use std::collections::HashMap;

use crate::jvm::elf::Symbols;
use crate::jvm::memory::Memory;

/// Entries of a table that are read: JDK 8 to 25 have 600 to 900 fields.
const MAX_ENTRIES: u64 = 4096;
/// Code heaps: HotSpot has one, or three.
const MAX_HEAPS: u32 = 8;

/// A range of memory in which code is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heap {
    /// First address.
    pub(super) low: u64,
    /// End of what is reserved.
    pub(super) high: u64,
    /// The map that leads from a segment to the start of its block, one byte a segment.
    pub(super) segments: u64,
    /// Logarithm of the segments' size.
    pub(super) log2_segment: u32,
}

/// A field of a blob that some versions keep narrower than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// Where in the structure.
    pub(super) offset: u64,
    /// Whether it has 16 bits, not 32.
    pub(super) short: bool,
}

/// What is needed to find code, its frames and its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(super) heaps: Vec<Heap>,
    /// Size of the header of a block.
    pub(super) block_header: u64,
    /// `HeapBlock::Header::_used`.
    pub(super) block_used: u64,
    pub(super) blob_name: u64,
    pub(super) blob_size: u64,
    pub(super) frame_size: u64,
    pub(super) frame_complete: Number,
    /// `CodeBlob::_code_begin`, an address, or none where there is an offset.
    pub(super) code_begin: Option<u64>,
    /// `CodeBlob::_code_offset`, from the blob's start.
    pub(super) code_offset: Option<Number>,
    pub(super) nmethod_method: u64,
    pub(super) method_const: u64,
    pub(super) const_constants: u64,
    pub(super) const_name: u64,
    pub(super) const_signature: u64,
    pub(super) pool_size: u64,
    pub(super) pool_holder: u64,
    pub(super) pool_length: u64,
    pub(super) klass_name: u64,
    pub(super) symbol_length: u64,
    pub(super) symbol_body: u64,
}

impl Layout {
    /// Reads the tables of a machine whose `libjvm.so` is mapped from a base on; none where it is none, or is not ready.
    /// Some thousand reads: not for the sampling thread.
    pub(crate) fn read(memory: &impl Memory, base: u64) -> Option<Self> {
        let tables = Tables::read(memory, base)?;
        let heaps = heaps(memory, &tables)?;
        let field = |name: &str| tables.fields.get(name).map(|field| field.place);
        let number = |name: &str| tables.fields.get(name).map(|field| Number { offset: field.place, short: field.short });
        Some(Self {
            heaps,
            block_header: *tables.types.get("HeapBlock")?,
            block_used: field("HeapBlock::Header::_used")?,
            blob_name: field("CodeBlob::_name")?,
            blob_size: field("CodeBlob::_size")?,
            frame_size: field("CodeBlob::_frame_size")?,
            frame_complete: number("CodeBlob::_frame_complete_offset")?,
            code_begin: field("CodeBlob::_code_begin"),
            code_offset: number("CodeBlob::_code_offset"),
            nmethod_method: field("nmethod::_method").or_else(|| field("CompiledMethod::_method"))?,
            method_const: field("Method::_constMethod")?,
            const_constants: field("ConstMethod::_constants")?,
            const_name: field("ConstMethod::_name_index")?,
            const_signature: field("ConstMethod::_signature_index")?,
            pool_size: *tables.types.get("ConstantPool")?,
            pool_holder: field("ConstantPool::_pool_holder")?,
            pool_length: field("ConstantPool::_length")?,
            klass_name: field("Klass::_name")?,
            symbol_length: field("Symbol::_length")?,
            symbol_body: field("Symbol::_body")?,
        })
        .filter(Self::is_sound)
    }

    /// Whether an address lies in the code cache.
    pub(super) fn holds(&self, address: u64) -> bool {
        self.heaps.iter().any(|heap| (heap.low..heap.high).contains(&address))
    }

    /// Offsets within structures are small, whatever the tables say.
    fn is_sound(&self) -> bool {
        let offsets = [
            self.block_header,
            self.block_used,
            self.blob_name,
            self.blob_size,
            self.frame_size,
            self.frame_complete.offset,
            self.nmethod_method,
            self.method_const,
            self.const_constants,
            self.const_name,
            self.const_signature,
            self.pool_size,
            self.pool_holder,
            self.pool_length,
            self.klass_name,
            self.symbol_length,
            self.symbol_body,
            self.code_begin.unwrap_or_default(),
            self.code_offset.map_or(0, |number| number.offset),
        ];
        offsets.iter().all(|offset| *offset < super::code::MAX_BLOB_HEADER as u64 - 8)
            && (self.code_begin.is_some() || self.code_offset.is_some())
    }
}

/// A field as the tables tell of it.
struct Field {
    /// Its offset, or its address if it is static.
    place: u64,
    short: bool,
}

struct Tables {
    types: HashMap<String, u64>,
    fields: HashMap<String, Field>,
}

impl Tables {
    fn read(memory: &impl Memory, base: u64) -> Option<Self> {
        let symbols = Symbols::of(memory, base)?;
        let value = |name: &str| memory.u64(symbols.find(memory, name)?);
        let mut types = HashMap::new();
        let (name, size) = (value("gHotSpotVMTypeEntryTypeNameOffset")?, value("gHotSpotVMTypeEntrySizeOffset")?);
        for entry in entries(value("gHotSpotVMTypes")?, value("gHotSpotVMTypeEntryArrayStride")?) {
            let Some(text) = memory.u64(entry.wrapping_add(name)).filter(|text| *text != 0) else { break };
            types.insert(memory.text(text).unwrap_or_default(), memory.u64(entry.wrapping_add(size))?);
        }
        let mut fields = HashMap::new();
        let places = ["TypeName", "FieldName", "TypeString", "IsStatic", "Offset", "Address"];
        let offsets: Option<Vec<u64>> = places.iter().map(|place| value(&format!("gHotSpotVMStructEntry{place}Offset"))).collect();
        let [type_name, field_name, type_string, is_static, offset, address] = offsets?.try_into().ok()?;
        for entry in entries(value("gHotSpotVMStructs")?, value("gHotSpotVMStructEntryArrayStride")?) {
            let text = |at: u64| memory.u64(entry.wrapping_add(at)).filter(|text| *text != 0).and_then(|text| memory.text(text));
            let Some(owner) = memory.u64(entry.wrapping_add(type_name)).filter(|text| *text != 0) else { break };
            // Template types have long names; nothing is looked for in them.
            let owner = memory.text(owner).unwrap_or_default();
            let place = if memory.u32(entry.wrapping_add(is_static))? != 0 { address } else { offset };
            let short = text(type_string).is_some_and(|name| matches!(name.as_str(), "int16_t" | "uint16_t" | "u2" | "short"));
            let field = Field { place: memory.u64(entry.wrapping_add(place))?, short };
            fields.insert(format!("{owner}::{}", text(field_name).unwrap_or_default()), field);
        }
        Some(Self { types, fields })
    }
}

fn entries(first: u64, stride: u64) -> impl Iterator<Item = u64> {
    (0..MAX_ENTRIES).map(move |index| first.wrapping_add(index.wrapping_mul(stride)))
}

fn heaps(memory: &impl Memory, tables: &Tables) -> Option<Vec<Heap>> {
    let field = |name: &str| tables.fields.get(name).map(|field| field.place);
    let list = memory.u64(field("CodeCache::_heaps")?)?;
    let count = memory.u32(list.wrapping_add(field("GrowableArrayBase::_len")?))?.min(MAX_HEAPS);
    let data = memory.u64(list.wrapping_add(field("GrowableArray<int>::_data")?))?;
    let (code, map, log2) = (field("CodeHeap::_memory")?, field("CodeHeap::_segmap")?, field("CodeHeap::_log2_segment_size")?);
    let (low, high) = (field("VirtualSpace::_low")?, field("VirtualSpace::_high_boundary")?);
    let heap = |index: u32| {
        let heap = memory.u64(data.wrapping_add(u64::from(index) * 8))?;
        Some(Heap {
            low: memory.u64(heap.wrapping_add(code).wrapping_add(low))?,
            high: memory.u64(heap.wrapping_add(code).wrapping_add(high))?,
            segments: memory.u64(heap.wrapping_add(map).wrapping_add(low))?,
            log2_segment: memory.u32(heap.wrapping_add(log2))?,
        })
    };
    let heaps: Vec<Heap> = (0..count).map(heap).collect::<Option<_>>()?;
    let sound = |heap: &Heap| heap.low > 0 && heap.high > heap.low && (3..=16).contains(&heap.log2_segment);
    (!heaps.is_empty() && heaps.iter().all(sound)).then_some(heaps)
}
