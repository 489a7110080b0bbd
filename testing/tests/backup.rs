//! `flamekeeper collector check`, `backup` and `restore`, as programs beside a collector that ran.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use flamekeeper_profile::{AgentFigures, Batch, FrameKind, Labels, Ledger, SampleType, Series, StackEnd, Svma, Tables, Timestamp, Window};
use flamekeeper_testing::flamegraph::number;
use flamekeeper_testing::host::Host;
use flamekeeper_testing::http;
use flamekeeper_testing::programs::binary;
use flamekeeper_testing::workload::Program;

const BATCHES: u64 = 20;

/// A minute of one service with two samples, begun a minute ago.
fn batch(number: u64) -> Vec<u8> {
    let mut tables = Tables::new();
    let locations = [number, 1 << 40].map(|address| tables.intern_address(FrameKind::Native, None, Svma(address)));
    let stack = tables.intern_stack(&locations, StackEnd::Root);
    let labels = Labels::new().with("service", "kept").with("host", "a");
    let series = vec![Series { labels: labels.clone(), sample_type: SampleType::cpu(1), values: vec![(stack, 2)] }];
    let mut ledger = Ledger::new();
    ledger.take(2);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let from = Timestamp((now - 60) * Timestamp::SECOND);
    let window = Window::new(from, from.saturating_add(Timestamp::SECOND));
    flamekeeper_wire::encode(&Batch { window, labels, tables, series, ledger, figures: AgentFigures::default() })
}

fn post(host: &Host, number: u64) -> String {
    let key = format!("agent-{number}");
    let answer = http::send(host.address, "POST", flamekeeper_wire::PROFILES_PATH, &[("Idempotency-Key", &key)], &batch(number)).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("flamekeeper-batch").to_owned()
}

fn collector(arguments: &[&str], paths: &[&Path]) -> Output {
    Command::new(binary("flamekeeper")).arg("collector").args(arguments).args(paths).output().unwrap()
}

/// What a command printed, to a person; it is to have ended well, or not.
fn said(output: &Output, well: bool) -> String {
    let text = [&*output.stdout, &*output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(output.status.success(), well, "{text}");
    text
}

/// Puts other bytes into the middle of a file.
fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].iter_mut().take(8).for_each(|byte| *byte ^= 0x55);
    std::fs::write(file, bytes).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What a collector has (profiles, symbols, marks of deploys) is all there after a backup and a restore elsewhere, and sound; a backup of
/// which one file was changed is not restored.
#[test]
fn all_is_kept() {
    let mut host = Host::with_collector("backup");
    (0..BATCHES).for_each(|number| assert_eq!(post(&host, number), "accepted"));
    let mark = br#"{"service": "kept", "version": "7", "text": "seven"}"#;
    let json = [("Content-Type", "application/json")];
    assert_eq!(http::send(host.address, "POST", "/api/v1/deploys", &json, mark).unwrap().status, 201);
    let program = Program::Cpp.build(host.scratch().path(), "");
    let address = format!("http://{}", host.address);
    let added = Command::new(binary("flamekeeper")).args(["symbols", "add", "--collector", &address]).arg(program).output().unwrap();
    said(&added, true);
    let answers = |host: &Host| {
        let marks = host.ask("/api/v1/deploys?service=kept&from=-1h")["deploys"].clone();
        let symbols = host.ask("/api/v1/symbols")["objects"].clone();
        assert!(!marks.as_array().unwrap().is_empty() && !symbols.as_array().unwrap().is_empty(), "{marks} {symbols}");
        // When it was used last is no part of what is kept.
        let symbols: Vec<_> = symbols.as_array().unwrap().iter().map(|object| object["build_id"].clone()).collect();
        (host.flamegraph("kept").total(), marks, symbols)
    };
    let before = answers(&host);
    assert_eq!(before.0, BATCHES * 2);
    let (data, copy, other) = (host.scratch().join("collector"), host.scratch().join("copy"), host.scratch().join("other"));

    let refused = said(&collector(&["backup", "--data-dir"], &[&data, &copy]), false);
    assert!(refused.contains("stop it first") && !copy.exists(), "{refused}");
    host.collector.stop();
    let backup = said(&collector(&["backup", "--data-dir"], &[&data, &copy]), true);
    assert!(backup.contains(" files, ") && copy.join("marks.jsonl").is_file(), "{backup}");
    said(&collector(&["restore"], &[&copy, Path::new("--data-dir"), &other]), true);
    let sound = said(&collector(&["check", "--data-dir"], &[&other]), true);
    assert!(sound.contains(" 0 damaged"), "{sound}");

    changed_copies_are_refused(&host, &copy);
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&other, &data).unwrap();
    host.restart_collector();
    assert_eq!(answers(&host), before);
    assert_eq!((post(&host, 7), post(&host, BATCHES)), ("duplicate".into(), "accepted".into()));
    assert_eq!(number(&host.status()["batches"]).unwrap(), BATCHES + 1);
}

/// Each file of the backup, changed, keeps it from being restored, and is named.
fn changed_copies_are_refused(host: &Host, copy: &Path) {
    let new = host.scratch().join("new");
    let files: Vec<_> = files(copy).into_iter().filter(|file| file.metadata().unwrap().len() > 0).collect();
    let of = |name: &str| files.iter().find(|file| file.strip_prefix(copy).unwrap().starts_with(name)).unwrap();
    for file in ["profiles", "symbols", "marks.jsonl"].map(of) {
        let whole = std::fs::read(file).unwrap();
        damage(file);
        let refused = said(&collector(&["restore"], &[copy, Path::new("--data-dir"), &new]), false);
        assert!(refused.contains("is damaged") && refused.contains(&*file.to_string_lossy()), "{refused}");
        assert!(!new.exists());
        std::fs::write(file, whole).unwrap();
    }
}

/// A copy of a folder in which one file was done something to; removed where that is nothing.
fn copied(from: &Path, to: &Path, file: &Path, change: impl Fn(&mut Vec<u8>) -> bool) {
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(path, target).unwrap();
    }
    let target = to.join(file);
    let mut bytes = std::fs::read(&target).unwrap();
    if change(&mut bytes) { std::fs::write(target, bytes) } else { std::fs::remove_file(target) }.unwrap();
}

/// A store to whose files something was done while no collector ran is told of file by file, with what to do, and no collector starts on it; a
/// sound one is sound, also after it was checked.
#[test]
fn damage_is_named() {
    let mut host = Host::with_collector("damage");
    (0..BATCHES).for_each(|number| assert_eq!(post(&host, number), "accepted"));
    host.collector.stop();
    let data = host.scratch().join("collector");
    for _ in 0..2 {
        let sound = said(&collector(&["check", "--data-dir"], &[&data]), true);
        assert!(sound.contains(" 0 damaged"), "{sound}");
    }
    let all = files(&data);
    let journal = all.iter().find(|path| path.extension().is_some_and(|extension| extension == "jnl")).unwrap();
    let journal = journal.strip_prefix(&data).unwrap();
    let other = all.iter().find(|path| path.file_name().is_some_and(|name| name == "current")).unwrap();
    let other = other.strip_prefix(&data).unwrap();
    let flip = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        true
    };
    let cut = |bytes: &mut Vec<u8>| {
        bytes.truncate(bytes.len() - 100);
        true
    };
    let gone = |_: &mut Vec<u8>| false;
    type Change<'a> = &'a dyn Fn(&mut Vec<u8>) -> bool;
    let changes: [(&Path, Change<'_>, &str); 4] =
        [(journal, &flip, "was changed"), (journal, &cut, "bytes and had"), (journal, &gone, "is gone"), (other, &gone, "is gone")];
    for (number, (file, change, what)) in changes.into_iter().enumerate() {
        let damaged = host.scratch().join(&format!("damaged-{number}"));
        copied(&data, &damaged, file, change);
        let name = file.strip_prefix("profiles").unwrap().to_string_lossy();
        let told = said(&collector(&["check", "--data-dir"], &[&damaged]), false);
        assert!(told.contains(&format!("damaged: {name} ")) && told.contains(what), "{name} {what}: {told}");
        assert!(told.contains("flamekeeper collector restore") && told.contains("sealed"), "{told}");
        let started = said(&collector(&["--listen", "127.0.0.1:0", "--data-dir"], &[&damaged]), false);
        assert!(started.contains(&*name) && started.contains("flamekeeper collector check"), "{started}");
    }
}
