//! The stack of a sample, as locations of the current window's tables.

use std::time::Instant;

use flamekeeper_profile::{Avma, StackEnd, StopReason};

use crate::engine::frames;
use crate::python::{Outcome, Unwound};
use crate::record::Sample;
use crate::unwind::FrameCode;

use super::Sampler;

impl Sampler {
    /// Finds the whole stack: how it ends, and whether frames of an interpreter are missing from it.
    pub(super) fn stack(&mut self, sample: &Sample<'_>) -> (StackEnd, bool) {
        self.locations.clear();
        self.kernel_part(sample);
        let begun = Instant::now();
        let found = self.user_part(sample);
        self.stats.unwind_ns.add(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        found
    }

    fn kernel_part(&mut self, sample: &Sample<'_>) {
        for (depth, address) in sample.kernel_frames().enumerate() {
            // All but the first are return addresses: step back into the call.
            let address = if depth == 0 { address } else { Avma(address.0.wrapping_sub(1)) };
            self.locations.push(self.kernel.location(address, self.fold.tables()));
        }
    }

    fn user_part(&mut self, sample: &Sample<'_>) -> (StackEnd, bool) {
        let process = self.processes.of_sample(sample.task.pid, sample.time);
        if process.kernel_thread {
            return (StackEnd::Root, false);
        }
        let mut end = self.unwinder.unwind(process, sample, &mut self.frames);
        if end == StackEnd::Truncated(StopReason::NoMapping) && self.processes.rescan(sample.task.pid, sample.time) {
            let process = self.processes.of_sample(sample.task.pid, sample.time);
            end = self.unwinder.unwind(process, sample, &mut self.frames);
        }
        let process = self.processes.of_sample(sample.task.pid, sample.time);
        if self.frames.iter().any(|frame| frame.code == FrameCode::Generated) {
            process.names.refresh(&mut self.jit, process.pid, process.born, &process.maps, sample.time);
        }
        let native = Unwound { frames: &self.frames, end };
        let python = self.interpreters.merge(process, sample, native, &mut self.unwinder, &mut self.fold);
        let java = || {
            process.names.hotspot().is_some()
                && self.frames.iter().any(|frame| matches!(frame.code, FrameCode::Java(_) | FrameCode::Generated))
        };
        if python != Outcome::NotPython || java() {
            // The memory of these is read as it is when the records are.
            self.urgent = self.urgent.max(sample.time);
        }
        let mut places = self.unwinder.places(self.fold.serial());
        for (index, frame) in self.frames.iter().enumerate() {
            if let Some(locations) = self.interpreters.at(index) {
                self.locations.extend_from_slice(locations);
            } else if !python.covers(frame, process, sample.time) {
                let place = places.len().checked_sub(index + 1).and_then(|place| places.get_mut(place));
                let known = place.as_deref().copied().flatten();
                let location = known.unwrap_or_else(|| {
                    frames::location(frame, (process, sample.time), self.unwinder.pool(), &mut self.fold, &mut self.generated)
                });
                if let Some(place) = place {
                    *place = Some(location);
                }
                self.locations.push(location);
            }
            if python == (Outcome::Merged { last: Some(index) }) {
                break;
            }
        }
        self.unwinder.keep_places(places);
        (python.end(end), matches!(python, Outcome::Missing(_)))
    }
}
