//! What the sampler does for page faults: their samples are unwound like those of the CPU, and end up in the same batches.
//!
//! The ledger is about CPU samples only. Of these the engine's counters tell: *taken = stored + lost*, by the same reasons.

use flamekeeper_profile::LossReason;

use crate::engine::faults::Share;
use crate::perf::cpus::MAX_CPUS;
use crate::perf::ring::page_size;
use crate::record::fault::{Fault, parse_fault};
use crate::record::{Record, Sample, parse};

use super::Sampler;

/// What is added to a CPU's number to tell its page faults from its other samples, where a record is kept for the sample that follows it.
#[allow(clippy::cast_possible_truncation, reason = "8192")]
pub(super) const FAULT_LANE: u32 = MAX_CPUS as u32;

impl Sampler {
    /// Applies a sample of page faults. `share` says what it stands for, by its event's count.
    pub(crate) fn apply_fault(&mut self, bytes: &[u8], share: impl FnOnce(u64) -> Share) {
        self.begin_record(bytes);
        self.stats.fault_samples.add(1);
        match parse_fault(bytes) {
            Ok(fault) => self.fault(&fault, share(fault.counted)),
            Err(_) => self.lose_fault(LossReason::MalformedRecord, 1),
        }
    }

    /// Applies another record of a ring of page faults.
    pub(crate) fn apply_beside_faults(&mut self, bytes: &[u8]) {
        self.begin_record(bytes);
        match parse(bytes) {
            Ok(Record::Interpreter { task, cpu, bytes }) if !self.is_hidden(task) => {
                self.interpreters.record(cpu.saturating_add(FAULT_LANE), task, bytes);
            }
            Ok(Record::Lost { records }) => {
                self.stats.fault_samples.add(records);
                self.lose_fault(LossReason::RingFull, records);
            }
            Ok(Record::Throttle { stopped, .. }) => self.stats.throttled.add(u64::from(stopped)),
            // Processes are told of by the other rings.
            Ok(_) => {}
            Err(_) => {
                self.stats.fault_samples.add(1);
                self.lose_fault(LossReason::MalformedRecord, 1);
            }
        }
    }

    fn lose_fault(&self, reason: LossReason, samples: u64) {
        self.stats.fault_samples_lost[reason as usize].add(samples);
    }

    fn fault(&mut self, fault: &Fault<'_>, share: Share) {
        let sample = Sample { cpu: fault.sample.cpu.saturating_add(FAULT_LANE), ..fault.sample };
        self.stats.faults_missed.add(share.missed);
        if self.is_hidden(sample.task) {
            return self.lose_fault(LossReason::Excluded, 1);
        }
        self.stats.faults.add(share.faults);
        let (end, _) = self.stack(&sample);
        let slot = self.slot(&sample);
        // A page that was gone again when the kernel looked was most likely a plain one.
        let page = if fault.page_bytes == 0 { page_size() as u64 } else { fault.page_bytes };
        self.fold.touch(slot, &self.locations, end, share.faults.saturating_mul(page));
    }
}
