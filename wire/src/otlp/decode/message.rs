//! The parts of a message as they are read: the dictionary in flat tables, a profile without its samples.

use std::ops::Range;

use opentelemetry_proto::tonic::profiles::v1development as otlp;
use prost::Message as _;

use super::fields::{Field, Fields, truncated};
use super::{DecodeError, check};
use crate::limits::Limits;

/// A location; its lines and attributes are ranges of [`Message::lines`] and [`Message::attribute_indices`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) mapping: i32,
    pub(super) address: u64,
    pub(super) lines: Range<u32>,
    pub(super) attributes: Range<u32>,
}

/// A function and a line in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) function: i32,
    pub(super) line: i64,
}

/// A function: indexes of its names and its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: i32,
    pub(super) system_name: i32,
    pub(super) file: i32,
}

/// The tables of the dictionary. What is many in a batch lies in few allocations.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) mappings: Vec<otlp::Mapping>,
    pub(super) locations: Vec<Location>,
    pub(super) lines: Vec<Line>,
    pub(super) attribute_indices: Vec<i32>,
    pub(super) functions: Vec<Function>,
    pub(super) strings: Vec<&'a str>,
    pub(super) attributes: Vec<otlp::KeyValueAndUnit>,
    /// Stacks as they were sent: [`stack`] reads them where they are needed, while they are in the CPU's cache.
    pub(super) stacks: Vec<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// Adds what a dictionary's bytes hold.
    pub(super) fn read(&mut self, dictionary: &'a [u8], limits: &Limits) -> Result<(), DecodeError> {
        let mut fields = Fields::new(dictionary);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => self.mappings.push(otlp::Mapping::decode(field.bytes()?)?),
                2 => self.location(field.bytes()?)?,
                3 => self.functions.push(function(field.bytes()?)?),
                5 => {
                    let text = field.text()?;
                    check("bytes in a string", text.len(), limits.string_bytes)?;
                    self.strings.push(text);
                }
                6 => self.attributes.push(otlp::KeyValueAndUnit::decode(field.bytes()?)?),
                7 => self.stacks.push(field.bytes()?),
                _ => {}
            }
        }
        let sizes = [
            ("mappings", self.mappings.len()),
            ("locations", self.locations.len()),
            ("functions", self.functions.len()),
            ("strings", self.strings.len()),
            ("attributes", self.attributes.len()),
            ("stacks", self.stacks.len()),
        ];
        sizes.into_iter().try_for_each(|(what, len)| check(what, len, limits.table_entries))
    }

    fn location(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        let (lines, attributes) = (self.lines.len(), self.attribute_indices.len());
        let mut location = Location::default();
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => location.mapping = field.index()?,
                2 => location.address = field.number()?,
                3 => self.lines.push(line(field.bytes()?)?),
                4 => field.numbers(|index| self.attribute_indices.push(truncated(index)))?,
                _ => {}
            }
        }
        location.lines = range(lines, self.lines.len())?;
        location.attributes = range(attributes, self.attribute_indices.len())?;
        self.locations.push(location);
        Ok(())
    }
}

/// Hands out the indexes of a stack's locations.
pub(super) fn stack(message: &[u8], mut visit: impl FnMut(i32)) -> Result<(), DecodeError> {
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            field.numbers(|index| visit(truncated(index)))?;
        }
    }
    Ok(())
}

/// A part of a flat table. A body is bounded far below 2^32 bytes, so that its entries can be counted in 32 bits.
fn range(start: usize, end: usize) -> Result<Range<u32>, DecodeError> {
    let place = |at: usize| u32::try_from(at).map_err(|_| DecodeError::Rule("the body is larger than 4 GiB"));
    Ok(place(start)?..place(end)?)
}

/// A part of a flat table by its range, which [`range`] made of places in it.
pub(super) fn part<'t, T>(table: &'t [T], range: &Range<u32>) -> &'t [T] {
    table.get(range.start as usize..range.end as usize).unwrap_or_default()
}

fn line(message: &[u8]) -> Result<Line, DecodeError> {
    let mut line = Line::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => line.function = field.index()?,
            2 => line.line = field.number()?.cast_signed(),
            _ => {}
        }
    }
    Ok(line)
}

fn function(message: &[u8]) -> Result<Function, DecodeError> {
    let mut function = Function::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => function.name = field.index()?,
            2 => function.system_name = field.index()?,
            3 => function.file = field.index()?,
            _ => {}
        }
    }
    Ok(function)
}

/// A profile without its samples, which [`samples`] hands out.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Profile<'a> {
    pub(super) sample_type: otlp::ValueType,
    pub(super) period_type: otlp::ValueType,
    pub(super) period: i64,
    pub(super) from: u64,
    pub(super) duration: u64,
    /// How many samples there are.
    pub(super) samples: usize,
    message: &'a [u8],
}

impl<'a> Profile<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut profile = Self { message, ..Self::default() };
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => profile.sample_type.merge(field.bytes()?)?,
                2 => profile.samples += 1,
                3 => profile.from = field.fixed()?,
                4 => profile.duration = field.number()?,
                5 => profile.period_type.merge(field.bytes()?)?,
                6 => profile.period = field.number()?.cast_signed(),
                _ => {}
            }
        }
        Ok(profile)
    }

    /// Hands out the samples, each in the same place.
    pub(super) fn samples(&self, mut visit: impl FnMut(&Sample) -> Result<(), DecodeError>) -> Result<(), DecodeError> {
        let mut sample = Sample::default();
        let mut fields = Fields::new(self.message);
        while let Some((number, field)) = fields.next()? {
            if number == 2 {
                sample.read(field)?;
                visit(&sample)?;
            }
        }
        Ok(())
    }
}

/// A sample.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) stack: i32,
    pub(super) attributes: Vec<i32>,
    /// The sum of its values, or one for each timestamp where it has no values.
    pub(super) value: u64,
}

impl Sample {
    fn read(&mut self, field: Field<'_>) -> Result<(), DecodeError> {
        (self.stack, self.value) = (0, 0);
        self.attributes.clear();
        let (mut values, mut negative, mut timestamps) = (0_usize, false, 0_usize);
        let mut fields = Fields::new(field.bytes()?);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => self.stack = field.index()?,
                2 => field.numbers(|index| self.attributes.push(truncated(index)))?,
                4 => field.numbers(|value| {
                    values += 1;
                    negative |= value.cast_signed() < 0;
                    self.value = self.value.saturating_add(value);
                })?,
                5 => timestamps += field.count_fixed()?,
                _ => {}
            }
        }
        match (values, timestamps) {
            _ if negative => Err(DecodeError::Rule("a sample has a negative value")),
            (0, 0) => Err(DecodeError::Rule("a sample has neither values nor timestamps")),
            (0, timestamps) => {
                self.value = timestamps as u64;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
