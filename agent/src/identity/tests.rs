use std::sync::Arc;

use super::observer::Observer;
use super::*;
use crate::record::{Sample, Task};
use flamekeeper_profile::BuildIdKind;

fn identity(config: IdentityConfig) -> Identity {
    Identity::new(IdentityConfig { host_name: Some("web-1".into()), ..config })
}

fn facts<'a>(pid: u32, exe: &'a str, build_id: Option<&'a BuildId>) -> ProcessFacts<'a> {
    ProcessFacts { pid, comm: "worker\n", exe, build_id }
}

fn choice(labels: &[&str]) -> Choice {
    labels.iter().map(|label| label.parse().unwrap()).collect()
}

fn sample(pid: u32, time: u64, cgroup: Option<u64>) -> Sample<'static> {
    Sample { task: Task { pid, tid: pid }, time, cpu: 0, callchain: Default::default(), regs: None, stack: &[], stack_asked: 0, cgroup }
}

/// A real process's declared service and version come from its environment at exec, and nothing else of it. When it is
/// gone its child that could not be asked is still known by them.
#[test]
fn a_process_that_declares_itself() {
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .env("OTEL_SERVICE_NAME", "api")
        .env("OTEL_RESOURCE_ATTRIBUTES", "service.version=1%2E4,deployment.environment.name=prod,other=x")
        .env("SECRET_TOKEN", "hunter2")
        .env("TEAM", "blue")
        .spawn()
        .unwrap();
    let process_labels = choice(&["pid", "exe", "comm", "env.TEAM", "deployment.environment.name"]);
    let labels = Labels::new().with("rack", "7");
    let identity = identity(IdentityConfig { labels, process_labels, ..IdentityConfig::default() });
    // The environment is there only at the end of the child's exec, shortly after its new name.
    let environ = format!("/proc/{}/environ", child.id());
    let is_there = |bytes: Vec<u8>| bytes.windows(7).any(|part| part == b"hunter2");
    while !std::fs::read(&environ).is_ok_and(is_there) {
        std::thread::yield_now();
    }
    let observer = Observer::new(identity.choice().clone());
    let mut origin = Origin::default();
    observer.settle(&mut origin, child.id());
    let named = identity.process(&facts(child.id(), "/usr/bin/sleep", None), &origin);
    child.kill().unwrap();
    child.wait().unwrap();
    let pid = child.id().to_string();
    let want = [
        ("comm", "worker"),
        ("env.TEAM", "blue"),
        ("environment", "prod"),
        ("exe", "/usr/bin/sleep"),
        ("host", "web-1"),
        ("pid", &pid),
        ("rack", "7"),
        ("service", "api"),
        ("version", "1.4"),
    ];
    assert_eq!(named.labels.iter().collect::<Vec<_>>(), want);
    // Its child, gone before it could be asked.
    let mut brief = origin.fork().exec();
    observer.settle(&mut brief, 4_194_305);
    let named = identity.process(&facts(4_194_305, "/usr/bin/brief (deleted)", None), &brief);
    assert_eq!((named.labels.get("service"), named.labels.get("exe")), ("api", "/usr/bin/brief"));
    // And one of which nothing is known.
    let named = identity.process(&facts(4_194_305, "/usr/bin/brief", None), &Origin::default());
    assert_eq!((named.labels.get("service"), named.labels.get("version")), ("brief", ""));
}

/// The order of sources: process context, environment, container, unit, executable; version falls back to the build id.
#[test]
fn order_of_sources() {
    let identity = identity(IdentityConfig::default());
    let build_id = BuildId::new(BuildIdKind::Gnu, &[1, 2]).unwrap();
    let facts = facts(1, "/opt/python3.11", Some(&build_id));
    let get = |origin: &Origin| {
        let named = identity.process(&facts, origin);
        (named.labels.get("service").to_owned(), named.labels.get("version").to_owned())
    };
    let pair = |service: &str, version: &str| (service.to_owned(), version.to_owned());
    let says = |service: &str, version: Option<&str>| Declared {
        service: Some(service.into()),
        version: version.map(str::to_owned),
        ..Declared::default()
    };
    let mut origin = Origin::default();
    assert_eq!(get(&origin), pair("python3.11", "gnu:0102"));
    origin.enter(Some(Arc::new(Place { unit: Some("web.service".into()), ..Place::default() })));
    assert_eq!(get(&origin), pair("web", "gnu:0102"));
    origin.enter(Some(Arc::new(Place { container: Some("c0ffee".into()), pod: Some("u-1".into()), ..Place::default() })));
    assert_eq!(get(&origin), pair("c0ffee", "gnu:0102"));
    assert_eq!(identity.process(&facts, &origin).labels.get("pod"), "u-1");
    origin.own_environ(says("api", None));
    assert_eq!(get(&origin), pair("api", "gnu:0102"));
    origin.say(Some(says("ctx", Some("9"))));
    assert_eq!(get(&origin), pair("ctx", "9"));
    origin.say(None);
    assert_eq!(get(&origin), pair("api", "gnu:0102"));
}

/// A sample's cgroup says where its process is, also when the process is gone, and when it moves.
#[test]
fn cgroups_of_samples() {
    let identity = identity(IdentityConfig::default());
    let mut observer = Observer::new(Choice::default());
    observer.cgroup_made(1 << 60, b"/system.slice/web.service");
    observer.cgroup_made(2 << 60, b"/system.slice/db.service");
    let mut origin = Origin::default().fork();
    let gone = 4_194_305;
    let unit = |origin: &Origin| identity.process(&facts(gone, "/bin/x", None), origin).labels.get("unit").to_owned();
    observer.sample(&mut origin, &sample(gone, 1, Some(1 << 60)));
    observer.settle(&mut origin, gone);
    assert_eq!((unit(&origin).as_str(), origin.take_changed()), ("web.service", true));
    observer.sample(&mut origin, &sample(gone, 2, Some(1 << 60)));
    assert!(!origin.has_changed());
    observer.sample(&mut origin, &sample(gone, 3, Some(2 << 60)));
    assert_eq!((unit(&origin).as_str(), origin.take_changed()), ("db.service", true));
    // Its child's samples need tell nothing; one that tells a cgroup of which nothing is known leaves the parent's place.
    let mut child = origin.fork();
    assert_eq!(unit(&child), "db.service");
    child.cgroup = None;
    observer.sample(&mut child, &sample(gone, 4, Some(3 << 60)));
    assert_eq!(unit(&child), "db.service");
}

/// Only the chosen labels are set, and exclusion does not need them.
#[test]
fn choice_and_exclusion() {
    let exclude = Exclude {
        processes: vec!["backup".into(), "test-*".into()],
        units: vec!["cron.*".into()],
        slices: vec!["user-1000.slice".into()],
        ..Exclude::default()
    };
    let identity = identity(IdentityConfig { exclude, process_labels: choice(&["slice"]), ..IdentityConfig::default() });
    let in_slice = |comm: &str, exe: &str, unit: &str, slice: &str| {
        let mut origin = Origin::default();
        let place = Place { unit: Some(unit.to_owned()), slice: Some(slice.to_owned()), ..Place::default() };
        origin.enter(Some(Arc::new(place)));
        identity.process(&ProcessFacts { pid: 7, comm, exe, build_id: None }, &origin)
    };
    let named = |comm: &str, exe: &str, unit: &str| in_slice(comm, exe, unit, "system.slice");
    assert!(in_slice("x", "/x", "session-1.scope", "user-1000.slice").excluded);
    assert!(!in_slice("x", "/x", "session-1.scope", "user-100.slice").excluded);
    assert!(named("x", "/usr/bin/backup", "a.service").excluded && named("test-1", "/x", "a.service").excluded);
    assert!(named("x", "/x", "cron.service").excluded);
    let kept = named("x", "/backup/run", "a.service");
    let labels: Vec<_> = kept.labels.iter().collect();
    assert_eq!((kept.excluded, labels), (false, vec![("host", "web-1"), ("service", "a"), ("slice", "system.slice")]));
}

/// Kernel threads are one service, told apart by their name; the host has its facts.
#[test]
fn kernel_threads_and_host() {
    let identity = identity(IdentityConfig::default());
    let facts = ProcessFacts { pid: 2, comm: "kthreadd", exe: "", build_id: None };
    let labels = identity.process(&facts, &Origin::default()).labels;
    assert_eq!((labels.get("service"), labels.get("comm"), labels.get("exe")), ("kernel", "kthreadd", ""));
    let host = identity.host_labels();
    assert_eq!(host.get("host"), "web-1");
    for name in [HOST_ARCH, OS_VERSION, AGENT_VERSION] {
        assert!(!host.get(name).is_empty(), "{name}");
    }
}

/// Hostile names stay within bounds.
#[test]
fn hostile_names_are_bounded() {
    let identity = identity(IdentityConfig::default());
    let long = format!("/{}\n", "x".repeat(100_000));
    let hostile = ProcessFacts { pid: u32::MAX, comm: &long, exe: &long, build_id: None };
    let named = identity.process(&hostile, &Origin::default());
    assert!(named.labels.iter().all(|(_, value)| value.len() <= 4096 && !value.contains('\n')));
}
