use super::*;
use flamekeeper_profile::BuildIdKind;

fn identity(config: IdentityConfig) -> Identity {
    Identity::new(IdentityConfig { host_name: Some("web-1".into()), ..config })
}

fn facts<'a>(pid: u32, exe: &'a str, build_id: Option<&'a BuildId>) -> ProcessFacts<'a> {
    ProcessFacts { pid, comm: "worker\n", exe, build_id }
}

/// A real process's declared service and version come from its environment at exec, and nothing else of it.
#[test]
fn a_process_that_declares_itself() {
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .env("OTEL_SERVICE_NAME", "api")
        .env("OTEL_RESOURCE_ATTRIBUTES", "service.version=1%2E4,other=x")
        .env("SECRET_TOKEN", "hunter2")
        .spawn()
        .unwrap();
    let identity = identity(IdentityConfig { labels: Labels::new().with("env", "prod"), ..IdentityConfig::default() });
    // The environment is there only at the end of the child's exec, shortly after its new name.
    let environ = format!("/proc/{}/environ", child.id());
    let is_there = |bytes: Vec<u8>| bytes.windows(7).any(|part| part == b"hunter2");
    while !std::fs::read(&environ).is_ok_and(is_there) {
        std::thread::yield_now();
    }
    let labels = identity.process(&facts(child.id(), "/usr/bin/sleep", None));
    child.kill().unwrap();
    child.wait().unwrap();
    let pid = child.id().to_string();
    let seen: Vec<_> = labels.iter().filter(|(name, _)| !["unit", "container"].contains(name)).collect();
    let want = [
        ("comm", "worker"),
        ("env", "prod"),
        ("exe", "/usr/bin/sleep"),
        ("host", "web-1"),
        ("pid", &pid),
        ("service", "api"),
        ("version", "1.4"),
    ];
    assert_eq!(seen, want);
    // The same process, gone: known by its executable.
    let gone = identity.process(&facts(child.id(), "/usr/bin/sleep (deleted)", None));
    assert_eq!((gone.get("service"), gone.get("exe")), ("sleep", "/usr/bin/sleep"));
}

/// The order of sources: declared, container, unit, executable; version falls back to the build id.
#[test]
fn order_of_sources() {
    let build_id = BuildId::new(BuildIdKind::Gnu, &[1, 2]).unwrap();
    let facts = facts(1, "/opt/python3.11", Some(&build_id));
    let unit = cgroup::Place { unit: Some("web.service".into()), container: None };
    let container = cgroup::Place { container: Some("c0ffee".into()), unit: None };
    let says = Declared { service: Some("api".into()), version: None };
    let context = Context { declared: Declared { service: Some("ctx".into()), version: Some("9".into()) } };
    let none = (Context::default(), Declared::default(), cgroup::Place::default());
    let get = |context: &Context, declared: &Declared, place: &cgroup::Place| {
        let labels = name(Labels::new(), &facts, context, declared, place);
        (labels.get("service").to_owned(), labels.get("version").to_owned())
    };
    let pair = |service: &str, version: &str| (service.to_owned(), version.to_owned());
    assert_eq!(get(&none.0, &none.1, &none.2), pair("python3.11", "gnu:0102"));
    assert_eq!(get(&none.0, &none.1, &unit), pair("web", "gnu:0102"));
    assert_eq!(get(&none.0, &none.1, &container), pair("c0ffee", "gnu:0102"));
    assert_eq!(get(&none.0, &says, &container), pair("api", "gnu:0102"));
    assert_eq!(get(&context, &says, &container), pair("ctx", "9"));
}

/// Kernel threads are one service, told apart by their name; the host has its facts.
#[test]
fn kernel_threads_and_host() {
    let identity = identity(IdentityConfig::default());
    let labels = identity.process(&ProcessFacts { pid: 2, comm: "kthreadd", exe: "", build_id: None });
    assert_eq!((labels.get("service"), labels.get("comm"), labels.get("exe")), ("kernel", "kthreadd", ""));
    let host = identity.host_labels();
    assert_eq!(host.get("host"), "web-1");
    for name in [HOST_ARCH, OS_VERSION, AGENT_VERSION] {
        assert!(!host.get(name).is_empty(), "{name}");
    }
}

/// Exclusion matches names of executables, threads and units, with a star for the rest.
#[test]
fn exclusion() {
    let exclude = Exclude { processes: vec!["backup".into(), "test-*".into()], units: vec!["cron.*".into()] };
    let identity = identity(IdentityConfig { exclude, ..IdentityConfig::default() });
    let labels = |name: &str, value: &str| Labels::new().with(name, value);
    assert!(identity.excludes(&labels("exe", "/usr/bin/backup")) && identity.excludes(&labels("comm", "test-1")));
    assert!(identity.excludes(&labels("unit", "cron.service")));
    assert!(!identity.excludes(&labels("exe", "/backup/run")) && !identity.excludes(&Labels::new()));
}

/// Hostile names stay within bounds and a call on this very process is quick.
#[test]
fn bounded_and_quick() {
    let identity = identity(IdentityConfig::default());
    let long = format!("/{}\n", "x".repeat(100_000));
    let labels = identity.process(&ProcessFacts { pid: u32::MAX, comm: &long, exe: &long, build_id: None });
    assert!(labels.iter().all(|(_, value)| value.len() <= 4096 && !value.contains('\n')));
    let start = std::time::Instant::now();
    for _ in 0..200 {
        std::hint::black_box(identity.process(&facts(std::process::id(), "/bin/x", None)));
    }
    let each = start.elapsed() / 200;
    // The budget is 200 us; a debug build on a busy machine gets ten times that.
    assert!(each < std::time::Duration::from_millis(2), "{each:?}");
}
