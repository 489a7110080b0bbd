//! The units of debug information: those of an object, of a supplementary file, of a split unit.

use std::cell::OnceCell;

use gimli::{DebugInfoOffset, UnitHeader, UnitOffset};

use super::sections::Slice;

pub(super) type Unit<'a> = gimli::Unit<Slice<'a>>;
pub(super) type Dwarf<'a> = gimli::Dwarf<Slice<'a>>;

/// Debug information of one file, its units at hand by offset.
#[derive(Debug)]
pub(super) struct Units<'a> {
    pub(super) dwarf: Dwarf<'a>,
    /// By offset.
    slots: Vec<Slot<'a>>,
}

#[derive(Debug)]
struct Slot<'a> {
    start: usize,
    header: UnitHeader<Slice<'a>>,
    /// None where it cannot be read.
    unit: OnceCell<Option<Unit<'a>>>,
}

impl<'a> Units<'a> {
    /// Finds the units; a damaged header ends them.
    pub(super) fn new(dwarf: Dwarf<'a>) -> Self {
        let mut slots = Vec::new();
        let mut headers = dwarf.units();
        while let Ok(Some(header)) = headers.next() {
            if let Some(start) = header.debug_info_offset() {
                slots.push(Slot { start: start.0, header, unit: OnceCell::new() });
            }
        }
        Self { dwarf, slots }
    }

    /// The units of a split file, whose addresses the skeleton in the object knows.
    pub(super) fn split(dwarf: Dwarf<'a>, skeleton: &Unit<'a>) -> Self {
        let units = Self::new(dwarf);
        for slot in &units.slots {
            let mut unit = units.dwarf.unit(slot.header).ok();
            if let Some(unit) = &mut unit {
                unit.copy_relocated_attributes(skeleton);
            }
            // The first value of each: none was asked for yet.
            _ = slot.unit.set(unit);
        }
        units
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// A unit by its number.
    pub(super) fn get(&self, index: usize) -> Option<&Unit<'a>> {
        let slot = self.slots.get(index)?;
        slot.unit.get_or_init(|| self.dwarf.unit(slot.header).ok()).as_ref()
    }

    /// The unit that an offset of `.debug_info` lies in, and the offset in it.
    pub(super) fn at(&self, offset: DebugInfoOffset) -> Option<(&Unit<'a>, UnitOffset)> {
        let index = self.slots.partition_point(|slot| slot.start <= offset.0).checked_sub(1)?;
        let slot = self.slots.get(index)?;
        let inside = offset.to_unit_offset(&slot.header)?;
        Some((self.get(index)?, inside))
    }
}
