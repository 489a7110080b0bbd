//! Whose samples are whose: labels of processes, asked for as late as may be.

use std::collections::HashSet;
use std::sync::Arc;

use flamekeeper_profile::{BuildId, BuildIdKind, label};

use crate::fold::Fold;
use crate::identity::observer::Observer;
use crate::identity::origin::Origin;
use crate::identity::{Identity, Named, ProcessFacts};
use crate::process::file::FileKey;
use crate::process::maps::{Backing, Mapping};
use crate::process::table::Process;
use crate::unwind::{Resolved, Unwinder};

use super::Sampler;

/// Name for a process that was gone before anything could be learned about it.
const UNKNOWN: &str = "[unknown]";

impl Sampler {
    /// Labels what has none yet, and anew what has changed since: a window has its processes' labels as they are at its end.
    pub(super) fn label_late(&mut self) {
        // A process has as many slots as threads, where those are told apart: each process once.
        let mut done = HashSet::new();
        for owner in self.fold.owners() {
            let process = self.processes.get_mut(owner.pid).filter(|process| process.generation == owner.generation);
            match process {
                Some(process) if !owner.labelled || self.by_thread || process.origin.is_unsettled() => {
                    if done.insert(owner.pid) {
                        label_samples(process, &mut self.unwinder, &self.identity, &mut self.observer, &mut self.fold);
                    }
                }
                None if !owner.labelled => {
                    let facts = ProcessFacts { pid: owner.pid, comm: "", exe: UNKNOWN, build_id: None };
                    self.fold.label(owner.slot, &Arc::new(self.identity.process(&facts, &Origin::default())));
                }
                Some(_) | None => {}
            }
        }
    }
}

/// Labels a process's samples of this window.
pub(super) fn label_samples(process: &mut Process, unwinder: &mut Unwinder, identity: &Identity, observer: &mut Observer, fold: &mut Fold) {
    let named = named(process, unwinder, identity, observer);
    if let Some(slot) = process.source {
        fold.label(slot, &named);
    }
    for (slot, thread) in process.threads.named() {
        let labels = named.labels.clone().with(label::THREAD, &crate::identity::thread_name(thread));
        fold.label(slot, &Arc::new(Named { labels, ..*named }));
    }
}

/// What the samples of a process are labelled with: asked for once in a generation, and again after a change.
pub(super) fn named(process: &mut Process, unwinder: &mut Unwinder, identity: &Identity, observer: &mut Observer) -> Arc<Named> {
    named_with(process, unwinder, identity, observer, exe_build_id)
}

/// The same, with this way to come by the executable's build id.
pub(super) fn named_with(
    process: &mut Process,
    unwinder: &mut Unwinder,
    identity: &Identity,
    observer: &mut Observer,
    build_id: fn(&mut Process, &mut Unwinder) -> Option<BuildId>,
) -> Arc<Named> {
    if !process.kernel_thread {
        observer.settle(&mut process.origin, process.pid);
        if process.parent_generation != 0 && !process.exe.is_empty() {
            observer.compare(&mut process.origin, process.parent_generation, &process.exe);
        }
    }
    let changed = process.origin.take_changed();
    if let Some(named) = process.named.as_ref().filter(|_| !changed) {
        return Arc::clone(named);
    }
    let build_id = build_id(process, unwinder);
    // An empty executable is how identity knows a kernel thread.
    let exe = match (process.kernel_thread, &*process.exe, &*process.comm) {
        (true, ..) => "",
        (false, "", "") => UNKNOWN,
        (false, "", comm) => comm,
        (false, exe, _) => exe,
    };
    let facts = ProcessFacts { pid: process.pid, comm: &process.comm, exe, build_id: build_id.as_ref() };
    let named = Arc::new(identity.process(&facts, &process.origin));
    process.named = Some(Arc::clone(&named));
    named
}

/// The build id that the record of an executable's mapping has told.
fn told_build_id(mapping: &Mapping) -> Option<BuildId> {
    let Backing::File(file) = &mapping.backing else { return None };
    let FileKey::BuildId(id) = &file.key else { return None };
    BuildId::new(BuildIdKind::Gnu, id).ok()
}

/// The build id of an executable that need not have been sampled: its unwind information is not loaded for that.
pub(super) fn exe_build_id_alone(process: &mut Process, unwinder: &mut Unwinder) -> Option<BuildId> {
    let pid = process.pid;
    let mapping = process.exe_mapping()?;
    told_build_id(mapping).or_else(|| unwinder.pool().identity(pid, mapping))
}

fn exe_build_id(process: &mut Process, unwinder: &mut Unwinder) -> Option<BuildId> {
    let pid = process.pid;
    let mapping = process.exe_mapping()?;
    if let Some(told) = told_build_id(mapping) {
        return Some(told);
    }
    unwinder.resolve(pid, mapping);
    match mapping.resolved {
        Resolved::Object { object, .. } => unwinder.pool().build_id(object).cloned(),
        Resolved::Unknown | Resolved::Unreadable => None,
    }
}
