//! Samples and the records that came right before them: the interpreter's frames take the places of native ones.

use std::collections::HashMap;
use std::ops::Range;

use flamekeeper_profile::{FrameKind, Line, Location, LocationId, StackEnd, StopReason, Svma, Tables};

use crate::fold::Fold;
use crate::process::table::Process;
use crate::python::frames::{Chain, ChainEnd, RawFrame};
use crate::python::interpreters::Interpreters;
use crate::python::merge::{self, Native, Run};
use crate::python::process::{Content, Tracked};
use crate::record::{Sample, Task};
use crate::unwind::{FrameCode, Unwinder, UserFrame};

/// CPUs whose records are kept: more than any kernel is built for, and as many again for their page faults.
const MAX_CPUS: usize = 2 * crate::perf::cpus::MAX_CPUS;
/// Places of a window that are remembered; beyond it all are found anew.
const MAX_PLACES: usize = 1 << 18;

/// The unwound native stack of a sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unwound<'a> {
    /// Its frames, leaf first.
    pub(crate) frames: &'a [UserFrame],
    /// How it ends.
    pub(crate) end: StackEnd,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No Python code runs in it.
    NotPython,
    /// [`Interpreters::at`] tells what takes the native frames' places.
    Merged {
        /// The last native frame, where what called it is not known and the stack ends there.
        last: Option<usize>,
    },
    /// Python code runs in it that cannot be told.
    Missing(Missing),
}

/// Why the interpreter's frames of a sample are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Missing {
    /// The interpreter is none that can be read, or nothing of it could be read so far.
    Interpreter,
    /// The kernel's side wrote no record: it is missing, or does not know the thread (yet).
    Record,
    /// Memory that the frames lead through could not be read at the sampled moment.
    Fault,
    /// Chain and native stack contradict each other.
    Contradiction,
    /// A code object was gone, or another one in its place, before its name was read.
    Code,
}

impl Missing {
    /// All reasons, in order.
    const ALL: [Self; 5] = [Self::Interpreter, Self::Record, Self::Fault, Self::Contradiction, Self::Code];
}

impl Outcome {
    /// Whether a native frame shows again what a frame of the interpreter shows: the trampolines of `python -X perf`.
    pub(crate) fn covers(self, frame: &UserFrame, process: &Process, time: u64) -> bool {
        matches!(self, Self::Merged { .. })
            && frame.code == FrameCode::Generated
            && process.names.find(frame.address, time).is_some_and(|found| found.name.starts_with("py::"))
    }

    /// How the stack ends now.
    pub(crate) const fn end(self, end: StackEnd) -> StackEnd {
        match self {
            Self::Merged { last: Some(_) } => StackEnd::Truncated(StopReason::DepthLimit),
            Self::NotPython | Self::Merged { last: None } | Self::Missing(_) => end,
        }
    }
}

/// A frame of the interpreter in the current window.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Python code.
    Location(LocationId),
    /// A piece of the interpreter's own that is no function of the program.
    Shim,
    /// Code that is not there any more, or an instruction outside of its code.
    Inconsistent,
}

/// The generation of a process, a frame's code object with its fingerprint, and its instruction.
type PlaceKey = (u64, u64, u64, u64);

/// The record that a CPU wrote last, until the sample that it belongs to is read.
#[derive(Debug, Default)]
struct Pending {
    /// Whose it is; none once it is used.
    task: Option<Task>,
    bytes: Vec<u8>,
}

/// Joins records and samples. All memory is reused from sample to sample.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    /// By CPU.
    pending: Vec<Pending>,
    places: HashMap<PlaceKey, Place, foldhash::fast::RandomState>,
    /// Which native frames (numbered from the leaf) run Python code.
    evals: Vec<usize>,
    /// Runs of frames of the chain, and the native frame of each.
    runs: Vec<Run>,
    assigned: Vec<usize>,
    /// By native frame, ascending: the part of `locations` that takes its place.
    replaced: Vec<(usize, Range<usize>)>,
    locations: Vec<LocationId>,
    /// Samples of the window by [`Missing`].
    missing: [u64; Missing::ALL.len()],
}

impl Joiner {
    /// A new window begins, with new tables.
    pub(super) fn begin_window(&mut self) {
        self.places.clear();
        let missing = std::mem::take(&mut self.missing);
        for (reason, samples) in Missing::ALL.iter().zip(missing).filter(|(_, samples)| *samples > 0) {
            tracing::debug!(?reason, samples, "samples of python processes without the interpreter's frames");
        }
    }

    /// The frames of one chain, which must lie on the native stack without contradiction.
    fn join(
        &mut self,
        tracked: &mut Tracked,
        pid: u32,
        chain: &Chain<'_>,
        native: Unwound<'_>,
        tables: &mut Tables,
    ) -> Result<Outcome, Missing> {
        let Content::Interpreter(interpreter) = &tracked.content else { return Err(Missing::Interpreter) };
        if chain.end == ChainEnd::Fault {
            return Err(Missing::Fault);
        }
        merge::runs(chain, interpreter.offsets.owner, &mut self.runs);
        let is_interpreter = |address| tracked.is_interpreter(address);
        let native = Native { frames: native.frames, evals: &self.evals, is_interpreter: &is_interpreter, end: native.end };
        let cut = merge::assign(&native, &self.runs, chain.end, &mut self.assigned).ok_or(Missing::Contradiction)?;
        if self.places.len() > MAX_PLACES {
            self.places.clear();
        }
        for (run, native) in self.runs.iter().zip(&self.assigned) {
            let start = self.locations.len();
            for frame in chain.range(run.frames.clone()) {
                let key = (tracked.generation, frame.code, frame.fingerprint, frame.instruction);
                match self.places.entry(key).or_insert_with(|| place(tracked, pid, &frame, tables)) {
                    Place::Location(location) => self.locations.push(*location),
                    Place::Shim => {}
                    Place::Inconsistent => return Err(Missing::Code),
                }
            }
            if self.locations.len() > start {
                self.replaced.push((*native, start..self.locations.len()));
            }
        }
        Ok(Outcome::Merged { last: self.assigned.last().copied().filter(|_| cut) })
    }
}

/// Names a frame.
fn place(tracked: &mut Tracked, pid: u32, frame: &RawFrame, tables: &mut Tables) -> Place {
    let Some(code) = tracked.code(pid, frame.code, frame.fingerprint) else { return Place::Inconsistent };
    if code.is_shim() {
        return Place::Shim;
    }
    let Some(unit) = code.unit(frame.instruction) else { return Place::Inconsistent };
    let file = tables.intern_string(&code.file);
    let line = Line { function: tables.intern_string(&code.name), file, line: code.line(unit) };
    let object = tables.intern_object(None, &code.file);
    // The address would mean nothing in another process or run: equal stacks shall be equal.
    Place::Location(tables.intern_location(Location {
        kind: FrameKind::Cpython,
        object: Some(object),
        address: Svma(0),
        lines: Box::new([line]),
    }))
}

impl Interpreters {
    /// Takes the record of a thread's frames, for the sample that follows on the same CPU.
    pub(crate) fn record(&mut self, cpu: u32, task: Task, bytes: &[u8]) {
        let cpu = usize::try_from(cpu).unwrap_or(usize::MAX);
        if cpu >= MAX_CPUS {
            return;
        }
        let pending = &mut self.joiner.pending;
        if pending.len() <= cpu {
            pending.resize_with(cpu + 1, Pending::default);
        }
        pending[cpu].task = Some(task);
        pending[cpu].bytes.clear();
        pending[cpu].bytes.extend_from_slice(bytes);
    }

    /// Finds what takes the places of a sample's native frames. To be called for every sample.
    pub(crate) fn merge(
        &mut self,
        process: &mut Process,
        sample: &Sample<'_>,
        native: Unwound<'_>,
        unwinder: &mut Unwinder,
        fold: &mut Fold,
    ) -> Outcome {
        self.joiner.replaced.clear();
        self.joiner.locations.clear();
        let cpu = usize::try_from(sample.cpu).unwrap_or(usize::MAX);
        let Some(slot) = self.joiner.pending.get_mut(cpu) else { return self.attempt(process, sample, native, unwinder, (fold, &[])) };
        let owned = slot.task.take() == Some(sample.task);
        let bytes = std::mem::take(&mut slot.bytes);
        let outcome = self.attempt(process, sample, native, unwinder, (fold, if owned { &bytes } else { &[] }));
        if let Some(slot) = self.joiner.pending.get_mut(cpu) {
            slot.bytes = bytes;
        }
        outcome
    }

    fn attempt(
        &mut self,
        process: &mut Process,
        sample: &Sample<'_>,
        native: Unwound<'_>,
        unwinder: &mut Unwinder,
        (fold, record): (&mut Fold, &[u8]),
    ) -> Outcome {
        let pid = process.pid;
        let mut joiner = std::mem::take(&mut self.joiner);
        let tracked = self.track(process, sample.time, unwinder);
        joiner.evals.clear();
        if !matches!(tracked.content, Content::None) {
            joiner.evals.extend((0..).zip(native.frames).filter(|(_, frame)| tracked.is_eval(frame.address.0)).map(|(index, _)| index));
        }
        let known = tracked.thread(sample.task.tid);
        let chain = Chain::parse(record).filter(|chain| known == Some(chain.state));
        let idle = chain.is_none_or(|chain| chain.frames().next().is_none());
        // Where the chain is missing, code of the interpreter tells that there should be one.
        let runs = !joiner.evals.is_empty() || native.frames.iter().any(|frame| tracked.is_interpreter(frame.address.0));
        let outcome = if matches!(tracked.content, Content::None) || idle && !runs {
            Outcome::NotPython
        } else {
            match (&tracked.content, &chain) {
                (Content::Interpreter(_), Some(chain)) => joiner.join(tracked, pid, chain, native, fold.tables()),
                (Content::Interpreter(_), None) => Err(Missing::Record),
                _ => Err(Missing::Interpreter),
            }
            .unwrap_or_else(Outcome::Missing)
        };
        if let Outcome::Missing(reason) = outcome {
            joiner.replaced.clear();
            joiner.missing[reason as usize] += 1;
            match (reason, &tracked.content) {
                (_, Content::Refused(reason)) => {
                    let reason = *reason;
                    self.tell(reason, pid);
                }
                (Missing::Record, _) => self.refresh(pid, sample.time),
                _ => {}
            }
        }
        self.joiner = joiner;
        outcome
    }

    /// What takes the place of a native frame of the sample that was merged last; none: nothing does.
    pub(crate) fn at(&self, native: usize) -> Option<&[LocationId]> {
        let replaced = &self.joiner.replaced;
        let place = replaced.binary_search_by_key(&native, |(native, _)| *native).ok()?;
        self.joiner.locations.get(replaced.get(place)?.1.clone())
    }
}
