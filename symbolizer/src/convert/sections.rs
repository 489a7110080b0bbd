//! The sections of debug information, in memory, decompressed.

use std::borrow::Cow;

use flamekeeper_object::{ObjectBytes, ObjectError};
use gimli::{DwarfPackageSections, DwarfSections, SectionId};

/// What debug information is read from.
pub(super) type Slice<'a> = gimli::EndianSlice<'a, gimli::LittleEndian>;

/// Bytes of a section, as they stand in the object or decompressed.
pub(super) type Loaded<'a> = Cow<'a, [u8]>;

/// Sections that say nothing of functions and lines are left out.
const fn is_read(id: SectionId) -> bool {
    matches!(
        id,
        SectionId::DebugAbbrev
            | SectionId::DebugAddr
            | SectionId::DebugInfo
            | SectionId::DebugLine
            | SectionId::DebugLineStr
            | SectionId::DebugRanges
            | SectionId::DebugRngLists
            | SectionId::DebugStr
            | SectionId::DebugStrOffsets
    )
}

fn load<'a>(object: &'a ObjectBytes<'_>, id: SectionId, name: Option<&str>, limit: u64) -> Result<Loaded<'a>, ObjectError> {
    let name = if is_read(id) { name } else { None };
    all(object, name, limit)
}

fn all<'a>(object: &'a ObjectBytes<'_>, name: Option<&str>, limit: u64) -> Result<Loaded<'a>, ObjectError> {
    let section = name.map(|name| object.section(name, limit)).transpose()?;
    Ok(section.flatten().unwrap_or_default())
}

/// The sections of an object or of a supplementary file.
pub(super) fn of_object<'a>(object: &'a ObjectBytes<'_>, limit: u64) -> Result<DwarfSections<Loaded<'a>>, ObjectError> {
    DwarfSections::load(|id| load(object, id, Some(id.name()), limit))
}

/// The sections of a `.dwo` file.
pub(super) fn of_split<'a>(object: &'a ObjectBytes<'_>, limit: u64) -> Result<DwarfSections<Loaded<'a>>, ObjectError> {
    DwarfSections::load(|id| load(object, id, id.dwo_name(), limit))
}

/// The sections of a `.dwp` file, all of them, since its index says which part of each belongs to a unit; one that cannot be read is empty.
pub(super) fn of_package<'a>(object: &'a ObjectBytes<'_>, limit: u64) -> Result<DwarfPackageSections<Loaded<'a>>, gimli::Error> {
    DwarfPackageSections::load(|id| Ok(all(object, id.dwo_name(), limit).unwrap_or_default()))
}

/// Reads what was loaded.
pub(super) fn slice<'a>(section: &'a Loaded<'_>) -> Slice<'a> {
    Slice::new(section, gimli::LittleEndian)
}
