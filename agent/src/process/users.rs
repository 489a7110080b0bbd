//! Users whose processes are left alone: of such a process nothing is read but whom it belongs to.

use procfs::process::Process;

/// The configured users, by real user id in the agent's user namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct HiddenUsers(Vec<u32>);

impl HiddenUsers {
    pub(crate) const fn new(ids: Vec<u32>) -> Self {
        Self(ids)
    }

    /// Whether there is none, and nobody needs to be asked.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a process belongs to one of them now (`Uid:` in `/proc/PID/status`, its first number); none where it is gone.
    pub(crate) fn own(&self, pid: u32) -> Option<bool> {
        let status = Process::new(i32::try_from(pid).ok()?).ok()?.status().ok()?;
        Some(self.0.contains(&status.ruid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This very process belongs to its user and to no other; one that cannot be asked to nobody.
    #[test]
    fn asks_the_kernel() {
        // SAFETY: getuid(2) takes nothing and always succeeds.
        let own = unsafe { libc::getuid() };
        let pid = std::process::id();
        assert_eq!(HiddenUsers::new(vec![own + 1, own]).own(pid), Some(true));
        assert_eq!(HiddenUsers::new(vec![own + 1]).own(pid), Some(false));
        assert_eq!(HiddenUsers::new(vec![own]).own(5_000_001), None);
    }
}
