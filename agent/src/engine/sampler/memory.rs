//! What the sampler does for the memory of processes: it says whose it is, and puts it into its batches.

use std::time::Duration;

use flamekeeper_profile::{Series, Window, label};

use crate::budget::Ceilings;
use crate::identity::ProcessFacts;
use crate::identity::origin::Origin;
use crate::memory::{Facts, Memory};
use crate::order::GRACE_NS;
use crate::perf::clock;

use super::Sampler;
use super::labels::{exe_build_id_alone, named_with};

impl Sampler {
    /// Begins to read the memory of all processes.
    pub(crate) fn watch_memory(&mut self, window: Duration, ceilings: Option<Ceilings>) {
        self.memory = Memory::start(window, ceilings, self.processes.hidden().clone(), &self.stats);
    }

    /// Takes what was read since.
    pub(crate) fn read_memory(&mut self) {
        let Some(mut memory) = self.memory.take() else { return };
        let unknown = Some(Facts { generation: 0, born: 0, named: None });
        memory.take(|reading, may_ask| {
            if self.processes.is_hidden(reading.pid, self.fold.serial()) {
                return None;
            }
            if self.processes.get_mut(reading.pid).is_none() {
                if !may_ask {
                    return unknown.clone();
                }
                self.processes.identify(reading.pid);
            }
            let Some(process) = self.processes.get_mut(reading.pid) else { return unknown.clone() };
            if process.kernel_thread || process.has_exited() && !process.threaded {
                return None;
            }
            // Where only the main thread has ended, what was counted up to then is not counted again.
            let (generation, born) = (process.generation, if process.has_exited() { reading.at } else { process.born });
            // A process that has just called execve has no executable yet.
            let ready = process.named.is_some() || may_ask && !process.exe.is_empty();
            let named = ready.then(|| named_with(process, &mut self.unwinder, &self.identity, &mut self.observer, exe_build_id_alone));
            Some(Facts { generation, born, named })
        });
        self.memory = Some(memory);
    }

    /// The memory's series of a window that ends now.
    pub(super) fn close_memory(&mut self, window: Window) -> Vec<Series> {
        self.read_memory();
        let now = clock::monotonic().saturating_sub(GRACE_NS);
        let Some(memory) = &mut self.memory else { return Vec::new() };
        // What happens on the host as a whole stands where the kernel's own work does.
        let host = self.identity.process(&ProcessFacts { pid: 0, comm: "", exe: "", build_id: None }, &Origin::default());
        memory.close(window.duration(), now, host.labels.with(label::PID, ""), self.fold.tables())
    }

    /// A process has ended, or runs another program.
    pub(super) fn memory_ended(&mut self, pid: u32, at: u64) {
        if let Some(memory) = &mut self.memory {
            memory.ended(pid, at);
        }
    }
}
