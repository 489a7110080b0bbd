//! The thread that attaches to Java virtual machines, one after the other, where the configuration allows it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::budget::measure::CpuMeter;
use crate::engine::EngineStats;
use crate::jit::names::Slot;
use crate::jvm::attach::{AttachError, dump_perf_map};
use crate::perf::clock;

/// Machines that wait for their turn.
const WAITING: usize = 64;
/// How long a machine is left alone after it has written its map, in nanoseconds.
const AGAIN: u64 = 30_000_000_000;
/// The same after it has not: doubled with each failure up to the last.
const AGAIN_FAILED: u64 = 60_000_000_000;
const AGAIN_LAST: u64 = 3_600_000_000_000;

/// The way to the thread, which is started for the first machine.
#[derive(Debug)]
pub(crate) struct Attacher {
    sender: Option<SyncSender<Arc<Slot>>>,
    stats: Arc<EngineStats>,
}

impl Attacher {
    /// Not started yet.
    pub(crate) const fn new(stats: Arc<EngineStats>) -> Self {
        Self { sender: None, stats }
    }

    /// Has the machine of a slot write its map when it is its turn, unless it was asked not long ago.
    pub(crate) fn ask(&mut self, slot: &Arc<Slot>, now: u64) {
        if self.sender.is_none() {
            let (sender, receiver) = sync_channel(WAITING);
            let stats = Arc::clone(&self.stats);
            let started = std::thread::Builder::new().name("fk-attach".into()).spawn(move || run(&receiver, &stats));
            match started {
                Ok(_) => self.sender = Some(sender),
                Err(error) => tracing::warn!(%error, "no thread to attach to Java virtual machines"),
            }
        }
        if let Some(sender) = &self.sender
            && slot.begin_attach(now)
            && sender.try_send(Arc::clone(slot)).is_err()
        {
            slot.end_attach(now.saturating_add(AGAIN));
        }
    }
}

fn run(machines: &Receiver<Arc<Slot>>, stats: &EngineStats) {
    stats.meter.iter().for_each(CpuMeter::enter);
    let mut failures_told = [false; 3];
    for slot in machines {
        let result = dump_perf_map(slot.pid);
        let now = clock::monotonic();
        match result {
            Ok(()) => {
                stats.java_attached.add(1);
                slot.attach_succeeded();
                slot.end_attach(now.saturating_add(AGAIN));
            }
            Err(error) => {
                stats.java_attach_failed.add(1);
                let failures = slot.attach_failed();
                slot.end_attach(now.saturating_add(AGAIN_FAILED.saturating_mul(1 << failures.min(6)).min(AGAIN_LAST)));
                tell(&mut failures_told, slot.pid, &error);
            }
        }
    }
}

/// One line for each kind of failure that a person can do something about; the others only for who debugs.
fn tell(told: &mut [bool; 3], pid: u32, error: &AttachError) {
    let kind = match error {
        AttachError::Permission(_) => Some(0),
        AttachError::TooOld => Some(1),
        AttachError::Silent | AttachError::Answer(_) => Some(2),
        AttachError::Gone | AttachError::Refuses | AttachError::File { .. } => None,
    };
    if let Some(told) = kind.and_then(|kind| told.get_mut(kind)).filter(|told| !**told) {
        *told = true;
        tracing::warn!(pid, %error, "a Java virtual machine was not made to write its perf map (said once)");
    } else {
        tracing::debug!(pid, %error, "a Java virtual machine was not made to write its perf map");
    }
}
