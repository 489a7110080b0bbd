//! The packages as files, and what they bring for others' monitoring.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use flamekeeper_testing::machine::{Format, build_packages, copy_files};
use flamekeeper_testing::metadata;
use flamekeeper_testing::scratch::Scratch;
use flamekeeper_testing::tools::require;

fn dpkg_deb(arguments: &[&str], package: &Path) -> String {
    let output = Command::new(require("dpkg-deb")).args(arguments).arg(package).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Each package has its program, unit, configuration, man page and completions, belongs to root, names its configuration as such, and
/// is the same when it is built again.
#[test]
fn packages_hold_what_they_should() {
    let scratch = Scratch::new("packages");
    let (first, second) = (scratch.join("1"), scratch.join("2"));
    build_packages(Format::Deb, &first, "1.2.3");
    build_packages(Format::Deb, &second, "1.2.3");
    let expected: [(&str, &[&str]); 3] = [
        ("flamekeeper-heap", &["usr/lib/flamekeeper/libflamekeeper_heap.so", "usr/share/doc/flamekeeper-heap/copyright"]),
        (
            "flamekeeper-agent",
            &[
                "usr/bin/flamekeeper-agent",
                "usr/lib/systemd/system/flamekeeper-agent.service",
                "usr/lib/sysctl.d/60-flamekeeper-agent.conf",
                "etc/flamekeeper/agent.toml",
                "usr/share/man/man8/flamekeeper-agent.8.gz",
                "usr/share/doc/flamekeeper-agent/copyright",
            ],
        ),
        (
            "flamekeeper",
            &[
                "usr/bin/flamekeeper",
                "usr/lib/systemd/system/flamekeeper-collector.service",
                "etc/flamekeeper/collector.toml",
                "usr/share/man/man1/flamekeeper.1.gz",
                "usr/share/man/man1/flamekeeper-doctor.1.gz",
                "usr/share/doc/flamekeeper/examples/alerts.yaml",
            ],
        ),
    ];
    for (name, files) in expected {
        let file = |folder: &Path| {
            let made = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            made.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{name}_1.2.3_"))).unwrap()
        };
        let package = file(&first);
        assert_eq!(std::fs::read(&package).unwrap(), std::fs::read(file(&second)).unwrap(), "{name} is another when built again");
        let list = dpkg_deb(&["--contents"], &package);
        assert!(list.lines().all(|line| line.contains(" root/root ")), "{list}");
        assert!(dpkg_deb(&["--field"], &package).contains("Version: 1.2.3\n"));
        assert!(!list.contains("package-files") && !list.contains("convert-symbols"), "hidden commands have no page: {list}");
        let program = list.contains("./usr/bin/");
        let completions = ["bash-completion/completions/", "zsh/vendor-completions/_"].map(|path| format!("usr/share/{path}{name}"));
        let completions = if program { &completions[..] } else { &[] };
        for path in files.iter().copied().chain(completions.iter().map(String::as_str)) {
            assert!(list.lines().any(|line| line.ends_with(&format!(" ./{path}"))), "{name} lacks {path}: {list}");
        }
        let info = dpkg_deb(&["--info"], &package);
        assert!(["conffiles", "postinst", "postrm"].iter().all(|part| info.contains(part) == program), "{info}");
    }
}

fn rpm(arguments: &[&str], package: &Path) -> String {
    let output = Command::new(require("rpm")).args(arguments).arg(package).output().unwrap();
    assert!(output.status.success(), "{arguments:?} {}: {output:?}", package.display());
    String::from_utf8(output.stdout).unwrap()
}

/// Every RPM package holds what Debian's does, and says which files are configuration; it is installed, upgraded and removed on the
/// files of a machine: a changed configuration outlives both, and nothing else stays.
#[test]
fn rpms_come_and_go() {
    let scratch = Scratch::new("rpms");
    let (first, second, debs, root) = (scratch.join("1"), scratch.join("2"), scratch.join("debs"), scratch.join("root"));
    build_packages(Format::Rpm, &first, "1.2.3");
    build_packages(Format::Rpm, &second, "1.2.4");
    build_packages(Format::Deb, &debs, "1.2.3");
    let rpm_of = |folder: &Path, name: &str, version: &str| folder.join(format!("{name}-{version}-1.{}.rpm", std::env::consts::ARCH));
    let files: BTreeSet<String> = std::fs::read_dir(&debs)
        .unwrap()
        .flat_map(|deb| {
            let list = dpkg_deb(&["--contents"], &deb.unwrap().path());
            let paths = list
                .lines()
                .filter_map(|line| line.split(" ./").nth(1))
                .filter(|path| !path.is_empty() && !path.ends_with('/'))
                .map(str::to_owned);
            paths.map(|path| format!("/{}", path.replace("vendor-completions", "site-functions"))).collect::<Vec<_>>()
        })
        .collect();
    let names = ["flamekeeper-agent", "flamekeeper", "flamekeeper-heap"];
    let listed = names.map(|name| rpm(&["-qp", "--queryformat", "[%{FILEMODES:perms} %{FILENAMES}\n]"], &rpm_of(&first, name, "1.2.3")));
    let listed = listed.concat();
    let own = listed.lines().filter(|line| !line.starts_with('d')).map(|line| line.split_once(' ').unwrap().1.to_owned());
    assert_eq!(own.collect::<BTreeSet<_>>(), files);
    assert_eq!(rpm(&["-qp", "--configfiles"], &rpm_of(&first, "flamekeeper-agent", "1.2.3")).trim(), "/etc/flamekeeper/agent.toml");

    copy_files(&root);
    let machine = root.to_str().unwrap();
    let unit = root.join("etc/systemd/system/multi-user.target.wants/flamekeeper-agent.service");
    let configuration = root.join("etc/flamekeeper/agent.toml");
    // The root has Debian's packages, which rpm does not know of.
    for name in names {
        rpm(&["--root", machine, "--install", "--nodeps"], &rpm_of(&first, name, "1.2.3"));
    }
    assert!(unit.is_symlink() && root.join("usr/bin/flamekeeper").is_file());
    std::fs::write(&configuration, "# changed\n").unwrap();
    rpm(&["--root", machine, "--upgrade", "--nodeps"], &rpm_of(&second, "flamekeeper-agent", "1.2.4"));
    assert_eq!(std::fs::read_to_string(&configuration).unwrap(), "# changed\n");
    assert!(unit.is_symlink());
    for name in names {
        rpm(&["--root", machine, "--erase"], Path::new(name));
    }
    let found = Command::new(require("find")).arg(&root).args(["-name", "*flamekeeper*"]).output().unwrap();
    assert_eq!(String::from_utf8(found.stdout).unwrap().trim(), root.join("etc/flamekeeper").to_str().unwrap());
    assert_eq!(std::fs::read_to_string(root.join("etc/flamekeeper/agent.toml.rpmsave")).unwrap(), "# changed\n");
}

/// The archive is whole, and its script installs into the files of a machine, upgrades and removes: nothing changes when it is run twice, a
/// changed configuration outlives all but a purge, and nothing else stays. (Programs built for debugging are not linked statically:
/// `./dev tarball` refuses any that is not.)
#[test]
fn archives_come_and_go() {
    let scratch = Scratch::new("tarball");
    let (out, root) = (scratch.join("out"), scratch.join("root"));
    build_packages(Format::Tarball, &out, "1.2.3");
    std::fs::create_dir(&root).unwrap();
    let shell = |line: &str| {
        let output = Command::new("sh").args(["-ec", line]).current_dir(&out).env("ROOT", &root).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), said)
    };
    let must = |line: &str| {
        let (done, said) = shell(line);
        assert!(done, "{line}: {said}");
        said
    };
    must("sha256sum -c *.sha256 && tar xf *.tar.gz && mv flamekeeper-1.2.3-*-linux archive");
    let install = |arguments: &str| must(&format!("archive/install.sh --root \"$ROOT\" {arguments}"));
    let files = || must("cd $ROOT && find . ! -type d | sort");
    let (done, said) = shell("archive/install.sh --root \"$ROOT\"");
    assert!(!done && said.contains("--agent, --collector, or both"), "{said}");
    install("--agent --collector --heap --prefix=/opt/flame");
    let first = files();
    install("--agent --collector --heap --prefix=/opt/flame");
    assert_eq!(files(), first);
    for file in [
        "etc/flamekeeper/agent.toml",
        "etc/flamekeeper/collector.toml",
        "etc/sysctl.d/60-flamekeeper-agent.conf",
        "etc/systemd/system/multi-user.target.wants/flamekeeper-agent.service",
        "etc/systemd/system/multi-user.target.wants/flamekeeper-collector.service",
        "opt/flame/lib/flamekeeper/libflamekeeper_heap.so",
        "opt/flame/share/man/man8/flamekeeper-agent.8.gz",
        "opt/flame/share/bash-completion/completions/flamekeeper",
    ] {
        assert!(first.lines().any(|line| line == format!("./{file}")), "no {file} in {first}");
    }
    for program in ["flamekeeper", "flamekeeper-agent"] {
        assert!(must(&format!("$ROOT/opt/flame/bin/{program} --version")).starts_with(program));
    }
    let unit = std::fs::read_to_string(root.join("etc/systemd/system/flamekeeper-agent.service")).unwrap();
    assert!(unit.contains("ExecStart=/opt/flame/bin/flamekeeper-agent ") && !unit.contains("/usr/bin/"), "{unit}");

    let configuration = root.join("etc/flamekeeper/agent.toml");
    std::fs::write(&configuration, "# changed\n").unwrap();
    must("echo '# a new default' >>archive/agent/etc/flamekeeper/agent.toml && rm archive/agent/usr/share/man/man8/*");
    let said = install("--agent --prefix=/opt/flame");
    assert!(said.contains("kept /etc/flamekeeper/agent.toml"), "{said}");
    assert!(std::fs::read_to_string(root.join("etc/flamekeeper/agent.toml.new")).unwrap().ends_with("# a new default\n"));
    assert!(!root.join("opt/flame/share/man/man8/flamekeeper-agent.8.gz").exists(), "a file of the version before is left");
    install("--uninstall --prefix=/opt/flame");
    assert_eq!(files().trim(), "./etc/flamekeeper/agent.toml\n./etc/flamekeeper/agent.toml.new");
    assert_eq!(std::fs::read_to_string(&configuration).unwrap(), "# changed\n");
    install("--agent --prefix=/opt/flame --no-start");
    must("mkdir -p $ROOT/var/lib/private/flamekeeper-agent/spool");
    install("--uninstall --purge --prefix=/opt/flame");
    assert_eq!(must("find $ROOT -name '*flamekeeper*'"), "");
}

/// The alert rules and the dashboard ask for metrics that the agent serves, and the manual explains them all.
#[test]
fn monitoring_names_metrics_that_exist() {
    let root = metadata::root();
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let source = read("agent/src/metrics/text.rs");
    let quoted = |line: &str| line.split('"').nth(1).map(str::to_owned);
    let served: BTreeSet<String> =
        source.lines().filter(|line| line.contains("page.gauge(\"") || line.contains("page.counter(\"")).filter_map(quoted).collect();
    assert!(served.len() > 20, "{served:?}");
    for path in ["packaging/monitoring/alerts.yaml", "packaging/monitoring/grafana-agents.json"] {
        let text = read(path);
        let asked = text.split("flamekeeper_agent_").skip(1);
        let asked: BTreeSet<String> =
            asked.map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()).collect();
        let unknown: Vec<_> = asked.difference(&served).collect();
        assert!(!asked.is_empty() && unknown.is_empty(), "{path}: {unknown:?}");
    }
    let _: serde_json::Value = serde_json::from_str(&read("packaging/monitoring/grafana-agents.json")).unwrap();
    let manual = read("docs/operating.md");
    let unexplained: Vec<_> = served.iter().filter(|name| !manual.contains(&format!("`{name}"))).collect();
    assert!(unexplained.is_empty(), "docs/operating.md does not explain {unexplained:?}");
}
