//! Programs of values by address: how the table says file, line and stack depth of each instruction.
//!
//! A program is a row of pairs of varints: how much the value changes, as a zigzag number, and for how many bytes of code
//! it then holds, in the architecture's smallest instruction. The value begins as -1. A change of zero ends the program,
//! but for the first pair.

/// The values of a program, each with the offset from the function's start at which it ends.
#[derive(Clone, Debug)]
pub(crate) struct PcValues<'a> {
    program: &'a [u8],
    quantum: u32,
    end: u32,
    value: i32,
    started: bool,
}

impl<'a> PcValues<'a> {
    /// Reads the program that begins with these bytes.
    pub(crate) const fn new(program: &'a [u8], quantum: u32) -> Self {
        Self { program, quantum, end: 0, value: -1, started: false }
    }

    /// The value at an offset.
    pub(crate) fn at(mut self, offset: u32) -> Option<i32> {
        self.find(|(end, _)| offset < *end).map(|(_, value)| value)
    }
}

impl Iterator for PcValues<'_> {
    type Item = (u32, i32);

    fn next(&mut self) -> Option<(u32, i32)> {
        let change = varint(&mut self.program)?;
        if change == 0 && self.started {
            self.program = &[];
            return None;
        }
        self.started = true;
        let sign = (change & 1).wrapping_neg();
        self.value = self.value.wrapping_add((change >> 1 ^ sign).cast_signed());
        let length = varint(&mut self.program)?.checked_mul(self.quantum)?;
        self.end = self.end.checked_add(length)?;
        Some((self.end, self.value))
    }
}

/// A little-endian base 128 number of at most 32 bits.
fn varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Bytes of the program that these begin with, with its end; none where they do not hold it whole.
pub(crate) fn program_len(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let mut started = false;
    loop {
        let change = varint(&mut rest)?;
        if change == 0 && started {
            return Some(bytes.len() - rest.len());
        }
        started = true;
        varint(&mut rest)?;
    }
}

/// Writes values, each with the offset at which it ends, as a program that begins at `start`, and answers where it ends. Values that
/// end where they begin have no code and are left out.
pub(crate) fn write_program(values: &[(u32, i32)], start: u32, quantum: u32, out: &mut Vec<u8>) -> u32 {
    let mut rows: Vec<(u32, i32)> = Vec::with_capacity(values.len());
    for (end, value) in values.iter().filter(|(end, _)| *end > start) {
        match rows.last_mut() {
            Some(last) if *end <= last.0 => {}
            // A change of zero would end the program.
            Some(last) if last.1 == *value => last.0 = *end,
            _ => rows.push((*end, *value)),
        }
    }
    let (mut before, mut at) = (-1_i32, start);
    for (end, value) in rows {
        let change = value.wrapping_sub(before);
        put_varint((change << 1 ^ change >> 31).cast_unsigned(), out);
        put_varint((end - at) / quantum, out);
        (before, at) = (value, end);
    }
    put_varint(0, out);
    at
}

fn put_varint(mut value: u32, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        out.push(if value == 0 { low & 0x7f } else { low | 0x80 });
        if value == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written reads back.
    #[test]
    fn written_programs() {
        let values: Vec<(u32, i32)> = (1..500_i32).map(|index| (index.cast_unsigned() * 300, index % 7 * 1000 - 500)).collect();
        for quantum in [1, 4] {
            let mut program = vec![7; 3];
            assert_eq!(write_program(&values, 0, quantum, &mut program), 499 * 300);
            assert_eq!(PcValues::new(&program[3..], quantum).collect::<Vec<_>>(), values);
            assert_eq!(program_len(&program[3..]), Some(program.len() - 3));
        }
    }

    /// -1 + 1 for 4 bytes, + 24 for 200 bytes, - 24 for 1 byte.
    const PROGRAM: [u8; 8] = [2, 4, 48, 0xc8, 1, 47, 1, 0];

    /// Values hold from the end of the one before to their own.
    #[test]
    fn values_by_offset() {
        let all: Vec<_> = PcValues::new(&PROGRAM, 1).collect();
        assert_eq!(all, [(4, 0), (204, 24), (205, 0)]);
        let at = |offset| PcValues::new(&PROGRAM, 1).at(offset);
        assert_eq!([0, 3, 4, 203, 204, 205].map(at), [Some(0), Some(0), Some(24), Some(24), Some(0), None]);
        assert_eq!(PcValues::new(&PROGRAM, 4).at(16), Some(24));
        assert_eq!(program_len(&[&PROGRAM[..], &[9, 9]].concat()), Some(8));
    }

    /// The first change may be zero; numbers that are too long and programs that are cut end.
    #[test]
    fn odd_programs() {
        assert_eq!(PcValues::new(&[0, 5, 0], 1).collect::<Vec<_>>(), [(5, -1)]);
        assert_eq!(PcValues::new(&[0xff; 12], 1).count(), 0);
        assert_eq!(PcValues::new(&[2, 0xff, 0xff, 0xff, 0xff, 0x0f, 2, 1], 4).count(), 0);
        assert_eq!((PcValues::new(&[], 1).count(), program_len(&[2, 4, 48])), (0, None));
    }
}
