//! One running machine: what is known of its code, and the step from a Java frame to its caller.
//!
//! The stack is the copy that came with the sample; only what describes the code is read later, from the live process, and
//! that stays as it is as long as the code does. What was read is looked at again every few seconds, because code is
//! thrown away and other code put in its place. So a frame can be wrong when its code was replaced between the sample and
//! the reading of its record (a tenth of a second), or within [`RECHECK`] by code of another frame size.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::jit::book::Memory as Allowance;
use crate::jvm::code::{self, Blob, Kind, Shape};
use crate::jvm::layout::Layout;
use crate::jvm::memory::Memory;
use crate::jvm::method;

/// How long what was read is believed, in nanoseconds.
const RECHECK: u64 = 2_000_000_000;
/// The same for the names of methods: a method's place is used again only after its class was unloaded.
const RECHECK_NAME: u64 = 30_000_000_000;
/// Blobs, methods and leaf addresses that are kept; more, and all are read anew.
const MAX_KNOWN: usize = 1 << 15;
/// Names of one machine.
const MAX_NAMES: usize = 1 << 16;
/// Records read in a second: the rest of the frames go without, so that a machine that compiles a lot does not hold up the
/// sampling thread. One costs 3 to 15 microseconds.
const READS_PER_SECOND: u32 = 1000;
/// Where a method's interpreted frame has its method, and its caller's stack pointer (`frame_x86.hpp`), from its frame pointer.
const INTERPRETER_METHOD: u64 = 24;
const INTERPRETER_SENDER: u64 = 8;
/// The words that an interpreted call may push for its callee's locals: more is no frame.
const MAX_LOCALS: u64 = 1 << 19;
/// Bytes before and after a leaf's address that tell how far its frame stands.
const CODE_BEFORE: usize = 128;
const CODE_AHEAD: usize = 24;

/// The registers by which frames are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registers {
    /// Stack pointer.
    pub(crate) sp: u64,
    /// Frame pointer.
    pub(crate) bp: u64,
}

/// A frame in generated code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JavaFrame {
    /// Its name, for [`Machine::name`].
    pub(crate) name: Option<u32>,
    /// The return address into its caller, and the caller's registers; none: follow the frame pointer.
    pub(crate) caller: Option<(u64, Registers)>,
}

#[derive(Clone, Copy, Debug)]
struct Known<T> {
    value: T,
    checked: u64,
}

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    layout: Arc<Layout>,
    /// By the end of their code.
    blobs: BTreeMap<u64, Known<(Blob, Option<u32>)>>,
    methods: HashMap<u64, Known<Option<u32>>, foldhash::fast::RandomState>,
    leaves: HashMap<u64, Shape, foldhash::fast::RandomState>,
    names: Vec<Arc<str>>,
    by_name: HashMap<Arc<str>, u32>,
    allowance: Arc<Allowance>,
    charged: usize,
    second: u64,
    reads: u32,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.allowance.give_back(self.charged);
    }
}

impl Machine {
    /// Knows no code yet.
    pub(crate) fn new(layout: Arc<Layout>, allowance: Arc<Allowance>) -> Self {
        Self {
            layout,
            blobs: BTreeMap::new(),
            methods: HashMap::default(),
            leaves: HashMap::default(),
            names: Vec::new(),
            by_name: HashMap::new(),
            allowance,
            charged: 0,
            second: 0,
            reads: 0,
        }
    }

    /// A name by its number.
    pub(crate) fn name(&self, number: u32) -> Option<&str> {
        self.names.get(number as usize).map(|name| &**name)
    }

    /// The frame at an address of generated code (in the call, not behind it). None: no code of this machine.
    pub(crate) fn frame(
        &mut self,
        memory: &impl Memory,
        (address, leaf, now): (u64, bool, u64),
        regs: Registers,
        stack: &impl Fn(u64) -> Result<u64, ()>,
    ) -> Option<JavaFrame> {
        let (blob, name) = self.blob(memory, address, now)?;
        if blob.kind == Kind::Interpreter {
            return Some(self.interpreted(memory, now, regs, stack, name));
        }
        let caller = match (blob.kind, leaf, blob.frame_size) {
            (_, false, 0) => None,
            (_, false, words) => whole(u64::from(words) * 8, regs, stack),
            (Kind::Method(_), true, words) if words > 0 => match self.leaf(memory, &blob, address)? {
                Shape::Whole(size) => whole(size, regs, stack),
                Shape::ReturnOnly(above) => return_only(above, regs, stack),
            },
            (Kind::Bare, true, _) => return_only(0, regs, stack).filter(|(ra, _)| self.layout.holds(*ra)),
            (_, true, _) => self.stub_leaf(regs, stack),
        };
        Some(JavaFrame { name, caller: caller.filter(|(_, next)| next.sp > regs.sp) })
    }

    /// The blob at an address, and its name.
    fn blob(&mut self, memory: &impl Memory, address: u64, now: u64) -> Option<(Blob, Option<u32>)> {
        let known = self.blobs.range_mut(address.checked_add(1)?..).next().map(|(_, known)| known);
        if let Some(known) = known.filter(|known| known.value.0.start <= address) {
            if now.saturating_sub(known.checked) <= RECHECK {
                return Some(known.value);
            }
            if code::at(memory, &self.layout, known.value.0.address) == Some(known.value.0) {
                known.checked = now;
                return Some(known.value);
            }
        }
        if !self.may_read(now) {
            return None;
        }
        let blob = code::find(memory, &self.layout, address).filter(|blob| (blob.start..blob.end).contains(&address))?;
        self.forget(&blob);
        let name = match blob.kind {
            Kind::Method(method) => self.method(memory, method, now),
            Kind::Interpreter | Kind::Bare | Kind::Stub => memory.text(blob.name).and_then(|text| self.intern(&text)),
        };
        self.blobs.insert(blob.end, Known { value: (blob, name), checked: now });
        Some((blob, name))
    }

    /// Lets go of what another blob now lies over, and of all when it is too much.
    fn forget(&mut self, blob: &Blob) {
        if self.blobs.len() >= MAX_KNOWN {
            self.blobs.clear();
        }
        while let Some(end) = self.blobs.range(blob.start + 1..).next().filter(|(_, old)| old.value.0.start < blob.end).map(|(end, _)| *end)
        {
            self.blobs.remove(&end);
        }
        self.leaves.retain(|address, _| !(blob.start..blob.end).contains(address));
    }

    fn may_read(&mut self, now: u64) -> bool {
        let second = now / 1_000_000_000;
        if second != self.second {
            (self.second, self.reads) = (second, 0);
        }
        self.reads += 1;
        self.reads <= READS_PER_SECOND
    }

    /// The name of a method.
    fn method(&mut self, memory: &impl Memory, method: u64, now: u64) -> Option<u32> {
        if let Some(known) = self.methods.get(&method).filter(|known| now.saturating_sub(known.checked) <= RECHECK_NAME) {
            return known.value;
        }
        if !self.may_read(now) {
            return None;
        }
        let value = method::name(memory, &self.layout, method).and_then(|name| self.intern(&name));
        if self.methods.len() >= MAX_KNOWN {
            self.methods.clear();
        }
        self.methods.insert(method, Known { value, checked: now });
        value
    }

    fn intern(&mut self, name: &str) -> Option<u32> {
        if let Some(number) = self.by_name.get(name) {
            return Some(*number);
        }
        // The text, two counts before it, and what the two tables keep of it.
        let bytes = name.len() + 64;
        if name.is_empty() || self.names.len() >= MAX_NAMES || self.allowance.is_short_of(bytes) {
            return None;
        }
        self.allowance.take(bytes);
        self.charged += bytes;
        let number = u32::try_from(self.names.len()).ok()?;
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.by_name.insert(name, number);
        Some(number)
    }

    /// An interpreted frame: it says itself which method it runs, and where its caller's stack ended.
    fn interpreted(
        &mut self,
        memory: &impl Memory,
        now: u64,
        regs: Registers,
        stack: &impl Fn(u64) -> Result<u64, ()>,
        name: Option<u32>,
    ) -> JavaFrame {
        let method = regs.bp.checked_sub(INTERPRETER_METHOD).and_then(|at| stack(at).ok());
        let name = method.and_then(|method| self.method(memory, method, now)).or(name);
        let caller = || {
            let (bp, ra) = (stack(regs.bp).ok()?, stack(regs.bp.checked_add(8)?).ok()?);
            let above = regs.bp.checked_add(16)?;
            let sender = stack(regs.bp.checked_sub(INTERPRETER_SENDER)?).ok();
            let sp = sender.filter(|sp| sp.is_multiple_of(8) && (above..above.saturating_add(MAX_LOCALS)).contains(sp)).unwrap_or(above);
            (regs.bp >= regs.sp).then_some((ra, Registers { sp, bp }))
        };
        JavaFrame { name, caller: caller() }
    }

    /// How far the frame of a compiled method stands at its leaf.
    fn leaf(&mut self, memory: &impl Memory, blob: &Blob, address: u64) -> Option<Shape> {
        if let Some(shape) = self.leaves.get(&address) {
            return Some(*shape);
        }
        let at = usize::try_from(address - blob.start).ok()?;
        let (mut before, mut ahead) = ([0; CODE_BEFORE], [0; CODE_AHEAD]);
        let in_prologue = blob.frame_complete.is_some_and(|complete| at < complete as usize);
        // The prologue ends where the frame is complete: look at what is before that.
        let skipped = blob.frame_complete.map_or(0, |complete| (complete as usize + 7).saturating_sub(CODE_BEFORE));
        let readable = if in_prologue { memory.read(blob.start + skipped as u64, &mut before) } else { memory.read(address, &mut ahead) };
        let shape = match (readable, at.checked_sub(skipped)) {
            (true, Some(at)) if in_prologue => {
                let complete = blob.frame_complete.map(|complete| complete.saturating_sub(u32::try_from(skipped).unwrap_or_default()));
                code::leaf_shape(&Blob { frame_complete: complete, ..*blob }, &before, at, &[])
            }
            (true, None) if in_prologue => Shape::ReturnOnly(0),
            (true, _) => code::leaf_shape(blob, &[], at, &ahead),
            (false, _) => Shape::Whole(u64::from(blob.frame_size) * 8),
        };
        if self.leaves.len() >= MAX_KNOWN {
            self.leaves.clear();
        }
        self.leaves.insert(address, shape);
        Some(shape)
    }

    /// A leaf in a stub. Most keep the frame pointer; others make no frame at all, and their return address is the first word.
    fn stub_leaf(&self, regs: Registers, stack: &impl Fn(u64) -> Result<u64, ()>) -> Option<(u64, Registers)> {
        let in_code = |address: u64| self.layout.holds(address);
        let by_pointer = stack(regs.bp.checked_add(8)?).ok().filter(|ra| regs.bp >= regs.sp && in_code(*ra));
        if by_pointer.is_some() {
            return None;
        }
        return_only(0, regs, stack).filter(|(ra, _)| in_code(*ra))
    }
}

/// The caller of a frame of this size that stands.
fn whole(size: u64, regs: Registers, stack: &impl Fn(u64) -> Result<u64, ()>) -> Option<(u64, Registers)> {
    let sp = regs.sp.checked_add(size)?;
    let (bp, ra) = (stack(sp.checked_sub(16)?).ok()?, stack(sp.checked_sub(8)?).ok()?);
    Some((ra, Registers { sp, bp }))
}

/// The caller of a frame of which only the return address is there.
fn return_only(above: u64, regs: Registers, stack: &impl Fn(u64) -> Result<u64, ()>) -> Option<(u64, Registers)> {
    let at = regs.sp.checked_add(above)?;
    Some((stack(at).ok()?, Registers { sp: at.checked_add(8)?, bp: regs.bp }))
}
