//! The thread that reads procfs, spread over time.
//!
//! In each pass the `statm` of every process that has memory is read (some microseconds), and its `status`, which tells the kinds apart, where `statm` has changed
//! or was not believed for long. `smaps_rollup` walks all pages of a process, which takes milliseconds where it has gigabytes: it is read of one process
//! at a time, of that first of which least is known, as often as the budget allows. (The kernel lets go of the process's lock
//! on the way where somebody waits for it.) Between two such readings a process's proportional share follows its resident memory: what it grows by is its own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use flamekeeper_profile::memory::MemoryKind;

use super::account::{Levels, Reading, Told};
use super::allowance::Allowance;
use super::cgroup::{self, Cgroups, Counters};
use super::parse::{self, Rollup, Statm, Status};
use crate::budget::{Ceilings, measure};
use crate::engine::EngineStats;
use crate::perf::clock;
use crate::perf::ring::page_size;
use crate::process::scan;
use crate::process::users::HiddenUsers;

/// Processes that are read at all. Of more, those of the highest ids are left out, and counted.
pub(super) const MAX_PROCESSES: usize = 8192;
/// Bytes of a file that are read: more than any of them has.
const LARGEST: u64 = 64 << 10;
/// As many bytes of a process's file as are read at once. The kernel makes each such file in one piece: where it gives less, there is no more.
const OF_PROCESS: usize = 4 << 10;
/// How often in a pass the thread wakes.
const STEPS: u32 = 10;
/// How many times longer a pass takes while the budget asks for less work.
const LEAN_TIMES: u32 = 3;
/// Passes after which `status` is read of a process whose `statm` stays as it was: swap does not show there.
const STATUS_PASSES: u64 = 6;
/// Passes after which `smaps_rollup` is read of a process that stays as it was: others may share its pages now.
const ROLLUP_PASSES: u64 = 60;
/// Passes after which it is read again of a process that changes all the time: what it grows by counts as its own meanwhile.
const CHANGED_PASSES: u64 = 3;
/// By how many bytes a process must have changed for its `smaps_rollup` to be read again, and by which part of it.
const CHANGED_BYTES: u64 = 1 << 20;
const CHANGED_PART: u64 = 16;
/// The part of the agent's CPU ceiling that goes to levels, and that which goes to proportional shares.
pub(super) const SHARE: f64 = 0.1;
/// Where there is no ceiling, in cores.
pub(super) const RATE: f64 = 0.002;
/// Seconds of it that may be taken at once.
const AT_ONCE: f64 = 10.0;

/// What is known of a process.
#[derive(Clone, Debug)]
struct Known {
    /// The pass that read it last.
    pass: u64,
    statm: Statm,
    status: Status,
    status_pass: u64,
    rollup: Option<Rollup>,
    /// The pass that tried it.
    rollup_pass: u64,
    /// Its cgroup, and the pass that read that.
    cgroup: Option<Arc<str>>,
    cgroup_pass: u64,
}

impl Known {
    fn levels(&self, page: u64) -> Levels {
        let (resident, shared) = (self.statm.resident.saturating_mul(page), self.statm.shared.saturating_mul(page));
        let shmem = self.status.shared.min(shared);
        let proportional = self.rollup.map(|rollup| {
            let grown = i128::from(resident) - i128::from(rollup.resident);
            let share = (i128::from(rollup.proportional) + grown).clamp(0, i128::from(resident));
            u64::try_from(share).unwrap_or_default()
        });
        let mut levels = Levels::default();
        levels[MemoryKind::Resident as usize] = Some(resident);
        levels[MemoryKind::Proportional as usize] = proportional;
        levels[MemoryKind::Anonymous as usize] = Some(resident.saturating_sub(shared));
        levels[MemoryKind::File as usize] = Some(shared - shmem);
        levels[MemoryKind::Shared as usize] = Some(shmem);
        levels[MemoryKind::Swap as usize] = Some(self.status.swap);
        levels
    }

    /// How much could be learned from its `smaps_rollup`, in bytes; 0: it can wait.
    fn unknown(&self, page: u64, pass: u64) -> u64 {
        let resident = self.statm.resident.saturating_mul(page);
        let idle = pass.saturating_sub(self.rollup_pass);
        let Some(rollup) = self.rollup else {
            // One that could not be read is tried again, but not soon.
            return if self.rollup_pass == 0 || idle >= ROLLUP_PASSES { resident } else { 0 };
        };
        let changed = resident.abs_diff(rollup.resident);
        if changed >= CHANGED_BYTES.max(rollup.resident / CHANGED_PART) && idle >= CHANGED_PASSES {
            changed
        } else if idle >= ROLLUP_PASSES {
            resident / ROLLUP_PASSES
        } else {
            0
        }
    }
}

/// Reads.
#[derive(Debug)]
pub(super) struct Reader {
    interval: Duration,
    page: u64,
    pass: u64,
    known: HashMap<u32, Known, foldhash::fast::RandomState>,
    /// Those without memory of their own, most of them threads of the kernel, and the pass that listed them last.
    bare: HashMap<u32, u64, foldhash::fast::RandomState>,
    levels: Allowance,
    rollups: Allowance,
    /// Users whose processes are left alone.
    hidden: HiddenUsers,
    cgroups: Cgroups,
    /// What was counted on the host before.
    host: Option<Counters>,
    out: SyncSender<Told>,
    /// Nothing comes by it: it ends when the other side does.
    end: Receiver<Infallible>,
    stats: Arc<EngineStats>,
    buffer: Vec<u8>,
}

impl Reader {
    /// One that reads every process once in `interval`, as far as the ceilings allow.
    pub(super) fn new(
        interval: Duration,
        ceilings: Option<Ceilings>,
        hidden: HiddenUsers,
        (out, end): (SyncSender<Told>, Receiver<Infallible>),
        stats: Arc<EngineStats>,
    ) -> Self {
        let rate = ceilings.map_or(RATE, |ceilings| ceilings.cpu * SHARE);
        Self {
            interval,
            page: page_size() as u64,
            pass: 0,
            known: HashMap::default(),
            bare: HashMap::default(),
            levels: Allowance::new(rate, rate * AT_ONCE),
            // They come with time: the start has enough to do.
            rollups: Allowance::new(rate, rate * AT_ONCE).without_savings(),
            hidden,
            cgroups: Cgroups::find(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()),
            host: None,
            out,
            end,
            stats,
            buffer: Vec::new(),
        }
    }

    /// Reads until it is to end.
    pub(super) fn run(mut self) {
        if let Some(meter) = &self.stats.meter {
            meter.enter();
        }
        while self.pass().is_some() {}
    }

    /// One pass over all processes. None when it is to end.
    fn pass(&mut self) -> Option<()> {
        let (begun, interval) = (Instant::now(), self.interval());
        self.pass += 1;
        let listing = measure::thread_cpu();
        self.read_host()?;
        let mut pids = scan::all();
        self.levels.charge(listing);
        if pids.len() > MAX_PROCESSES {
            pids.sort_unstable();
            self.stats.memory_lost.add((pids.len() - MAX_PROCESSES) as u64);
            pids.truncate(MAX_PROCESSES);
        }
        let step = pids.len().div_ceil(STEPS as usize).max(1);
        for (some, number) in pids.chunks(step).zip(0..) {
            self.wait_until(begun + interval / STEPS * number)?;
            let begun = measure::thread_cpu();
            some.iter().try_for_each(|pid| self.read(*pid))?;
            self.levels.charge(begun);
            self.roll_up();
        }
        self.read_cgroups()?;
        let pass = self.pass;
        self.known.retain(|_, known| known.pass == pass);
        self.bare.retain(|_, listed| *listed == pass);
        self.wait_until(begun + interval)
    }

    /// How long a pass takes.
    fn interval(&self) -> Duration {
        let lean = self.stats.budget.as_ref().is_some_and(|budget| budget.is_lean());
        self.interval * if lean { LEAN_TIMES } else { 1 }
    }

    fn read_host(&mut self) -> Option<()> {
        let read = self.read_file("/proc/meminfo").map(|bytes| parse::fields(bytes, [b"MemTotal", b"MemAvailable"]));
        for (counter, bytes) in self.stats.host_memory.iter().zip(read.unwrap_or_default()) {
            counter.set(bytes.unwrap_or_default());
        }
        let [kills] = self.read_file("/proc/vmstat").map_or([None], |bytes| parse::counters(bytes, [b"oom_kill"]));
        let pressure = self.read_file("/proc/pressure/memory").and_then(parse::pressure).unwrap_or_default();
        let now = Counters { kills: kills.unwrap_or_default(), pressure, ..Counters::default() };
        let Some(before) = self.host.replace(now) else { return Some(()) };
        self.tell(Told::Host(now.since(&before)))
    }

    /// Reads the cgroups of all processes.
    fn read_cgroups(&mut self) -> Option<()> {
        let begun = measure::thread_cpu();
        let mut largest: HashMap<Arc<str>, (u64, u32)> = HashMap::new();
        let pass = self.pass;
        for (pid, known) in self.known.iter().filter(|(_, known)| known.pass == pass) {
            if let Some(path) = &known.cgroup {
                let large = largest.entry(Arc::clone(path)).or_default();
                *large = (*large).max((known.statm.resident, *pid));
            }
        }
        let Self { cgroups, .. } = self;
        let mut told = Vec::with_capacity(largest.len());
        for (path, (_, pid)) in largest {
            let at = clock::monotonic();
            if let Some((group, events)) = cgroups.read(&path, pass, bounded) {
                let mut levels = Levels::default();
                levels[MemoryKind::Cgroup as usize] = Some(group.current);
                levels[MemoryKind::Limit as usize] = group.limit;
                levels[MemoryKind::High as usize] = group.high;
                told.push(Told::Cgroup(path, Reading { pid, at, levels }, events));
            }
        }
        told.extend(cgroups.end_pass(pass).into_iter().map(Told::Gone));
        self.levels.charge(begun);
        told.into_iter().try_for_each(|told| self.tell(told))
    }

    /// Waits for a moment, and for the allowance. None when it is to end.
    fn wait_until(&mut self, due: Instant) -> Option<()> {
        loop {
            self.levels.slow(self.stats.is_restrained());
            let now = Instant::now();
            let left = due.saturating_duration_since(now);
            let until_open = self.levels.until_open(now);
            if left.is_zero() && until_open.is_zero() {
                return Some(());
            }
            match self.end.recv_timeout(left.max(until_open)) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Reads a process. None when nobody wants to know any more.
    fn read(&mut self, pid: u32) -> Option<()> {
        if self.is_hidden(pid) {
            self.known.remove(&pid);
            return Some(());
        }
        let (at, pass) = (clock::monotonic(), self.pass);
        if self.is_bare(pid) {
            return Some(());
        }
        let Some(statm) = self.file(pid, "statm").and_then(parse::statm) else { return Some(()) };
        if statm.size == 0 {
            self.bare.insert(pid, pass);
            return Some(());
        }
        let before = self.known.get(&pid).cloned();
        let fresh = before.as_ref().filter(|known| known.statm == statm && pass - known.status_pass < STATUS_PASSES);
        let status = match fresh {
            Some(known) => Some((known.status, known.status_pass)),
            None => self.file(pid, "status").and_then(parse::status).map(|status| (status, pass)),
        };
        // It ends just now.
        let Some((status, status_pass)) = status else { return Some(()) };
        let (rollup, rollup_pass) = before.as_ref().map_or((None, 0), |known| (known.rollup, known.rollup_pass));
        let placed = before.filter(|known| pass - known.cgroup_pass < ROLLUP_PASSES).map(|known| (known.cgroup, known.cgroup_pass));
        let (cgroup, cgroup_pass) = placed.unwrap_or_else(|| (self.cgroup(pid), pass));
        let known = Known { pass, statm, status, status_pass, rollup, rollup_pass, cgroup, cgroup_pass };
        let levels = known.levels(self.page);
        self.known.insert(pid, known);
        self.tell(Told::Process(Reading { pid, at, levels }))
    }

    /// Whether a process is known to have no memory. It will have none for as long as it is listed; that is looked at now and then, as
    /// the number may have become another's between two passes.
    fn is_bare(&mut self, pid: u32) -> bool {
        let pass = self.pass;
        let look = (pass + u64::from(pid)).is_multiple_of(ROLLUP_PASSES);
        self.bare.get_mut(&pid).filter(|_| !look).map(|listed| *listed = pass).is_some()
    }

    fn is_hidden(&self, pid: u32) -> bool {
        !self.hidden.is_empty() && self.hidden.own(pid).unwrap_or(true)
    }

    fn cgroup(&mut self, pid: u32) -> Option<Arc<str>> {
        if !self.cgroups.are_there() {
            return None;
        }
        self.file(pid, "cgroup").and_then(cgroup::path).map(Arc::from)
    }

    fn tell(&self, told: Told) -> Option<()> {
        self.stats.memory_readings.add(1);
        match self.out.try_send(told) {
            Ok(()) => Some(()),
            Err(TrySendError::Full(_)) => {
                self.stats.memory_lost.add(1);
                Some(())
            }
            Err(TrySendError::Disconnected(_)) => None,
        }
    }

    /// Reads `smaps_rollup` of the processes of which least is known, one by one, as long as that is allowed.
    fn roll_up(&mut self) {
        let begun = Instant::now();
        while !self.stats.is_restrained() && self.rollups.is_open(Instant::now()) && begun.elapsed() < self.interval / STEPS {
            let (page, pass) = (self.page, self.pass);
            let unknown = self.known.iter().map(|(pid, known)| (known.unknown(page, pass), *pid)).max();
            let Some((_, pid)) = unknown.filter(|(unknown, _)| *unknown > 0) else { return };
            let begun = measure::thread_cpu();
            let rollup = if self.is_hidden(pid) { None } else { self.file(pid, "smaps_rollup").and_then(parse::rollup) };
            self.rollups.charge(begun);
            self.stats.memory_rollups.add(1);
            if let Some(known) = self.known.get_mut(&pid) {
                known.rollup_pass = pass;
                known.rollup = rollup.or(known.rollup);
            }
        }
    }

    /// The start of a file of a process; none where it cannot be read.
    fn file(&mut self, pid: u32, name: &str) -> Option<&[u8]> {
        let mut file = File::open(format!("/proc/{pid}/{name}")).ok()?;
        self.buffer.resize(OF_PROCESS, 0);
        let read = file.read(&mut self.buffer).ok()?;
        self.buffer.truncate(read);
        if read == OF_PROCESS {
            file.take(LARGEST).read_to_end(&mut self.buffer).ok()?;
        }
        Some(&self.buffer)
    }

    fn read_file(&mut self, path: &str) -> Option<&[u8]> {
        self.buffer.clear();
        File::open(path).ok()?.take(LARGEST).read_to_end(&mut self.buffer).ok()?;
        Some(&self.buffer)
    }
}

/// The start of a file; none where it cannot be read.
fn bounded(path: &std::path::Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was never read comes first, then what has changed most; one that changes all the time waits some passes, one that stays as it was
    /// many.
    #[test]
    fn reads_what_is_least_known() {
        const PAGES: u64 = 8 << 10;
        let resident = PAGES * 4096;
        let mut known = Known {
            pass: 100,
            statm: Statm { size: PAGES, resident: PAGES, ..Statm::default() },
            status: Status::default(),
            status_pass: 100,
            rollup: None,
            rollup_pass: 0,
            cgroup: None,
            cgroup_pass: 0,
        };
        let unknown = |known: &Known, pass| known.unknown(4096, pass);
        assert_eq!(unknown(&known, 100), resident);
        (known.rollup, known.rollup_pass) = (Some(Rollup { resident, proportional: resident / 2 }), 100);
        assert_eq!((unknown(&known, 101), unknown(&known, 100 + ROLLUP_PASSES)), (0, resident / ROLLUP_PASSES));
        known.statm.resident += PAGES / 8;
        assert_eq!((unknown(&known, 102), unknown(&known, 100 + CHANGED_PASSES)), (0, resident / 8));
        // Meanwhile what it has grown by is its own.
        let levels = known.levels(4096);
        assert_eq!(levels[MemoryKind::Proportional as usize], Some(resident / 2 + resident / 8));
    }
}
