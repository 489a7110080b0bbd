//! `HEX.bad`: that an object cannot be converted, and why.
//!
//! Three lines of text: the version of the converter; `always`, or the limit that was in the way (`memory 1000`, in
//! the units of [`Bound`]); the reason in words. A marker holds for this version only, and one of a limit only until
//! the limit is higher.

use crate::child::{Bound, ChildLimits};
use crate::convert::ConvertError;

/// Version of what can be converted. To be raised with each change of the converter that may succeed where the last one failed, so that
/// a release that changes nothing there does not have every bad object sent again.
pub(super) const VERSION: &str = "flamekeeper-converter 1";
/// Bytes of a marker that are read.
pub(super) const MAX: u64 = 4096;

/// What a marker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    bound: Option<Bound>,
    pub(super) reason: String,
}

impl Marker {
    pub(super) fn of(error: &ConvertError) -> Self {
        let bound = if let ConvertError::Child(error) = error { error.bound() } else { None };
        let reason = error.to_string().chars().map(|char| if char.is_control() { ' ' } else { char }).take(1000).collect();
        Self { bound, reason }
    }

    pub(super) fn text(&self) -> String {
        let bound = match self.bound {
            None => "always".to_owned(),
            Some(Bound::Memory(bytes)) => format!("memory {bytes}"),
            Some(Bound::Cpu(seconds)) => format!("cpu {seconds}"),
            Some(Bound::Output(bytes)) => format!("output {bytes}"),
        };
        format!("{VERSION}\n{bound}\n{}\n", self.reason)
    }

    /// None for one of another version, and for what is no marker.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let version = lines.next()?;
        let (bound, reason) = (lines.next()?, lines.next()?);
        let number = |value: &str| value.parse().ok();
        let bound = match bound.split_once(' ') {
            None => None,
            Some(("memory", value)) => Some(Bound::Memory(number(value)?)),
            Some(("cpu", value)) => Some(Bound::Cpu(number(value)?)),
            Some(("output", value)) => Some(Bound::Output(number(value)?)),
            Some(_) => return None,
        };
        (version == VERSION).then(|| Self { bound, reason: reason.to_owned() })
    }

    /// Whether it still says something under these limits; none are those of no child.
    pub(super) fn holds(&self, limits: Option<&ChildLimits>) -> bool {
        match (self.bound, limits) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(Bound::Memory(bytes)), Some(limits)) => limits.memory_bytes <= bytes,
            (Some(Bound::Cpu(seconds)), Some(limits)) => limits.cpu.as_secs() <= seconds,
            (Some(Bound::Output(bytes)), Some(limits)) => limits.output_bytes <= bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::ChildError;

    /// A marker reads back as it was, and one of a limit holds until the limit is higher.
    #[test]
    fn markers_round_trip() {
        let unreadable = Marker::of(&ConvertError::Unreadable("a\nb".into()));
        assert_eq!(Marker::read(&unreadable.text()).unwrap(), unreadable);
        assert!(unreadable.reason.ends_with("a b") && unreadable.holds(None));
        let memory = Marker::of(&ConvertError::Child(ChildError::Memory(1000)));
        assert_eq!(Marker::read(&memory.text()).unwrap(), memory);
        let limits = |memory_bytes| ChildLimits { memory_bytes, ..ChildLimits::default() };
        assert!(memory.holds(Some(&limits(1000))) && !memory.holds(Some(&limits(1001))) && !memory.holds(None));
        assert_eq!(Marker::read("flamekeeper-symbolizer 0.0.1\nalways\nx\n"), None);
        assert_eq!(Marker::read(VERSION), None);
    }
}
