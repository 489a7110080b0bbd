//! Labels and build ids as attributes of the OpenTelemetry semantic conventions.

use flamekeeper_profile::{BuildIdKind, label};

/// Our label, and the attribute that carries it.
const NAMES: [(&str, &str); 13] = [
    (label::SERVICE, "service.name"),
    (label::VERSION, "service.version"),
    (label::HOST, "host.name"),
    (label::PID, "process.pid"),
    (label::EXE, "process.executable.path"),
    (label::COMM, "process.executable.name"),
    (label::UNIT, "systemd.unit"),
    (label::SLICE, "systemd.slice"),
    (label::CONTAINER, "container.id"),
    (label::POD, "k8s.pod.uid"),
    (label::THREAD, "thread.name"),
    (label::INSTANCE, "service.instance.id"),
    (label::ENVIRONMENT, "deployment.environment.name"),
];

/// The attribute that carries a label: its own name where the conventions have none.
pub(super) fn attribute_of(label: &str) -> &str {
    NAMES.iter().find(|(ours, _)| *ours == label).map_or(label, |(_, attribute)| attribute)
}

/// The label that an attribute sets.
#[must_use]
pub fn label_of(attribute: &str) -> &str {
    NAMES.iter().find(|(_, theirs)| *theirs == attribute).map_or(attribute, |(label, _)| label)
}

/// Whether an attribute that stands on a sample tells which process it is of, so that samples with different values
/// belong to different series. Other sample attributes (CPU, and a thread's name, which senders put on every sample) do
/// not split series: a label `thread` comes from a resource, of a sender that was told to split by it.
pub(super) fn splits_series(attribute: &str) -> bool {
    let label = label_of(attribute);
    label != attribute && label != label::THREAD
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
