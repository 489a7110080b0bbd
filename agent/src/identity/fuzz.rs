//! What the fuzz targets call of this module: texts that a process chose become labels, short and clean.

use flamekeeper_wire::resource::process_context;

use super::choice::{Choice, ProcessLabel};
use super::environ::{self, Declared};
use super::text::MAX_VALUE;
use super::{cgroup, context, stack};

/// Where a foreign address space begins that is all the input.
const BASE: u64 = 0x7ffc_0000;

/// The content of `/proc/PID/environ`, or a copy of a stack at whose top it lies.
pub(crate) fn environ(bytes: &[u8]) {
    let choice: Choice = Choice::default().iter().cloned().chain([ProcessLabel::Variable("ZONE".to_owned())]).collect();
    assert_declared(&environ::declared(bytes, &choice));
    if let Some(environ) = stack::environ(bytes, BASE) {
        assert!(environ.len() <= bytes.len());
        assert_declared(&environ::declared(environ, &choice));
    }
}

/// A path of `/proc/PID/cgroup`.
pub(crate) fn cgroup(bytes: &[u8]) {
    let place = cgroup::place(&String::from_utf8_lossy(bytes));
    if let Some(unit) = &place.unit {
        cgroup::service_of_unit(unit);
    }
    [place.container, place.pod, place.unit, place.slice].iter().flatten().for_each(|text| assert_value(text));
}

/// A process context: the memory that it lies in, the message in it, and the list of mappings that tells where it is.
pub(crate) fn context(bytes: &[u8]) {
    context::find_in(bytes);
    let mut memory = |address: u64, to: &mut [u8]| {
        let at = address.checked_sub(BASE).and_then(|at| usize::try_from(at).ok());
        let from = at.and_then(|at| bytes.get(at..at.checked_add(to.len())?));
        from.map(|from| to.copy_from_slice(from)).is_some()
    };
    let found = context::read(BASE, 0, &mut memory);
    let payload = if let context::Found::Context { payload, .. } = &found { payload } else { bytes };
    if let Some(attributes) = process_context(payload) {
        let pairs = attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        assert_declared(&environ::declared_by_attributes(pairs, &Choice::default()));
    }
}

fn assert_declared(declared: &Declared) {
    [&declared.service, &declared.version].into_iter().flatten().for_each(|text| assert_value(text));
    for (name, value) in declared.labels.iter() {
        assert_value(value);
        assert!(name.len() <= MAX_VALUE && !name.chars().any(char::is_control), "{name:?} is no name of a label");
    }
}

fn assert_value(text: &str) {
    assert!(text.len() <= MAX_VALUE && !text.chars().any(char::is_control), "{text:?} is no label");
}
