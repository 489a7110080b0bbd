//! Labels and build ids as attributes of the OpenTelemetry semantic conventions.

use flamekeeper_profile::{BuildIdKind, label};

/// Our label, and the attribute that carries it.
const NAMES: [(&str, &str); 8] = [
    (label::SERVICE, "service.name"),
    (label::VERSION, "service.version"),
    (label::HOST, "host.name"),
    (label::PID, "process.pid"),
    (label::EXE, "process.executable.path"),
    (label::COMM, "process.executable.name"),
    (label::UNIT, "systemd.unit"),
    (label::CONTAINER, "container.id"),
];

/// The attribute that carries a label: its own name where the conventions have none.
pub(super) fn attribute_of(label: &str) -> &str {
    NAMES.iter().find(|(ours, _)| *ours == label).map_or(label, |(_, attribute)| attribute)
}

/// The label that an attribute sets.
pub(super) fn label_of(attribute: &str) -> &str {
    NAMES.iter().find(|(_, theirs)| *theirs == attribute).map_or(attribute, |(label, _)| label)
}

/// Whether an attribute that stands on a sample tells which process it is of, so that samples with different values
/// belong to different series. Other sample attributes (thread, CPU) do not split series.
pub(super) fn splits_series(attribute: &str) -> bool {
    label_of(attribute) != attribute
}

/// The attribute of a mapping that carries a build id of this kind.
pub(super) const fn build_id_attribute(kind: BuildIdKind) -> &'static str {
    match kind {
        BuildIdKind::Gnu => "process.executable.build_id.gnu",
        BuildIdKind::Go => "process.executable.build_id.go",
        BuildIdKind::Htlhash => "process.executable.build_id.htlhash",
    }
}

/// The kind of build id that an attribute carries. The order is that of preference where a mapping has several.
pub(super) const BUILD_ID_KINDS: [BuildIdKind; 3] = [BuildIdKind::Gnu, BuildIdKind::Go, BuildIdKind::Htlhash];
