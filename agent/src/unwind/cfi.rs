//! Call frame information read by ourselves, beside framehop: what a row asks for, and rows that framehop cannot evaluate
//! (expressions that read memory, as in signal frames, realigned stacks and PLTs of some linkers).
//!
//! Source: DWARF 5, section 6.4; `.eh_frame` and `.eh_frame_hdr` in the Linux Standard Base, chapter 10.6. All bytes are
//! foreign: gimli checks them, nothing here indexes by what they say.

use std::sync::Arc;

use flamekeeper_profile::Svma;
use gimli::{
    BaseAddresses, CfaRule, CieOrFde, DebugFrame, EhFrame, EhFrameHdr, EndianSlice, Evaluation, EvaluationResult, EvaluationStorage,
    Expression, LittleEndian, Location, Piece, Register, RegisterRule, UnwindContextStorage, UnwindExpression, UnwindSection,
    UnwindTableRow, Value,
};

use crate::unwind::arch::{self, FRAME_POINTER, RETURN_ADDRESS, Regs};
use crate::unwind::verdict::Verdict;

/// Bytes of a section, shared with framehop.
pub(crate) type Bytes = Arc<[u8]>;
type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Bytes of a function's entry beyond which it is not read: a row is found by going through the entry, and one that fills its
/// section would take the agent's time. The largest of libjvm, Chromium and rustc are some kilobytes.
const MAX_ENTRY: usize = 64 << 10;

/// Room for the evaluation of a row, so that none is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fixed;

impl UnwindContextStorage<usize> for Fixed {
    type Rules = [(Register, RegisterRule<usize>); 192];
    type Stack = [UnwindTableRow<usize, Self>; 4];
}

impl<'a> EvaluationStorage<Slice<'a>> for Fixed {
    type Stack = [Value; 64];
    type ExpressionStack = [(Slice<'a>, Slice<'a>); 4];
    type Result = [Piece<Slice<'a>>; 1];
}

/// The state of reading rows, used again and again.
pub(crate) type Context = gimli::UnwindContext<usize, Fixed>;

/// A caller, as a row describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Where it goes on.
    pub(crate) return_address: u64,
    /// Its stack pointer.
    pub(crate) sp: u64,
    /// Its frame pointer.
    pub(crate) fp: u64,
}

/// Why a row could not be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EvaluationError {
    /// It needs the memory at an address that was not copied.
    Memory(u64),
    /// It needs a register that is not known, or makes no sense.
    Row,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    EhFrame,
    DebugFrame,
}

/// The call frame information of an object.
#[derive(Debug)]
pub(crate) struct Cfi {
    kind: Kind,
    frames: Bytes,
    /// The table that finds a function's entry; where there is none, `index` does.
    table: Option<Bytes>,
    /// First address and place of every function's entry, by address.
    index: Box<[(u64, u32)]>,
    bases: BaseAddresses,
}

impl Cfi {
    /// Of `.eh_frame`, with `.eh_frame_hdr` where there is one.
    pub(crate) fn of_eh_frame(frames: Bytes, table: Option<Bytes>, bases: BaseAddresses) -> Self {
        let mut cfi = Self { kind: Kind::EhFrame, frames, table, index: Box::default(), bases };
        if cfi.table.is_none() {
            cfi.index = index(&cfi.eh_frame(), &cfi.bases);
        }
        cfi
    }

    /// Of `.debug_frame`.
    pub(crate) fn of_debug_frame(frames: Bytes, bases: BaseAddresses) -> Self {
        let mut cfi = Self { kind: Kind::DebugFrame, frames, table: None, index: Box::default(), bases };
        cfi.index = index(&cfi.debug_frame(), &cfi.bases);
        cfi
    }

    /// Bytes of memory that it takes beside the sections.
    pub(crate) fn index_bytes(&self) -> usize {
        size_of_val(&*self.index)
    }

    /// What the row of an address asks for.
    pub(crate) fn verdict(&self, address: Svma, context: &mut Context) -> Verdict {
        match self.kind {
            Kind::EhFrame => self.verdict_in(&self.eh_frame(), address, context),
            Kind::DebugFrame => self.verdict_in(&self.debug_frame(), address, context),
        }
    }

    /// The caller, by the row of an address. Memory is read through `read`.
    ///
    /// # Errors
    /// [`EvaluationError`] says what is missing.
    pub(crate) fn evaluate(
        &self,
        address: Svma,
        context: &mut Context,
        regs: &Regs,
        read: impl Fn(u64) -> Result<u64, ()>,
    ) -> Result<Caller, EvaluationError> {
        match self.kind {
            Kind::EhFrame => self.evaluate_in(&self.eh_frame(), address, context, &Known { regs, read }),
            Kind::DebugFrame => self.evaluate_in(&self.debug_frame(), address, context, &Known { regs, read }),
        }
    }

    fn eh_frame(&self) -> EhFrame<Slice<'_>> {
        let mut section = EhFrame::new(&self.frames, LittleEndian);
        section.set_address_size(8);
        section
    }

    fn debug_frame(&self) -> DebugFrame<Slice<'_>> {
        let mut section = DebugFrame::new(&self.frames, LittleEndian);
        section.set_address_size(8);
        section
    }

    fn verdict_in<'a, S>(&'a self, section: &S, address: Svma, context: &mut Context) -> Verdict
    where
        S: UnwindSection<Slice<'a>>,
        S::Offset: From<usize>,
    {
        let Some(fde) = self.entry_in(section, address) else { return Verdict::Uncovered };
        if fde.is_signal_trampoline() {
            return Verdict::SignalReturn;
        }
        fde.unwind_info_for_address(section, &self.bases, context, address.0).map_or(Verdict::Unusable, arch::judge)
    }

    fn entry_in<'a, S>(&'a self, section: &S, address: Svma) -> Option<gimli::FrameDescriptionEntry<Slice<'a>>>
    where
        S: UnwindSection<Slice<'a>>,
        S::Offset: From<usize>,
    {
        let offset = self.entry_offset(address)?;
        let fde = section.fde_from_offset(&self.bases, S::Offset::from(offset), S::cie_from_offset).ok()?;
        (fde.contains(address.0) && fde.entry_len() <= MAX_ENTRY).then_some(fde)
    }

    fn entry_offset(&self, address: Svma) -> Option<usize> {
        let Some(table) = &self.table else {
            let after = self.index.partition_point(|(start, _)| *start <= address.0);
            return self.index.get(after.checked_sub(1)?).map(|(_, offset)| *offset as usize);
        };
        let header = EhFrameHdr::new(table, LittleEndian).parse(&self.bases, 8).ok()?;
        let table = header.table()?;
        let place = table.lookup(address.0, &self.bases).ok()?;
        Some(table.pointer_to_offset(place).ok()?.0)
    }

    fn evaluate_in<'a, S, R>(
        &'a self,
        section: &S,
        address: Svma,
        context: &mut Context,
        known: &Known<'_, R>,
    ) -> Result<Caller, EvaluationError>
    where
        S: UnwindSection<Slice<'a>>,
        S::Offset: From<usize>,
        R: Fn(u64) -> Result<u64, ()>,
    {
        let fde = self.entry_in(section, address).ok_or(EvaluationError::Row)?;
        let encoding = fde.cie().encoding();
        let row = fde.unwind_info_for_address(section, &self.bases, context, address.0).map_err(|_| EvaluationError::Row)?;
        let rules = Rules { section, encoding, known };
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => known.register(*register)?.wrapping_add_signed(*offset),
            CfaRule::Expression(expression) => rules.expression(expression, None)?,
        };
        let return_address = rules.register(RETURN_ADDRESS, row, cfa)?;
        let fp = rules.register(FRAME_POINTER, row, cfa)?;
        // A caller's frame lies above: else a row that was led astray could go in circles.
        Ok(Caller { return_address, sp: cfa, fp })
    }
}

/// Finds all functions' entries of a section that has no table of them.
fn index<'a, S>(section: &S, bases: &BaseAddresses) -> Box<[(u64, u32)]>
where
    S: UnwindSection<Slice<'a>>,
{
    let mut found = Vec::new();
    let mut entries = section.entries(bases);
    // An entry that cannot be read ends the list: where the next one starts is not known then.
    while let Ok(Some(entry)) = entries.next() {
        if let CieOrFde::Fde(partial) = entry
            && let Ok(fde) = partial.parse(S::cie_from_offset)
            && let Ok(offset) = u32::try_from(fde.offset())
        {
            found.push((fde.initial_address(), offset));
        }
    }
    found.sort_unstable();
    found.into()
}

/// What is known of the frame whose row is evaluated.
struct Known<'a, R> {
    regs: &'a Regs,
    read: R,
}

impl<R: Fn(u64) -> Result<u64, ()>> Known<'_, R> {
    fn register(&self, register: Register) -> Result<u64, EvaluationError> {
        arch::get(self.regs, register).ok_or(EvaluationError::Row)
    }

    fn memory(&self, address: u64) -> Result<u64, EvaluationError> {
        (self.read)(address).map_err(|()| EvaluationError::Memory(address))
    }
}

/// What the rules of a row are evaluated with.
struct Rules<'k, 's, 'r, S, R> {
    section: &'s S,
    encoding: gimli::Encoding,
    known: &'k Known<'r, R>,
}

impl<'a, S, R> Rules<'_, '_, '_, S, R>
where
    S: UnwindSection<Slice<'a>>,
    R: Fn(u64) -> Result<u64, ()>,
{
    /// The caller's value of a register.
    fn register(&self, register: Register, row: &UnwindTableRow<usize, Fixed>, cfa: u64) -> Result<u64, EvaluationError> {
        match row.register(register) {
            None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => self.known.register(register),
            Some(RegisterRule::Offset(offset)) => self.known.memory(cfa.wrapping_add_signed(offset)),
            Some(RegisterRule::ValOffset(offset)) => Ok(cfa.wrapping_add_signed(offset)),
            Some(RegisterRule::Register(other)) => self.known.register(other),
            Some(RegisterRule::Expression(expression)) => self.known.memory(self.expression(&expression, Some(cfa))?),
            Some(RegisterRule::ValExpression(expression)) => self.expression(&expression, Some(cfa)),
            Some(_) => Err(EvaluationError::Row),
        }
    }

    /// The value of an expression; `initial` lies on its stack at first.
    fn expression(&self, expression: &UnwindExpression<usize>, initial: Option<u64>) -> Result<u64, EvaluationError> {
        let Expression(bytes) = expression.get(self.section).map_err(|_| EvaluationError::Row)?;
        // A loop in an expression must end.
        const STEPS: u32 = 1000;
        let mut evaluation = Evaluation::<_, Fixed>::new_in(bytes, self.encoding);
        evaluation.set_max_iterations(STEPS);
        if let Some(initial) = initial {
            evaluation.set_initial_value(initial);
        }
        let mut result = evaluation.evaluate();
        loop {
            result = match result.map_err(|_| EvaluationError::Row)? {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    evaluation.resume_with_register(Value::Generic(self.known.register(register)?))
                }
                EvaluationResult::RequiresMemory { address, size: 8, .. } => {
                    evaluation.resume_with_memory(Value::Generic(self.known.memory(address)?))
                }
                _ => return Err(EvaluationError::Row),
            };
        }
        match evaluation.as_result().last().map(|piece| &piece.location) {
            Some(Location::Address { address }) => Ok(*address),
            _ => Err(EvaluationError::Row),
        }
    }
}

#[cfg(test)]
mod tests;
