//! Finds out where processes come from: from their samples, and from procfs while they live.

use std::sync::Arc;

use flamekeeper_wire::resource::process_context;
use procfs::process::Process;

use super::cgroup::{self, Place};
use super::cgroups::Cgroups;
use super::choice::Choice;
use super::context::{self, Found};
use super::origin::Origin;
use super::siblings::{Kind, Siblings};
use super::{environ, stack};
use crate::record::Sample;

/// Processes whose mappings are searched for a process context in one window: a search costs about as much as reading the
/// mappings of a new process.
const SEARCHES: u32 = 64;

/// What finding out takes.
#[derive(Debug)]
pub(crate) struct Observer {
    cgroups: Cgroups,
    siblings: Siblings,
    choice: Choice,
    /// Whether environments are looked at.
    environment: bool,
    searches_left: u32,
}

impl Observer {
    /// Has seen nothing yet.
    pub(crate) fn new(choice: Choice) -> Self {
        Self { cgroups: Cgroups::new(), siblings: Siblings::default(), choice, environment: true, searches_left: SEARCHES }
    }

    /// The same, and looks at no environment where that is forbidden.
    pub(crate) fn without_environment(self, forbidden: bool) -> Self {
        Self { environment: !forbidden, ..self }
    }

    /// A cgroup was made.
    pub(crate) fn cgroup_made(&mut self, id: u64, path: &[u8]) {
        self.cgroups.made(id, path);
    }

    /// Cgroups that are remembered.
    pub(crate) fn cgroups(&self) -> usize {
        self.cgroups.len()
    }

    /// Takes from a sample what it tells of its process's origin, and looks at the process where it is time to.
    pub(crate) fn sample(&mut self, origin: &mut Origin, sample: &Sample<'_>) {
        if sample.cgroup.is_some() && sample.cgroup != origin.cgroup {
            self.enter(origin, sample.cgroup);
        }
        if self.environment && !origin.owns_environ() && origin.stack_tries > 0 {
            self.search_stack(origin, sample);
        }
        if origin.is_due(sample.time) {
            self.look(origin, sample);
        }
    }

    /// Asks procfs for what no sample has told, once for a program: before its samples are labelled.
    pub(crate) fn settle(&self, origin: &mut Origin, pid: u32) {
        if std::mem::replace(&mut origin.asked, true) {
            return;
        }
        let environ_missing = self.environment && !origin.owns_environ();
        // A hierarchy of version 1 may know nothing where another does.
        let place_missing = origin.cgroup.is_none() || origin.place.as_ref().is_none_or(|place| place.is_empty());
        if !environ_missing && !place_missing {
            return;
        }
        let Some(process) = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()) else { return };
        if environ_missing && let Some(declared) = self.environ(&process) {
            origin.own_environ(declared);
        }
        if place_missing && let Some(place) = place(&process) {
            origin.enter(Some(Arc::new(place)));
        }
    }

    /// Takes from a program's siblings what it could not be asked itself, or notes what it says for them. `parent` is the
    /// generation of the process that made it.
    pub(crate) fn compare(&mut self, origin: &mut Origin, parent: u64, exe: &str) {
        let kind = Kind { parent, cgroup: origin.cgroup };
        match origin.own() {
            Some(declared) => self.siblings.note(kind, exe, declared),
            None => {
                if let Some(said) = self.siblings.said(kind, exe) {
                    origin.borrow_environ(said);
                }
            }
        }
    }

    /// As [`Self::settle`], for a process that makes another and of which nothing is known.
    pub(crate) fn settle_parent(&self, origin: &mut Origin, pid: u32) {
        if origin.is_unknown() {
            self.settle(origin, pid);
        }
    }

    /// Ends a window.
    pub(crate) fn sweep(&mut self) {
        self.cgroups.sweep();
        self.siblings.sweep();
        self.searches_left = SEARCHES;
    }

    fn enter(&mut self, origin: &mut Origin, cgroup: Option<u64>) {
        let moved = origin.cgroup.is_some();
        origin.cgroup = cgroup;
        match cgroup.and_then(|id| self.cgroups.place(id)).filter(|place| !place.is_empty()) {
            Some(place) => origin.enter(Some(place)),
            None if moved => {
                origin.enter(None);
                origin.asked = false;
            }
            // What it has from its parent is as good as nothing from here.
            None => {}
        }
    }

    fn search_stack(&self, origin: &mut Origin, sample: &Sample<'_>) {
        let Some(regs) = sample.regs.filter(|_| sample.task.pid == sample.task.tid) else { return };
        origin.stack_tries -= 1;
        if sample.stack.len() < sample.stack_asked
            && let Some(environ) = stack::environ(sample.stack, regs.sp.0)
        {
            origin.own_environ(environ::declared(environ, &self.choice));
        }
    }

    /// Looks for the process's context, and where no sample tells of cgroups, for its cgroup.
    fn look(&mut self, origin: &mut Origin, sample: &Sample<'_>) {
        let pid = sample.task.pid;
        if origin.context.address == 0 {
            let Some(left) = self.searches_left.checked_sub(1) else { return };
            self.searches_left = left;
            origin.context.address = context::find(pid).unwrap_or_default();
            if sample.cgroup.is_none()
                && origin.asked
                && let Some(place) = i32::try_from(pid).ok().and_then(|pid| place(&Process::new(pid).ok()?))
            {
                origin.enter(Some(Arc::new(place)));
            }
        }
        if origin.context.address != 0 {
            self.read_context(origin, pid);
        }
        origin.looked(sample.time);
    }

    fn read_context(&self, origin: &mut Origin, pid: u32) {
        match context::read_of(pid, origin.context.address, origin.context.published) {
            Found::Context { published, payload } => {
                origin.context.published = published;
                let attributes = process_context(&payload).unwrap_or_default();
                let pairs = attributes.iter().map(|(name, value)| (&**name, &**value));
                origin.say(Some(environ::declared_by_attributes(pairs, &self.choice)));
            }
            Found::Unchanged | Found::Busy => {}
            Found::Nothing => {
                (origin.context.address, origin.context.published) = (0, 0);
                origin.say(None);
            }
        }
    }

    /// What a process's environment says; none where it cannot be read, as that of a process that is ending, whose memory
    /// is gone.
    fn environ(&self, process: &Process) -> Option<environ::Declared> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        process.open_relative("environ").ok()?.take(environ::MAX_BYTES).read_to_end(&mut bytes).ok()?;
        (!bytes.is_empty()).then(|| environ::declared(&bytes, &self.choice))
    }
}

/// The place that the first hierarchy with something to say names: version 2 has one, version 1 one a controller. None
/// where it cannot be read.
fn place(process: &Process) -> Option<Place> {
    let groups = process.cgroups().ok()?;
    let mut best = Place::default();
    for group in &groups.0 {
        let place = cgroup::place(&group.pathname);
        // A container in any hierarchy beats a unit in another.
        if place.container.is_some() {
            return Some(place);
        }
        if best.is_empty() || best.unit.is_none() && place.unit.is_some() {
            best = place;
        }
    }
    Some(best)
}
