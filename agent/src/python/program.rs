//! The BPF program that copies a thread's chain of interpreter frames at the very moment of a sample.
//!
//! It runs in the sampling interrupt, before the kernel writes the sample, and puts its record into the same ring: the
//! thread stands still meanwhile, so the chain is that of the sampled moment and cannot be torn. A reader that came later
//! would see other functions than those that ran, and most of all where functions are short.
//!
//! For each frame five words are copied: the code object, the instruction, whose frame it is, a *fingerprint* of the code
//! object (its pointers to file name, name, qualified name and line table, mixed), and the frame's own address. User space
//! reads names later and computes the same mix; where they differ, another code object has taken the address meanwhile, and
//! the frame is not named.
//!
//! A chain is followed by two programs: one finds the thread and its first frame, the other copies [`STRIDE`] frames and then calls
//! itself in its own place (a *tail call*, of which the kernel allows 32 in a row). One program with a loop over all frames would do the same, but
//! the kernel looks at each round of a loop before it lets a program in, which took 26 ms of CPU time for each of the two that are loaded;
//! this way it is 1 ms.
//!
//! Nothing is read but memory of the sampled thread's own process, at addresses that its own structures state.

use std::os::fd::RawFd;

use crate::bpf::asm::{AssembleError, Assembler, Helper, If, Label, Op, Reg, Width};
use crate::python::offsets::FrameLayout;

/// Frames that one record holds at most, from the leaf on.
pub const MAX_FRAMES: usize = 512;
/// Bytes of a frame in a record.
pub const FRAME_SIZE: usize = 40;
/// Bytes before a record's frames.
pub const HEAD_SIZE: usize = 24;
/// First word of a record. Where a sample would have the upper half of its callchain's length stand these four bytes, which
/// are never zero here and always there: see [`crate::record`].
pub const MAGIC: u32 = 0x5059_464b;
/// Frames from tail call to tail call: 31 of these are [`MAX_FRAMES`].
const STRIDE: usize = 17;
/// What the fingerprint multiplies by between two pointers.
pub(crate) const MIX: i32 = 0x0100_0193;
/// Pointers that the fingerprint mixes: they stand side by side in a code object.
pub(crate) const NAME_POINTERS: usize = 4;

/// Bytes of a frame that are looked at.
const HEAD_OF_FRAME: i32 = 80;
/// Where in the scratch memory the code object's pointers are read to.
const NAMES_AT: i16 = 80;
/// Where in the scratch memory the frame that comes next stands between tail calls, and how many there were.
const NEXT_AT: i16 = 112;
const COUNT_AT: i16 = 120;
/// Where in the scratch memory the record begins. What a frame's field is looked up by lies below.
const RECORD_AT: i16 = 128;
/// Size of the scratch memory.
#[allow(clippy::cast_possible_truncation, reason = "128 + 24 + 512 * 40")]
pub(crate) const SCRATCH_SIZE: u32 = RECORD_AT as u32 + (HEAD_SIZE + MAX_FRAMES * FRAME_SIZE) as u32;

/// The whole chain is in the record.
pub(crate) const COMPLETE: i32 = 1;
/// The chain is longer than a record: the leaf side is in it.
pub(crate) const CUT: i32 = 2;
/// Memory that the chain leads through could not be read.
pub(crate) const FAULT: i32 = 3;

/// Size of a thread's entry in the map that the program looks it up in.
pub(crate) const ENTRY_SIZE: usize = 56;

/// What the program knows of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadEntry {
    /// Address of its `PyThreadState`.
    pub(crate) state: u64,
    /// Its process: a thread of another one that has taken over the id is left alone.
    pub(crate) pid: u32,
    /// The version's layout.
    pub(crate) layout: FrameLayout,
}

impl ThreadEntry {
    /// The entry as the program reads it.
    pub(crate) fn to_bytes(self) -> [u8; ENTRY_SIZE] {
        let layout = self.layout;
        let indirect = layout.through.is_some();
        let words = [
            self.pid,
            u32::from(layout.top),
            u32::from(indirect),
            u32::from(layout.through.unwrap_or_default()),
            u32::from(layout.code),
            u32::from(layout.previous),
            u32::from(layout.instruction),
            u32::from(layout.owner),
            u32::from(layout.names),
            0,
        ];
        let mut bytes = [0; ENTRY_SIZE];
        let parts = self.state.to_ne_bytes().into_iter().chain((!layout.code_tag).to_ne_bytes());
        let all = parts.chain(words.into_iter().flat_map(u32::to_ne_bytes));
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        bytes
    }
}

/// Where the fields of [`ThreadEntry::to_bytes`] stand.
mod entry {
    pub(super) const STATE: i16 = 0;
    pub(super) const CODE_MASK: i16 = 8;
    pub(super) const PID: i16 = 16;
    pub(super) const TOP: i16 = 20;
    pub(super) const INDIRECT: i16 = 24;
    pub(super) const THROUGH: i16 = 28;
    pub(super) const CODE: i16 = 32;
    pub(super) const PREVIOUS: i16 = 36;
    pub(super) const INSTRUCTION: i16 = 40;
    pub(super) const OWNER: i16 = 44;
    pub(super) const NAMES: i16 = 48;
}

/// What lives in which register, over calls.
const COUNT: Reg = Reg::R6;
const ENTRY: Reg = Reg::R7;
const SCRATCH: Reg = Reg::R8;
const FRAME: Reg = Reg::R9;
/// What lives where on the stack.
const KEY: i16 = -4;
const WORD: i16 = -16;
const CONTEXT: i16 = -24;

/// The maps that the program uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maps {
    /// Thread id to [`ThreadEntry`].
    pub(crate) threads: RawFd,
    /// One value of [`SCRATCH_SIZE`] for each CPU.
    pub(crate) scratch: RawFd,
    /// CPU to the event whose ring the record goes to.
    pub(crate) output: RawFd,
    /// 0 to the program that follows the chain.
    pub(crate) next: RawFd,
}

/// The instructions of the program that is attached to events. It always lets the sample through.
pub(crate) fn assemble_first(maps: Maps) -> Result<Vec<u64>, AssembleError> {
    let mut code = Assembler::new();
    let (fault, out) = (code.label(), code.label());
    find_thread(&mut code, maps, out);
    code.alu(Op::Move, COUNT, 0);
    first_frame(&mut code, fault);
    // Comes back only where the other program is not there, and then nothing is known of the chain.
    go_on(&mut code, maps);
    finish(code, maps, &[(fault, FAULT)], out)
}

/// The instructions of the program that follows the chain.
pub(crate) fn assemble_next(maps: Maps) -> Result<Vec<u64>, AssembleError> {
    let mut code = Assembler::new();
    let (cut, fault, complete, out) = (code.label(), code.label(), code.label(), code.label());
    find_thread(&mut code, maps, out);
    code.load(Width::Word, COUNT, SCRATCH, COUNT_AT);
    code.load(Width::Double, FRAME, SCRATCH, NEXT_AT);
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "512")]
    let most = MAX_FRAMES as i32;
    // Never more, but the kernel has to see it.
    code.jump_if(COUNT, If::Above, most, out);
    for _ in 0..STRIDE {
        code.jump_if(FRAME, If::Equal, 0, complete);
        code.jump_if(COUNT, If::AtLeast, most, cut);
        copy_frame(&mut code, fault);
        code.alu(Op::Add, COUNT, 1);
    }
    // Comes back only where there were too many tail calls.
    go_on(&mut code, maps);
    finish(code, maps, &[(cut, CUT), (fault, FAULT), (complete, COMPLETE)], out)
}

/// Ends a program: `ends` are the places where the record is complete, each with the chain's state; what is right before has the first.
fn finish(mut code: Assembler, maps: Maps, ends: &[(Label, i32)], out: Label) -> Result<Vec<u64>, AssembleError> {
    let emit = code.label();
    for (label, state) in ends {
        code.bind(*label);
        code.store_constant(Width::Double, SCRATCH, RECORD_AT + 8, *state);
        code.jump(emit);
    }
    code.bind(emit);
    emit_record(&mut code, maps);
    code.bind(out);
    code.alu(Op::Move, Reg::R0, 1);
    code.exit();
    code.finish()
}

/// Has the program that follows the chain go on in the place of this one.
fn go_on(code: &mut Assembler, maps: Maps) {
    code.store(Width::Double, SCRATCH, NEXT_AT, FRAME);
    code.store(Width::Word, SCRATCH, COUNT_AT, COUNT);
    code.load(Width::Double, Reg::R1, Reg::R10, CONTEXT);
    code.load_map(Reg::R2, maps.next);
    code.alu(Op::Move, Reg::R3, 0);
    code.call(Helper::TailCall);
}

/// Finds the current thread's entry and the scratch memory of this CPU, or goes `out`: the start of each program.
fn find_thread(code: &mut Assembler, maps: Maps, out: Label) {
    code.store(Width::Double, Reg::R10, CONTEXT, Reg::R1);
    code.call(Helper::CurrentPidTgid);
    code.alu_reg(Op::Move, COUNT, Reg::R0);
    code.store(Width::Word, Reg::R10, KEY, Reg::R0);
    look_up(code, maps.threads, out);
    code.alu_reg(Op::Move, ENTRY, Reg::R0);
    // The process's id is the upper half. It is compared by subtraction: there is no jump on two registers here.
    code.alu(Op::ShiftRight, COUNT, 32);
    code.load(Width::Word, Reg::R1, ENTRY, entry::PID);
    code.alu(Op::Mul, Reg::R1, -1);
    code.alu_reg(Op::Add, Reg::R1, COUNT);
    code.jump_if(Reg::R1, If::NotEqual, 0, out);
    code.store_constant(Width::Word, Reg::R10, KEY, 0);
    look_up(code, maps.scratch, out);
    code.alu_reg(Op::Move, SCRATCH, Reg::R0);
}

fn look_up(code: &mut Assembler, map: RawFd, out: Label) {
    code.load_map(Reg::R1, map);
    code.alu_reg(Op::Move, Reg::R2, Reg::R10);
    code.alu(Op::Add, Reg::R2, i32::from(KEY));
    code.call(Helper::MapLookup);
    code.jump_if(Reg::R0, If::Equal, 0, out);
}

/// The current frame, from the thread's state, directly or through the `_PyCFrame` of older versions.
fn first_frame(code: &mut Assembler, fault: Label) {
    let direct = code.label();
    code.load(Width::Double, FRAME, ENTRY, entry::STATE);
    code.load(Width::Word, Reg::R1, ENTRY, entry::TOP);
    code.alu_reg(Op::Add, FRAME, Reg::R1);
    follow(code, fault);
    code.load(Width::Word, Reg::R1, ENTRY, entry::INDIRECT);
    code.jump_if(Reg::R1, If::Equal, 0, direct);
    code.load(Width::Word, Reg::R1, ENTRY, entry::THROUGH);
    code.alu_reg(Op::Add, FRAME, Reg::R1);
    follow(code, fault);
    code.bind(direct);
}

/// `frame = *frame`.
fn follow(code: &mut Assembler, fault: Label) {
    code.alu_reg(Op::Move, Reg::R1, Reg::R10);
    code.alu(Op::Add, Reg::R1, i32::from(WORD));
    code.alu(Op::Move, Reg::R2, 8);
    code.alu_reg(Op::Move, Reg::R3, FRAME);
    code.call(Helper::ProbeReadUser);
    code.jump_if(Reg::R0, If::NotEqual, 0, fault);
    code.load(Width::Double, FRAME, Reg::R10, WORD);
}

/// Copies the words of one frame to its place in the record, and goes to its caller.
fn copy_frame(code: &mut Assembler, fault: Label) {
    code.alu_reg(Op::Move, Reg::R1, SCRATCH);
    code.alu(Op::Move, Reg::R2, HEAD_OF_FRAME);
    code.alu_reg(Op::Move, Reg::R3, FRAME);
    code.call(Helper::ProbeReadUser);
    code.jump_if(Reg::R0, If::NotEqual, 0, fault);
    field(code, Width::Double, Reg::R3, entry::CODE);
    code.load(Width::Double, Reg::R1, ENTRY, entry::CODE_MASK);
    code.alu_reg(Op::And, Reg::R3, Reg::R1);
    place(code, Reg::R5);
    code.store(Width::Double, Reg::R5, 0, Reg::R3);
    field(code, Width::Double, Reg::R1, entry::INSTRUCTION);
    code.store(Width::Double, Reg::R5, 8, Reg::R1);
    field(code, Width::Half, Reg::R1, entry::OWNER);
    code.store(Width::Double, Reg::R5, 16, Reg::R1);
    code.store_constant(Width::Double, Reg::R5, 24, 0);
    code.store(Width::Double, Reg::R5, 32, FRAME);
    field(code, Width::Double, FRAME, entry::PREVIOUS);
    // The frames that belong to no Python function have no code object to read; then the fingerprint stays 0.
    let unread = code.label();
    code.load(Width::Word, Reg::R1, ENTRY, entry::NAMES);
    code.alu_reg(Op::Add, Reg::R3, Reg::R1);
    code.alu_reg(Op::Move, Reg::R1, SCRATCH);
    code.alu(Op::Add, Reg::R1, i32::from(NAMES_AT));
    code.alu(Op::Move, Reg::R2, 8 * 4);
    code.call(Helper::ProbeReadUser);
    code.jump_if(Reg::R0, If::NotEqual, 0, unread);
    code.load(Width::Double, Reg::R1, SCRATCH, NAMES_AT);
    for pointer in 1..4 {
        code.alu(Op::Mul, Reg::R1, MIX);
        code.load(Width::Double, Reg::R2, SCRATCH, NAMES_AT + 8 * pointer);
        code.alu_reg(Op::Add, Reg::R1, Reg::R2);
    }
    place(code, Reg::R5);
    code.store(Width::Double, Reg::R5, 24, Reg::R1);
    code.bind(unread);
}

/// `register = the frame's field` at the offset that the thread's entry states, which is held below the record by a mask.
fn field(code: &mut Assembler, width: Width, register: Reg, offset: i16) {
    code.load(Width::Word, Reg::R2, ENTRY, offset);
    code.alu(Op::And, Reg::R2, if width == Width::Double { 0x78 } else { 0x7e });
    code.alu_reg(Op::Add, Reg::R2, SCRATCH);
    code.load(width, register, Reg::R2, 0);
}

/// `register = the place of the current frame in the record`, less [`RECORD_AT`] and the head.
fn place(code: &mut Assembler, register: Reg) {
    code.alu_reg(Op::Move, register, COUNT);
    code.alu(Op::Mul, register, 40);
    code.alu_reg(Op::Add, register, SCRATCH);
    code.alu(Op::Add, register, i32::from(RECORD_AT) + 24);
}

fn emit_record(code: &mut Assembler, maps: Maps) {
    code.store_constant(Width::Word, SCRATCH, RECORD_AT, MAGIC.cast_signed());
    code.store(Width::Word, SCRATCH, RECORD_AT + 4, COUNT);
    code.load(Width::Double, Reg::R1, ENTRY, entry::STATE);
    code.store(Width::Double, SCRATCH, RECORD_AT + 16, Reg::R1);
    code.load(Width::Double, Reg::R1, Reg::R10, CONTEXT);
    code.load_map(Reg::R2, maps.output);
    // BPF_F_CURRENT_CPU.
    code.load_constant(Reg::R3, 0xffff_ffff);
    code.alu_reg(Op::Move, Reg::R4, SCRATCH);
    code.alu(Op::Add, Reg::R4, i32::from(RECORD_AT));
    code.alu_reg(Op::Move, Reg::R5, COUNT);
    code.alu(Op::Mul, Reg::R5, 40);
    code.alu(Op::Add, Reg::R5, 24);
    code.call(Helper::PerfEventOutput);
}
