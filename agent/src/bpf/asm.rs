//! An assembler for the few BPF instructions that this agent's programs need, so that neither a compiler nor BTF is.
//!
//! The encoding is that of `Documentation/bpf/standardization/instruction-set.rst` and `include/uapi/linux/bpf.h`: eight
//! bytes an instruction (opcode, registers, 16-bit offset, 32-bit constant), a jump counted in instructions from the next.

use std::os::fd::RawFd;

/// A register. `R0` is a call's result, `R1` to `R5` its arguments and lost by it, `R6` to `R9` survive calls, `R10` is the
/// end of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// Width of a load or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Width {
    /// 32 bits.
    Word = 0x00,
    /// 16 bits.
    Half = 0x08,
    /// 64 bits.
    Double = 0x18,
}

/// What a jump looks at: an unsigned 64-bit comparison with a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum If {
    /// Equal.
    Equal = 0x10,
    /// Greater than.
    Above = 0x20,
    /// Greater than, or equal.
    AtLeast = 0x30,
    /// Not equal.
    NotEqual = 0x50,
}

/// Arithmetic on 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Op {
    Add = 0x00,
    Mul = 0x20,
    And = 0x50,
    ShiftRight = 0x70,
    Move = 0xb0,
}

/// A helper of the kernel (`enum bpf_func_id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Helper {
    MapLookup = 1,
    TailCall = 12,
    CurrentPidTgid = 14,
    PerfEventOutput = 25,
    /// Since Linux 5.5.
    ProbeReadUser = 112,
    /// Since Linux 5.13.
    Print = 165,
}

/// A place to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// A program that cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AssembleError {
    /// A jump to a label that stands nowhere.
    #[error("a jump leads nowhere")]
    NoTarget,
    /// A jump over more than 32767 instructions.
    #[error("a jump is too far")]
    TooFar,
}

const CLASS_LOAD_IMMEDIATE: u8 = 0x18;
const CLASS_LOAD: u8 = 0x61;
const CLASS_STORE_CONSTANT: u8 = 0x62;
const CLASS_STORE: u8 = 0x63;
const CLASS_JUMP: u8 = 0x05;
const CLASS_ALU64: u8 = 0x07;
const FROM_REGISTER: u8 = 0x08;
const CALL: u8 = 0x80;
const EXIT: u8 = 0x90;
/// The constant of a 64-bit load is a map's descriptor (`BPF_PSEUDO_MAP_FD`).
const MAP_DESCRIPTOR: u8 = 1;
/// The same for the address of an array's first value (`BPF_PSEUDO_MAP_VALUE`, since Linux 5.2).
const MAP_VALUE: u8 = 2;

/// Builds a program.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    code: Vec<u64>,
    /// Where each label stands.
    labels: Vec<Option<usize>>,
    /// Jumps whose distance is still to be filled in.
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    /// An empty program.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A label that stands nowhere yet.
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Puts a label before the next instruction.
    pub(crate) fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    /// `destination = destination op constant`.
    pub(crate) fn alu(&mut self, op: Op, destination: Reg, constant: i32) {
        self.push(CLASS_ALU64 | op as u8, destination, Reg::R0, 0, constant);
    }

    /// `destination = destination op source`.
    pub(crate) fn alu_reg(&mut self, op: Op, destination: Reg, source: Reg) {
        self.push(CLASS_ALU64 | FROM_REGISTER | op as u8, destination, source, 0, 0);
    }

    /// `destination = *(base + offset)`, the upper bits zero.
    pub(crate) fn load(&mut self, width: Width, destination: Reg, base: Reg, offset: i16) {
        self.push(CLASS_LOAD | width as u8, destination, base, offset, 0);
    }

    /// `*(base + offset) = source`.
    pub(crate) fn store(&mut self, width: Width, base: Reg, offset: i16, source: Reg) {
        self.push(CLASS_STORE | width as u8, base, source, offset, 0);
    }

    /// `*(base + offset) = constant`, sign-extended.
    pub(crate) fn store_constant(&mut self, width: Width, base: Reg, offset: i16, constant: i32) {
        self.push(CLASS_STORE_CONSTANT | width as u8, base, Reg::R0, offset, constant);
    }

    /// `destination = constant`, of 64 bits.
    pub(crate) fn load_constant(&mut self, destination: Reg, constant: u64) {
        self.wide(destination, Reg::R0, constant);
    }

    /// `destination = the map of this descriptor`.
    pub(crate) fn load_map(&mut self, destination: Reg, map: RawFd) {
        self.load_of_map(MAP_DESCRIPTOR, destination, map);
    }

    /// `destination = address of the first value of the array of this descriptor`.
    pub(crate) fn load_value_address(&mut self, destination: Reg, array: RawFd) {
        self.load_of_map(MAP_VALUE, destination, array);
    }

    fn load_of_map(&mut self, what: u8, destination: Reg, map: RawFd) {
        let at = self.code.len();
        self.wide(destination, Reg::R0, u64::from(map.cast_unsigned()));
        self.code[at] |= u64::from(what) << 12;
    }

    /// Calls a helper.
    pub(crate) fn call(&mut self, helper: Helper) {
        self.push(CLASS_JUMP | CALL, Reg::R0, Reg::R0, 0, helper as i32);
    }

    /// Jumps.
    pub(crate) fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(CLASS_JUMP, Reg::R0, Reg::R0, 0, 0);
    }

    /// Jumps if the register compares so with a constant.
    pub(crate) fn jump_if(&mut self, register: Reg, condition: If, constant: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(CLASS_JUMP | condition as u8, register, Reg::R0, 0, constant);
    }

    /// Returns `R0`.
    pub(crate) fn exit(&mut self) {
        self.push(CLASS_JUMP | EXIT, Reg::R0, Reg::R0, 0, 0);
    }

    /// The instructions.
    ///
    /// # Errors
    /// [`AssembleError`] for a jump that cannot be encoded.
    pub(crate) fn finish(mut self) -> Result<Vec<u64>, AssembleError> {
        for (at, label) in &self.jumps {
            let target = self.labels.get(label.0).copied().flatten().ok_or(AssembleError::NoTarget)?;
            let distance = i64::try_from(target).ok().zip(i64::try_from(*at + 1).ok()).map(|(target, next)| target - next);
            let distance = distance.and_then(|distance| i16::try_from(distance).ok()).ok_or(AssembleError::TooFar)?;
            self.code[*at] |= u64::from(distance.cast_unsigned()) << 16;
        }
        Ok(self.code)
    }

    fn wide(&mut self, destination: Reg, source: Reg, constant: u64) {
        let (low, high) = (constant & 0xffff_ffff, constant >> 32);
        self.code.push(u64::from(CLASS_LOAD_IMMEDIATE) | (destination as u64) << 8 | (source as u64) << 12 | low << 32);
        self.code.push(high << 32);
    }

    fn push(&mut self, opcode: u8, destination: Reg, source: Reg, offset: i16, constant: i32) {
        let offset = u64::from(offset.cast_unsigned()) << 16;
        let constant = u64::from(constant.cast_unsigned()) << 32;
        self.code.push(u64::from(opcode) | (destination as u64) << 8 | (source as u64) << 12 | offset | constant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each kind of instruction is encoded as the kernel's documentation states it.
    #[test]
    fn encodes_as_documented() {
        let mut code = Assembler::new();
        let (back, out) = (code.label(), code.label());
        code.bind(back);
        code.alu(Op::Move, Reg::R0, 1); // b7 00 0000 00000001
        code.alu_reg(Op::Add, Reg::R1, Reg::R10); // 0f a1
        code.load(Width::Double, Reg::R9, Reg::R10, -16); // 79 a9 fff0
        code.store(Width::Word, Reg::R8, 132, Reg::R6); // 63 68 0084
        code.store_constant(Width::Double, Reg::R10, -8, -1); // 7a 0a fff8 ffffffff
        code.load_map(Reg::R2, 5); // 18 12 0000 00000005
        code.load_value_address(Reg::R3, 6); // 18 23 0000 00000006
        code.load_constant(Reg::R3, 0xffff_ffff); // 18 03 0000 ffffffff
        code.call(Helper::MapLookup); // 85 00 0000 00000001
        code.jump_if(Reg::R0, If::NotEqual, 0, out); // 55 00 0001
        code.jump(back); // 05 00 fff2
        code.bind(out);
        code.exit(); // 95
        let expected = [
            0x0000_0001_0000_00b7,
            0x0000_0000_0000_a10f,
            0x0000_0000_fff0_a979,
            0x0000_0000_0084_6863,
            0xffff_ffff_fff8_0a7a,
            0x0000_0005_0000_1218,
            0,
            0x0000_0006_0000_2318,
            0,
            0xffff_ffff_0000_0318,
            0,
            0x0000_0001_0000_0085,
            0x0000_0000_0001_0055,
            0x0000_0000_fff2_0005,
            0x0000_0000_0000_0095,
        ];
        let found = code.finish().unwrap();
        assert_eq!(found, expected, "{found:#018x?}");
    }

    /// A jump to nowhere, or too far, is an error and no program.
    #[test]
    fn refuses_impossible_jumps() {
        let mut code = Assembler::new();
        let nowhere = code.label();
        code.jump(nowhere);
        assert_eq!(code.finish(), Err(AssembleError::NoTarget));
        let mut code = Assembler::new();
        let far = code.label();
        code.jump(far);
        (0..40_000).for_each(|_| code.exit());
        code.bind(far);
        assert_eq!(code.finish(), Err(AssembleError::TooFar));
    }
}
