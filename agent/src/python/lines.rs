//! The location table of a code object (`co_linetable` since 3.11): which line an instruction belongs to. Pure.
//!
//! Format: `Objects/locations.md` of CPython (`InternalDocs/code_objects.md` in later versions). Each entry begins with a
//! byte whose top bit is set: four bits of kind, three of length - 1 in code units of two bytes; then the kind's own bytes,
//! of which only the change of the line matters here.

/// No line belongs to the instruction.
const KIND_NONE: u8 = 15;
const KIND_LONG: u8 = 14;
const KIND_NO_COLUMNS: u8 = 13;
const KIND_ONE_LINE_0: u8 = 10;
const KIND_ONE_LINE_2: u8 = 12;

/// The line of the code unit at `unit`, in a function that begins at `first_line`; none where the table has none for it or
/// makes no sense.
#[must_use]
pub fn line_of(table: &[u8], first_line: u32, unit: u32) -> Option<u32> {
    let mut line = i64::from(first_line);
    let mut start = 0_u32;
    let mut rest = table;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let kind = first >> 3 & 15;
        let end = start.checked_add(u32::from(first & 7) + 1)?;
        match kind {
            KIND_LONG => {
                line = line.checked_add(signed(&mut rest)?)?;
                // End line, column and end column.
                (0..3).try_for_each(|_| varint(&mut rest).map(|_| ()))?;
            }
            KIND_NO_COLUMNS => line = line.checked_add(signed(&mut rest)?)?,
            KIND_ONE_LINE_0..=KIND_ONE_LINE_2 => {
                line = line.checked_add(i64::from(kind - KIND_ONE_LINE_0))?;
                rest = rest.get(2..)?;
            }
            KIND_NONE => {}
            _ => rest = rest.get(1..)?,
        }
        if unit < end {
            // Line 0 is what a module's very first instruction has: none.
            return u32::try_from(line).ok().filter(|line| kind != KIND_NONE && *line > 0);
        }
        start = end;
    }
    None
}

/// A number in pieces of six bits, the least first; bit 6 says that more follow.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    let mut shift = 0;
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 63) << shift;
        if byte & 64 == 0 {
            return Some(value);
        }
        shift += 6;
        // No line number has more than 32 bits.
        if shift > 36 {
            return None;
        }
    }
}

/// As [`varint`], with the sign in the lowest bit.
fn signed(rest: &mut &[u8]) -> Option<i64> {
    let value = varint(rest)?;
    let magnitude = i64::try_from(value >> 1).ok()?;
    Some(if value & 1 == 1 { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// For every instruction of two modules of the standard library, the line is the one that the interpreter itself tells.
    #[test]
    fn agrees_with_the_interpreter() {
        const SCRIPT: &str = r"
import argparse, inspect, types
def walk(code):
    lines = []
    for start, end, line in code.co_lines():
        lines += [line or 0] * ((end - start) // 2)
    print(code.co_linetable.hex(), code.co_firstlineno, *lines)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            walk(constant)
for module in argparse, inspect:
    walk(compile(inspect.getsource(module), module.__file__, 'exec'))
";
        let output = Command::new("/usr/bin/python3").args(["-c", SCRIPT]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let mut compared = 0;
        for code in text.lines() {
            let mut fields = code.split(' ');
            let hex = fields.next().unwrap();
            let table: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
            let first: u32 = fields.next().unwrap().parse().unwrap();
            for (unit, line) in (0..).zip(fields) {
                let line = line.parse().ok().filter(|line| *line > 0);
                assert_eq!(line_of(&table, first, unit), line, "unit {unit} of {code}");
                compared += 1;
            }
        }
        assert!(compared > 10_000, "only {compared} instructions");
    }

    /// No bytes make it panic or run on, and a number never ends beyond its table.
    #[test]
    fn hostile_tables_are_bounded() {
        for first in 0..=u8::MAX {
            for second in [0, 63, 64, 127, 255] {
                let table = [[first, second].repeat(40), vec![first]].concat();
                for unit in [0, 7, 300, u32::MAX] {
                    _ = line_of(&table, u32::MAX, unit);
                }
            }
        }
        assert_eq!(line_of(&[0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1, 0), None);
        assert_eq!(line_of(&[], 1, 0), None);
    }
}
