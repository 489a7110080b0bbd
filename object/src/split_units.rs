//! Where the other parts of split units are: DWARF 5, section 7.3.2, and GNU's forerunner of it for version 4.
//!
//! A unit whose larger part was left in another file (`.dwo`) is a skeleton in the object: one entry, which names that file. Only skeletons
//! are read, and of their abbreviations the one of that entry, so that neither time nor memory grows with the debug information of an
//! object that has few or none.

use std::borrow::Cow;

use gimli::{
    Abbreviations, AttributeValue, DebugAbbrev, DebugAbbrevOffset, DebugInfo, EndianSlice, LittleEndian, Reader as _, UnitHeader, UnitType,
    constants,
};

use crate::header::{Headers, SectionHeader};
use crate::source::Source;
use crate::{limits, section};

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Value<'a> = AttributeValue<Slice<'a>>;

/// Bytes of an entry of `.debug_abbrev` that is looked for, with those before it.
const ABBREVIATIONS: u64 = 4096;
/// Bytes of a path.
const PATH: u64 = 4096;
/// Bytes of a unit's header.
const UNIT_HEADER: u64 = 40;

/// The units of an object whose other part is elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SplitUnits {
    /// How many there are.
    pub count: usize,
    /// The files that they name, as the compiler wrote them, absolute, each once. Those that are relative to an unknown directory are left out.
    pub paths: Vec<String>,
}

/// Finds the units of an object that are split.
pub(crate) fn find(source: &Source<'_>, headers: &Headers) -> SplitUnits {
    let mut found = SplitUnits::default();
    let section = |name| Section::open(source, headers, name);
    // What split units know of addresses stands there, so where it is not there none is split.
    if headers.section(".debug_addr").or_else(|| headers.section(".zdebug_addr")).is_none() {
        return found;
    }
    let (Some(info), Some(abbrev)) = (section(".debug_info"), section(".debug_abbrev")) else { return found };
    let strings = Strings { plain: section(".debug_str"), line: section(".debug_line_str"), offsets: section(".debug_str_offsets") };
    let mut at = 0;
    for _ in 0..limits::SPLIT_UNITS {
        let Some((size, may_be)) = unit_at(&info, at) else { break };
        if may_be
            && size <= limits::SKELETON
            && let Some(bytes) = info.read(at, size)
            && let Some(path) = split_path(&bytes, &abbrev, &strings)
        {
            found.count += 1;
            found.paths.extend(path);
        }
        at = at.saturating_add(size);
    }
    found.paths.sort_unstable();
    found.paths.dedup();
    found
}

/// The size of the unit at an offset, and whether its header allows that it is a skeleton.
fn unit_at(info: &Section<'_>, at: u64) -> Option<(u64, bool)> {
    let head = info.read_up_to(at, UNIT_HEADER)?;
    let mut reader = Slice::new(&head, LittleEndian);
    let (len, format) = reader.read_initial_length().ok()?;
    let size = (len as u64).checked_add(u64::from(format.initial_length_size()))?;
    let version = reader.read_u16().ok()?;
    let may_be = version < 5 || reader.read_u8().ok()? == constants::DW_UT_skeleton.0;
    Some((size, may_be))
}

/// What a unit is the skeleton of: nothing where it is none, and no path where it cannot be told.
fn split_path(unit: &[u8], abbrev: &Section<'_>, strings: &Strings<'_>) -> Option<Option<String>> {
    let header = DebugInfo::new(unit, LittleEndian).units().next().ok()??;
    let abbreviations = root_abbreviation(&header, unit, abbrev)?;
    let mut entries = header.entries(&abbreviations);
    let root = entries.next_dfs().ok()??;
    let is_skeleton = matches!(header.type_(), UnitType::Skeleton(_)) || root.tag() == constants::DW_TAG_compile_unit;
    let (mut name, mut directory, mut base) = (None, None, if header.format() == gimli::Format::Dwarf64 { 16 } else { 8 });
    for attribute in root.attrs() {
        match (attribute.name(), attribute.value()) {
            (constants::DW_AT_dwo_name | constants::DW_AT_GNU_dwo_name, value) => name = Some(value),
            (constants::DW_AT_comp_dir, value) => directory = Some(value),
            (constants::DW_AT_str_offsets_base, AttributeValue::DebugStrOffsetsBase(at)) => base = at.0 as u64,
            _ => {}
        }
    }
    let name = name.filter(|_| is_skeleton)?;
    let text = |value: &Value<'_>| strings.text(value, base, u64::from(header.format().word_size()));
    let path = text(&name).and_then(|name| {
        let directory = directory.as_ref().and_then(text).unwrap_or_default();
        let path = if name.starts_with('/') { name } else { format!("{}/{name}", directory.trim_end_matches('/')) };
        path.starts_with('/').then_some(path)
    });
    Some(path)
}

/// The abbreviation of a unit's first entry, alone.
fn root_abbreviation(header: &UnitHeader<Slice<'_>>, unit: &[u8], abbrev: &Section<'_>) -> Option<Abbreviations> {
    let code = Slice::new(unit.get(header.header_size()..)?, LittleEndian).read_uleb128().ok()?;
    let bytes = abbrev.read_up_to(header.debug_abbrev_offset().0 as u64, ABBREVIATIONS)?;
    let mut reader = Slice::new(&bytes, LittleEndian);
    loop {
        let entry = reader;
        let found = reader.read_uleb128().ok()?;
        if found == 0 {
            return None;
        }
        reader.read_uleb128().ok()?;
        reader.read_u8().ok()?;
        while {
            let (name, form) = (reader.read_uleb128().ok()?, reader.read_uleb128().ok()?);
            if form == u64::from(constants::DW_FORM_implicit_const.0) {
                reader.read_sleb128().ok()?;
            }
            (name, form) != (0, 0)
        } {}
        if found == code {
            let mut alone = entry.slice().get(..entry.len() - reader.len())?.to_vec();
            alone.push(0);
            return DebugAbbrev::new(&alone, LittleEndian).abbreviations(DebugAbbrevOffset(0)).ok();
        }
    }
}

/// The sections that texts stand in.
struct Strings<'a> {
    plain: Option<Section<'a>>,
    line: Option<Section<'a>>,
    offsets: Option<Section<'a>>,
}

impl Strings<'_> {
    /// A text; none where it cannot be told. Offsets of texts are `word` bytes long, from `base` on.
    fn text(&self, value: &Value<'_>, base: u64, word: u64) -> Option<String> {
        match value {
            AttributeValue::String(text) => Some(text.to_string().ok()?.to_owned()),
            AttributeValue::DebugStrRef(at) => self.plain.as_ref()?.text(at.0 as u64),
            AttributeValue::DebugLineStrRef(at) => self.line.as_ref()?.text(at.0 as u64),
            AttributeValue::DebugStrOffsetsIndex(index) => {
                let at = base.checked_add((index.0 as u64).checked_mul(word)?)?;
                let bytes = self.offsets.as_ref()?.read(at, word)?;
                let mut wide = [0; 8];
                wide.get_mut(..bytes.len())?.copy_from_slice(&bytes);
                self.plain.as_ref()?.text(u64::from_le_bytes(wide))
            }
            _ => None,
        }
    }
}

/// A section, read where it lies; in memory where it is compressed.
enum Section<'a> {
    InFile { source: &'a Source<'a>, offset: u64, len: u64 },
    Memory(Cow<'a, [u8]>),
}

impl<'a> Section<'a> {
    /// None where there is none, or it is compressed and too large.
    fn open(source: &'a Source<'a>, headers: &Headers, name: &str) -> Option<Self> {
        let compressed = |header: &SectionHeader| section::read_within(source, headers.class, header, limits::SPLIT_SECTION).ok();
        match headers.section(name) {
            Some(header) if header.is_compressed() => Some(Self::Memory(compressed(header)?.data)),
            Some(header) => Some(Self::InFile { source, offset: header.offset, len: header.size }),
            None => {
                let header = headers.section(&format!(".z{}", name.strip_prefix('.')?))?;
                section::read_gnu_compressed(source, header, limits::SPLIT_SECTION).ok().map(Self::Memory)
            }
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::InFile { len, .. } => *len,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    fn read(&self, at: u64, len: u64) -> Option<Cow<'_, [u8]>> {
        let end = at.checked_add(len).filter(|end| *end <= self.len())?;
        match self {
            Self::InFile { source, offset, .. } => source.read(offset.checked_add(at)?, len, "section").ok(),
            Self::Memory(bytes) => bytes.get(usize::try_from(at).ok()?..usize::try_from(end).ok()?).map(Cow::Borrowed),
        }
    }

    /// Fewer where the section ends before.
    fn read_up_to(&self, at: u64, most: u64) -> Option<Cow<'_, [u8]>> {
        self.read(at, self.len().checked_sub(at).filter(|left| *left > 0)?.min(most))
    }

    fn text(&self, at: u64) -> Option<String> {
        let bytes = self.read_up_to(at, PATH)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        Some(std::str::from_utf8(bytes.get(..end)?).ok()?.to_owned())
    }
}
