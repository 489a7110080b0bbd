//! Where a process comes from, as far as is known: its cgroup, its environment, its process context.
//!
//! What is learned goes on to a process's children, since a fork copies all of it and an `execve` leaves the cgroup and as a
//! rule the environment: so the service of a process that was dead before anybody could ask is its parent's, and not just
//! the name of its executable. What its own samples tell is better, and what procfs tells while it lives as good.

use std::sync::Arc;

use super::cgroup::Place;
use super::environ::Declared;

/// Samples whose stack is searched for the environment of a program.
const STACK_TRIES: u8 = 4;
/// How long a program is left alone before its process context is looked for, in nanoseconds: to start up, or to end.
const SETTLE_NS: u64 = 1_000_000_000;
/// The longest pause between two looks for a context that is not there, in nanoseconds.
const LONGEST_PAUSE_NS: u64 = 300_000_000_000;
/// The pause between two looks at a context that is there, in nanoseconds.
const CONTEXT_PAUSE_NS: u64 = 2_000_000_000;

/// An environment, and how sure it is.
#[derive(Clone, Debug, Default)]
enum Environ {
    #[default]
    Unknown,
    /// The parent's, or that of the program before in the same process.
    Inherited(Arc<Declared>),
    /// Its own.
    Own(Arc<Declared>),
}

/// Where a process comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The cgroup of its last sample.
    pub(super) cgroup: Option<u64>,
    pub(super) place: Option<Arc<Place>>,
    environ: Environ,
    pub(super) context: Context,
    /// Whether procfs was asked.
    pub(super) asked: bool,
    pub(super) stack_tries: u8,
    changed: bool,
}

/// The process context of a program, and when to look for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    pub(super) declared: Option<Arc<Declared>>,
    /// Where it is; 0 for nowhere.
    pub(super) address: u64,
    /// When it was written, by its writer's clock.
    pub(super) published: u64,
    /// When to look next, in the records' time; 0 for at once, none for some time after the first sample.
    next_look: Option<u64>,
    pause: u64,
}

impl Default for Origin {
    /// Of a process that was there before anybody looked.
    fn default() -> Self {
        Self {
            cgroup: None,
            place: None,
            environ: Environ::Unknown,
            context: Context { next_look: Some(0), ..Context::default() },
            asked: false,
            stack_tries: STACK_TRIES,
            changed: false,
        }
    }
}

impl Origin {
    /// That of a child of this process.
    pub(crate) fn fork(&self) -> Self {
        // A context is not inherited: its mapping is marked MADV_DONTFORK.
        Self { context: Context::default(), asked: false, stack_tries: STACK_TRIES, changed: false, ..self.clone() }
    }

    /// That of the next program in this process.
    pub(crate) fn exec(&self) -> Self {
        let environ = match &self.environ {
            Environ::Unknown => Environ::Unknown,
            Environ::Inherited(declared) | Environ::Own(declared) => Environ::Inherited(Arc::clone(declared)),
        };
        Self { environ, ..self.fork() }
    }

    /// Whether its environment is known to be its own.
    pub(super) const fn owns_environ(&self) -> bool {
        matches!(self.environ, Environ::Own(_))
    }

    /// Whether nothing is known that its children could be given.
    pub(super) const fn is_unknown(&self) -> bool {
        matches!(self.environ, Environ::Unknown) && !self.asked
    }

    /// What its environment says, or its parent's said.
    pub(super) fn declared(&self) -> Option<&Declared> {
        match &self.environ {
            Environ::Unknown => None,
            Environ::Inherited(declared) | Environ::Own(declared) => Some(declared),
        }
    }

    /// Takes up its own environment.
    pub(super) fn own_environ(&mut self, declared: Declared) {
        self.changed |= self.declared() != Some(&declared);
        let known = match std::mem::take(&mut self.environ) {
            Environ::Inherited(known) | Environ::Own(known) if *known == declared => known,
            _ => Arc::new(declared),
        };
        self.environ = Environ::Own(known);
    }

    /// Its own environment, to share.
    pub(super) const fn own(&self) -> Option<&Arc<Declared>> {
        match &self.environ {
            Environ::Own(declared) => Some(declared),
            Environ::Unknown | Environ::Inherited(_) => None,
        }
    }

    /// Takes up another's environment in place of its parent's.
    pub(super) fn borrow_environ(&mut self, declared: &Arc<Declared>) {
        self.changed |= self.declared() != Some(declared);
        self.environ = Environ::Inherited(Arc::clone(declared));
    }

    /// Takes up its place.
    pub(super) fn enter(&mut self, place: Option<Arc<Place>>) {
        self.changed |= self.place != place;
        self.place = place;
    }

    /// Takes up what its process context says; none where it has none any more.
    pub(super) fn say(&mut self, declared: Option<Declared>) {
        self.changed |= self.context.declared.as_deref() != declared.as_ref();
        self.context.declared = declared.map(Arc::new);
    }

    /// Whether something has changed since this was asked last.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether there may be more to say than was asked last.
    pub(crate) const fn is_unsettled(&self) -> bool {
        self.changed || !self.owns_environ()
    }

    /// As [`Self::take_changed`], without taking.
    #[cfg(test)]
    pub(super) const fn has_changed(&self) -> bool {
        self.changed
    }

    /// Whether it is time to look for a process context.
    pub(super) fn is_due(&mut self, now: u64) -> bool {
        now >= *self.context.next_look.get_or_insert(now.saturating_add(SETTLE_NS))
    }

    /// Plans the next look, after one that found a context or none.
    pub(super) fn looked(&mut self, now: u64) {
        let context = &mut self.context;
        let longer = context.pause.saturating_mul(2).clamp(2 * SETTLE_NS, LONGEST_PAUSE_NS);
        context.pause = if context.address == 0 { longer } else { 0 };
        context.next_look = Some(now.saturating_add(if context.address == 0 { longer } else { CONTEXT_PAUSE_NS }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(service: &str) -> Declared {
        Declared { service: Some(service.to_owned()), ..Declared::default() }
    }

    fn service(origin: &Origin) -> Option<&str> {
        origin.declared()?.service.as_deref()
    }

    /// A child has its parent's environment until it runs another program, and then only as long as nothing better is known.
    #[test]
    fn environments_are_inherited() {
        let mut shell = Origin::default();
        assert!(shell.is_unknown());
        shell.own_environ(named("shell"));
        assert!(shell.take_changed());
        let child = shell.fork();
        assert_eq!((service(&child), child.owns_environ()), (Some("shell"), true));
        let mut program = child.exec();
        assert_eq!((service(&program), program.owns_environ()), (Some("shell"), false));
        program.own_environ(named("shell"));
        assert!(!program.has_changed() && program.owns_environ());
        program.own_environ(named("program"));
        assert!(program.take_changed());
        assert_eq!(service(&program), Some("program"));
    }

    /// A context is not inherited, and looks for it become rare.
    #[test]
    fn looks_become_rare() {
        let mut origin = Origin::default();
        assert!(origin.is_due(5), "one that was there before is looked at at once");
        origin.say(Some(named("api")));
        let mut child = origin.fork();
        assert!(child.context.declared.is_none());
        assert!(!child.is_due(5) && !child.is_due(SETTLE_NS) && child.is_due(5 + SETTLE_NS));
        let (mut now, mut looks) = (SETTLE_NS, 0);
        while now < 3600 * SETTLE_NS {
            if child.is_due(now) {
                child.looked(now);
                looks += 1;
            }
            now += SETTLE_NS;
        }
        assert!((15..25).contains(&looks), "{looks} looks in an hour");
    }
}
