//! What the sampler does for live heaps: their records are unwound like samples, and end up in the same batches.

use std::sync::Arc;

use flamekeeper_profile::{Avma, LocationId, Series, StackEnd, StopReason, Tables};

use crate::engine::frames;
use crate::heap::{Loss, Record, Unwind};
use crate::identity::Named;
use crate::order::GRACE_NS;
use crate::perf::clock;
use crate::record::{Sample, Task, UserRegs, Words};
use crate::unwind::FrameCode;

use super::{Sampler, named};

impl Sampler {
    /// Reads what processes have written about their heaps up to `limit`, in the records' time.
    pub(crate) fn read_heaps(&mut self, limit: u64) {
        let mut heaps = std::mem::take(&mut self.heaps);
        heaps.met(&self.processes.take_with_heaps());
        heaps.tick(limit, self);
        self.heaps = heaps;
    }

    /// The heaps' series of a window that ends now.
    pub(super) fn close_heaps(&mut self) -> Vec<Series> {
        let mut heaps = std::mem::take(&mut self.heaps);
        let now = clock::monotonic();
        let mut series = heaps.close(now.saturating_sub(GRACE_NS), self);
        if self.whole_host {
            let mut active: Vec<u32> = self.fold.owners().iter().map(|owner| owner.pid).collect();
            active.sort_unstable();
            active.dedup();
            series.extend(heaps.unseen((&active, !self.identity.hides_environment()), now, self));
        }
        series.extend(self.scraped.close(now, self.fold.tables()));
        self.heaps = heaps;
        let (samples, lost) = self.heaps.counts();
        self.stats.heap_samples.set(samples);
        for reason in Loss::ALL {
            self.stats.heap_lost[reason as usize].set(lost[reason as usize]);
        }
        series
    }
}

impl Unwind for Sampler {
    fn unwind(&mut self, pid: u32, record: &Record<'_>, locations: &mut Vec<LocationId>) -> StackEnd {
        let regs = UserRegs { ip: Avma(record.ip), sp: Avma(record.sp), fp: Avma(record.bp), lr: Avma(0) };
        let sample = Sample {
            // No thread's number: each sample may be of another thread, and none of them is to take the main thread's place.
            task: Task { pid, tid: 0 },
            time: record.time,
            cpu: 0,
            callchain: Words::default(),
            regs: Some(regs),
            stack: record.stack,
            stack_asked: flamekeeper_heap::layout::MAX_STACK,
            cgroup: None,
        };
        let process = self.processes.of_sample(pid, sample.time);
        let mut end = self.unwinder.unwind(process, &sample, &mut self.frames);
        if end == StackEnd::Truncated(StopReason::NoMapping) && self.processes.rescan(pid, sample.time) {
            let process = self.processes.of_sample(pid, sample.time);
            end = self.unwinder.unwind(process, &sample, &mut self.frames);
        }
        let process = self.processes.of_sample(pid, sample.time);
        if self.frames.iter().any(|frame| frame.code == FrameCode::Generated) {
            process.names.refresh(&mut self.jit, process.pid, process.born, &process.maps, sample.time);
        }
        for frame in &self.frames {
            let pool = self.unwinder.pool();
            locations.push(frames::location(frame, (process, sample.time), pool, &mut self.fold, &mut self.generated));
        }
        end
    }

    fn is_hidden(&mut self, pid: u32) -> bool {
        self.processes.is_hidden(pid, self.fold.serial())
    }

    fn tables(&mut self) -> &mut Tables {
        self.fold.tables()
    }

    fn named(&mut self, pid: u32) -> Option<Arc<Named>> {
        let process = self.processes.get_mut(pid).filter(|process| !process.exe.is_empty())?;
        Some(named(process, &mut self.unwinder, &self.identity, &mut self.observer))
    }
}
