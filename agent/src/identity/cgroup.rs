//! The container and the systemd unit that a cgroup path names.
//!
//! Paths as the runtimes make them: `/docker/ID`, `/system.slice/docker-ID.scope`,
//! `/kubepods.slice/…/cri-containerd-ID.scope`, `/kubepods/besteffort/podUID/ID`, `…/crio-ID.scope`,
//! `/machine.slice/libpod-ID.scope`, `/lxc.payload.NAME`. Ids are 64 hexadecimal digits; runtimes' helper scopes
//! (`crio-conmon-ID.scope`, `libpod-conmon-ID.scope`) are not the container itself. Units: systemd.unit(5).

use super::text::{MAX_VALUE, clean, unit_decode};

/// What a process's cgroup says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The container's id.
    pub(super) container: Option<String>,
    /// The uid of the Kubernetes pod.
    pub(super) pod: Option<String>,
    /// The systemd unit, unescaped; absent in a container, whose units are not the host's.
    pub(super) unit: Option<String>,
    /// The innermost systemd slice, unescaped; absent in a container or pod.
    pub(super) slice: Option<String>,
}

impl Place {
    /// Whether it says nothing.
    pub(super) const fn is_empty(&self) -> bool {
        self.container.is_none() && self.pod.is_none() && self.unit.is_none() && self.slice.is_none()
    }
}

/// Reads one cgroup path.
pub(super) fn place(path: &str) -> Place {
    // A path may be 4 KiB; its parts beyond the 64th are no runtime's.
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).take(64).collect();
    // The innermost container is the process's own (docker in docker).
    let container = parts.iter().rev().find_map(|part| container(part)).map(|id| clean(id.as_bytes(), MAX_VALUE));
    let pod = pod(&parts);
    if container.is_some() || pod.is_some() {
        return Place { container, pod, ..Place::default() };
    }
    // The innermost unit: those of a user's manager lie inside user@1000.service.
    let innermost = |kinds: &[&str]| parts.iter().rev().find_map(|part| unit(part, kinds));
    Place { unit: innermost(&[".service", ".scope"]), slice: innermost(&[".slice"]), ..Place::default() }
}

/// The pod's uid: `podUID` below a part that names the pods' own cgroup (cgroupfs driver), or `kubepods-burstable-podUID.slice`
/// with `_` for `-` (systemd driver, in whose names `-` stands for `/`).
fn pod(parts: &[&str]) -> Option<String> {
    let of_kubelet = |part: &str| part.contains("kubepods");
    parts.iter().enumerate().rev().find_map(|(at, part)| {
        let uid = match part.strip_suffix(".slice").filter(|name| of_kubelet(name)) {
            Some(name) => name.rsplit_once("-pod")?.1.replace('_', "-"),
            None => part.strip_prefix("pod").filter(|_| at > 0 && parts[..at].iter().any(|part| of_kubelet(part)))?.to_owned(),
        };
        let sound = (1..=64).contains(&uid.len()) && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        sound.then_some(uid)
    })
}

/// The container's id in one part of a path.
fn container(part: &str) -> Option<&str> {
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return Some(name).filter(|name| !name.is_empty());
    }
    let name = part.strip_suffix(".scope").unwrap_or(part);
    if name.contains("conmon") {
        return None;
    }
    // `docker-ID`, and the `SLICE:RUNTIME:ID` of runc with systemd names given to the cgroupfs driver.
    let id = name.rsplit(['-', ':']).next()?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// The unit of one of these kinds in one part of a path.
fn unit(part: &str, kinds: &[&str]) -> Option<String> {
    if !kinds.iter().any(|kind| part.ends_with(kind)) {
        return None;
    }
    // systemd puts a `_` before names that would clash with the kernel's (`_cgroup.service`).
    let name = part.strip_prefix('_').unwrap_or(part);
    Some(clean(&unit_decode(name.as_bytes()), MAX_VALUE)).filter(|name| !name.is_empty())
}

/// The name by which a unit is known as a service: `nginx` for `nginx.service`, the application's id for
/// `app-gnome-org.gnome.Terminal-1234.scope` and `app-flatpak-org.example.App@hash.service` (XDG desktop
/// specification for systemd: `app[-LAUNCHER]-ID[@RANDOM].service`, `app[-LAUNCHER]-ID-RANDOM.scope`).
pub(super) fn service_of_unit(unit: &str) -> &str {
    let (name, scope) = match unit.strip_suffix(".service") {
        Some(name) => (name, false),
        None => (unit.strip_suffix(".scope").unwrap_or(unit), true),
    };
    let Some(app) = name.strip_prefix("app-") else { return name };
    let app = if scope { app.rsplit_once('-').map_or(app, |(id, _)| id) } else { app.split_once('@').map_or(app, |(id, _)| id) };
    // An application's id has dots; a launcher has none.
    app.split_once('-').filter(|(launcher, _)| !launcher.contains('.')).map_or(app, |(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// Paths of every runtime give the container's id, and no unit beside it.
    #[test]
    fn containers() {
        let paths = [
            "/docker/ID",
            "/system.slice/docker-ID.scope",
            "/system.slice/docker-ID.scope/init.scope",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-ID.scope",
            "/kubepods/besteffort/pod0cc5-11/ID",
            "/kubepods.slice/kubepods-pod1.slice/crio-ID.scope/container",
            "/machine.slice/libpod-ID.scope/container",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            "/kubelet.slice/kubelet-kubepods.slice:cri-containerd:ID",
            "/docker/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/docker/ID",
        ];
        for path in paths {
            let place = place(&path.replace("ID", ID));
            assert_eq!((place.container.as_deref(), place.unit, place.slice), (Some(ID), None, None), "{path}");
        }
        assert_eq!(place("/lxc.payload.web/system.slice/x.service").container.as_deref(), Some("web"));
        let conmon = place(&format!("/machine.slice/libpod-conmon-{ID}.scope"));
        assert_eq!(conmon.container, None);
    }

    /// Units come unescaped, the innermost one, from system and user managers.
    #[test]
    fn units() {
        let cases = [
            ("/system.slice/nginx.service", "nginx.service", "nginx"),
            ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", "getty@tty1"),
            (r"/system.slice/dbus\x2dbroker.service", "dbus-broker.service", "dbus-broker"),
            ("/user.slice/user-1000.slice/session-2.scope", "session-2.scope", "session-2"),
            ("/user.slice/user-1000.slice/user@1000.service/init.scope", "init.scope", "init"),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-org.gnome.Terminal-4321.scope",
                "app-gnome-org.gnome.Terminal-4321.scope",
                "org.gnome.Terminal",
            ),
            (
                r"/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.kde.dolphin@1f3.service",
                "app-org.kde.dolphin@1f3.service",
                "org.kde.dolphin",
            ),
            ("/system.slice/postgres.service/worker", "postgres.service", "postgres"),
        ];
        for (path, unit, service) in cases {
            let place = place(path);
            assert_eq!((place.unit.as_deref(), place.container), (Some(unit), None), "{path}");
            assert_eq!(service_of_unit(unit), service, "{path}");
        }
    }

    /// Pods by both drivers, with and without a container below, nested and not; what only looks like one is none.
    #[test]
    fn pods() {
        let uid = "0cc5a2a1-1b1f-4d5e-8a2b-0123456789ab";
        let escaped = uid.replace('-', "_");
        let paths = [
            format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{escaped}.slice/cri-containerd-{ID}.scope"),
            format!("/kubepods.slice/kubepods-pod{escaped}.slice/crio-{ID}.scope/container"),
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{escaped}.slice/x"
            ),
            format!("/kubepods/burstable/pod{uid}/{ID}"),
            format!("/kubepods/pod{uid}"),
            format!("/system.slice/docker-{ID}.scope/kubepods/besteffort/pod{uid}/{ID}"),
        ];
        for path in paths {
            let place = place(&path);
            assert_eq!((place.pod.as_deref(), place.unit), (Some(uid), None), "{path}");
        }
        for path in ["/podman/x", "/user.slice/pod1", "/kubepods/podx y", "/kubepods/pod", "/kubepods.slice/kubepods-burstable.slice"] {
            assert_eq!(place(path).pod, None, "{path}");
        }
    }

    /// Paths that name nothing, and hostile ones.
    #[test]
    fn nothing() {
        for path in ["", "/", "///", "/.."] {
            assert!(place(path).is_empty(), "{path}");
        }
        let slice = |path: &str| (place(path).unit, place(path).slice);
        assert_eq!(slice("/user.slice/user-1000.slice"), (None, Some("user-1000.slice".to_owned())));
        assert_eq!(slice(r"/system.slice/system-my\x2dapp.slice/x.service").1.as_deref(), Some("system-my-app.slice"));
        let hostile = place(&format!("/{}\u{1b}.service", "x".repeat(4000))).unit.unwrap();
        assert!(hostile.len() <= MAX_VALUE && !hostile.contains('\u{1b}'));
    }
}
