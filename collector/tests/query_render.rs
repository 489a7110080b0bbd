//! What profiles are written as, read back by other programs' readers.

#![allow(clippy::unwrap_used)] // What is called by tests may fail as they do; the lint exempts the tests themselves only.

mod query_fixture;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use flamekeeper_collector::query::SymbolizedProfile;
use flamekeeper_collector::render::{self, pprof as our_pprof};
use flamekeeper_profile::{FrameKind, StackEnd, parse_folded};
use pprof::protos::{self, Message as _};
use query_fixture::{Builder, PERIOD, known, random};
use serde_json::Value;

/// The JSON is what the contract says, to the letter.
#[test]
fn json_of_known_stacks() {
    let json: Value = serde_json::from_slice(&render::flamegraph_json(&known(), 0.0).unwrap()).unwrap();
    assert_eq!((json["from"].as_f64(), json["to"].as_f64()), (Some(1_764_000_000.0), Some(1_764_000_900.0)));
    assert_eq!((json["type"].as_str(), json["unit"].as_str()), (Some("cpu"), Some("nanoseconds")));
    assert_eq!((json["total"].as_u64(), json["samples"].as_u64()), (Some(18 * PERIOD), Some(18)));
    let completeness = &json["completeness"];
    assert_eq!(completeness["lost"], serde_json::json!({"ring_full": 3}));
    assert_eq!(completeness["truncated_reasons"], serde_json::json!({"copy_exhausted": 3, "no_user_stack": 1}));
    assert_eq!((completeness["truncated"].as_u64(), completeness["unnamed"].as_u64()), (Some(4), Some(2)));
    assert_eq!(completeness["unnamed_frames"].as_f64(), Some(2.0 / 9.0));
    let column = |table: &str, name: &str| -> Vec<u64> {
        json[table][name].as_array().unwrap().iter().map(|value| value.as_u64().unwrap()).collect()
    };
    let place = |value: u64| usize::try_from(value).unwrap();
    let text = |table: &str, index: u64| json[table][place(index)].as_str().unwrap().to_owned();
    let (names, modules, lines, kinds) =
        (column("frames", "name"), column("frames", "module"), column("frames", "line"), column("frames", "kind"));
    assert_eq!((names[0], text("strings", 0), text("kinds", kinds[0])), (0, String::new(), "root".into()));
    let frames = column("nodes", "frame");
    let leaf = place(frames[4]);
    assert_eq!(
        (text("strings", names[leaf]), text("strings", modules[leaf]), lines[leaf]),
        ("api::leaf<T>".into(), "/usr/bin/api".into(), 30)
    );
    assert_eq!(text("kinds", kinds[leaf]), "native (inlined)");
    assert_eq!(column("nodes", "depth"), [0, 1, 2, 3, 4, 2, 3, 2, 3, 4, 1, 2, 1, 2, 1]);
    let own: u64 = column("nodes", "self").iter().sum();
    assert_eq!(own, 18 * PERIOD);
    assert_eq!(names.len(), frames.iter().max().map_or(0, |last| place(*last) + 1));
}

/// Equal profiles are written as equal bytes: caches compare them.
#[test]
fn json_is_the_same_again() {
    let write = || render::flamegraph_json(&random(3, 200, 9).symbolized(), 0.001).unwrap();
    assert_eq!(write(), write());
    let top = || render::top_json(&random(3, 200, 9).symbolized(), None, 0).unwrap();
    assert_eq!(top(), top());
}

/// The table holds as many functions as asked for, says of those without a name why, and of estimates how exact they are.
#[test]
fn top_is_limited() {
    let read = |limit| -> Value { serde_json::from_slice(&render::top_json(&known(), None, limit).unwrap()).unwrap() };
    assert_eq!(read(2)["functions"].as_array().unwrap().len(), 2);
    assert_eq!(read(0)["functions"].as_array().unwrap().len(), 9);
    let first = &read(1)["functions"][0];
    assert_eq!(
        (first["name"].as_str(), first["self"].as_u64(), first["kind"].as_str()),
        (Some("api::leaf<T>"), Some(5 * PERIOD), Some("native"))
    );
    assert!(first.get("self_error").is_none() && read(1).get("error").is_none(), "{first}");
    // Variances, here the same numbers, make standard errors.
    let told: Value = serde_json::from_slice(&render::top_json(&known(), Some(&known()), 1).unwrap()).unwrap();
    let error = flamekeeper_profile::SampleType::standard_error("cpu", 5 * PERIOD).round();
    assert_eq!(told["functions"][0]["self_error"].as_f64(), Some(error));
    assert!(told["error"].as_f64().unwrap() > error, "{told}");
    let all = read(0);
    let functions = all["functions"].as_array().unwrap();
    let unnamed = functions.iter().filter_map(|function| Some((function["name"].as_str()?, function["unnamed"].as_str()?)));
    assert_eq!(unnamed.collect::<Vec<_>>(), [("api+0x9999", "not_covered"), ("libc.so.6+0x77", "no_symbols")]);
}

fn folded_sums(profile: &SymbolizedProfile) -> BTreeMap<String, u64> {
    let text = render::folded(profile);
    let lines: Vec<_> = parse_folded(&text).collect::<Result<_, _>>().unwrap();
    lines.into_iter().fold(BTreeMap::new(), |mut sums, line| {
        *sums.entry(line.stack.to_owned()).or_default() += line.value;
        sums
    })
}

/// Folded text holds exactly the tree's self values, and its total.
#[test]
fn folded_equals_the_tree() {
    for profile in [known(), random(11, 400, 12).symbolized()] {
        let tree = profile.tree();
        let mut path: Vec<String> = Vec::new();
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for node in tree.nodes().iter().skip(1) {
            path.truncate(node.depth as usize - 1);
            path.push(tree.frame(node.frame).name.to_string());
            if node.self_value > 0 {
                *expected.entry(path.join(";")).or_default() += node.self_value;
            }
        }
        assert_eq!(folded_sums(&profile), expected);
        assert_eq!(expected.values().sum::<u64>(), profile.total().weight);
    }
}

/// Runs a program on an input file's path (last argument) and hands back what it prints.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(input).unwrap();
    let command = Command::new(program).args(arguments).arg(file.path()).stdin(Stdio::null()).output();
    let output = command.unwrap_or_else(|error| panic!("this test needs the program `{program}` ({error}); `./dev test` installs it"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// Prints the text of all elements, one a line, as Python's expat parser reads them.
const TEXTS: &str = "import sys, xml.etree.ElementTree as t\nfor e in t.parse(sys.argv[1]).iter():\n  x=(e.text or '').strip()\n  if x and not e.tag.endswith(('script','style')): print(x)\n";

fn svg_texts(profile: &SymbolizedProfile, title: &str, min_share: f64) -> Vec<String> {
    let svg = render::svg(profile, title, min_share).unwrap();
    run("python3", &["-c", TEXTS], &svg).lines().map(str::to_owned).collect()
}

/// The SVG is XML with our title, values in ms and every function.
#[test]
fn svg_shows_the_profile() {
    let texts = svg_texts(&known(), "cpu of {service=\"<api> & co\"}", 0.0);
    assert!(texts.contains(&"cpu of {service=\"<api> & co\"}".to_owned()), "{texts:?}");
    assert!(texts.contains(&"all (180 ms, 100%)".to_owned()), "{texts:?}");
    assert!(texts.contains(&"main (120 ms, 66.67%)".to_owned()), "{texts:?}");
    assert!(texts.contains(&"api::leaf<T> (50 ms, 27.78%)".to_owned()), "{texts:?}");
    assert!(texts.contains(&"vfs_read (40 ms, 22.22%)".to_owned()), "{texts:?}");
    let subtitle = "cpu nanoseconds, 18 samples in 900.0 s, 3 lost, 4 with a truncated stack, 2 in functions without a name";
    assert!(texts.contains(&subtitle.to_owned()), "{texts:?}");
}

/// What was pruned keeps its caller's width, even where the root itself was cut.
#[test]
fn svg_keeps_widths_when_pruned() {
    let texts = svg_texts(&known(), "t", 0.5);
    assert!(texts.contains(&"all (180 ms, 100%)".to_owned()) && texts.contains(&"main (120 ms, 66.67%)".to_owned()), "{texts:?}");
    assert!(texts.contains(&"[narrow] (60 ms, 33.33%)".to_owned()), "{texts:?}");
}

/// Names that are hostile to folded text, to XML or to inferno's reader come out as one frame each.
#[test]
fn svg_of_hostile_names() {
    let names =
        ["a;b", "f 12", "f 12 13", "# comment", "<script>alert(1)</script>", "x\u{0}\u{1b}[31m\u{ffff}\n", "]]>&amp;", " lead", "_[é]", ""];
    let mut builder = Builder::new();
    for name in names {
        let location = builder.named(FrameKind::Native, &[(name, "", 0), ("caller", "", 0)]);
        builder.add(&[location], StackEnd::Root, 1);
    }
    let texts = svg_texts(&builder.symbolized(), "\u{0}<&>", 0.0);
    assert!(texts.contains(&"all (100 ms, 100%)".to_owned()), "{texts:?}");
    assert!(texts.contains(&"caller (100 ms, 100.00%)".to_owned()), "{texts:?}");
    assert_eq!(texts.iter().filter(|text| text.contains("(10 ms, 10.00%)")).count(), names.len(), "{texts:?}");
}

/// A selection without samples is a picture that says so.
#[test]
fn svg_of_nothing() {
    let texts = svg_texts(&Builder::new().symbolized(), "cpu of <nobody>", 0.0);
    assert!(texts.contains(&"cpu of <nobody>".to_owned()) && texts.contains(&"no samples in this selection".to_owned()), "{texts:?}");
}

fn decode(profile: &SymbolizedProfile) -> protos::Profile {
    let bytes = flamekeeper_wire::gzip::decompress(&our_pprof::gzipped(profile), 1 << 26).unwrap();
    protos::Profile::decode(&bytes[..]).unwrap()
}

/// Stacks as text (root first, inlined functions too) to samples and weight, as another decoder reads them.
fn pprof_sums(profile: &protos::Profile) -> BTreeMap<String, (i64, i64)> {
    let text = |place: i64| profile.string_table[usize::try_from(place).unwrap()].as_str();
    let mut sums: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for sample in &profile.sample {
        let mut names: Vec<&str> = Vec::new();
        for id in &sample.location_id {
            let location = profile.location.iter().find(|location| location.id == *id).unwrap();
            for line in &location.line {
                let function = profile.function.iter().find(|function| function.id == line.function_id).unwrap();
                names.push(text(function.name));
            }
        }
        names.reverse();
        let sum = sums.entry(names.join(";")).or_default();
        *sum = (sum.0 + sample.value[0], sum.1 + sample.value[1]);
    }
    sums
}

/// The `pprof` crate's decoder reads the stacks, values, objects, files, lines and the reason of a cut stack.
#[test]
fn pprof_round_trip() {
    let profile = decode(&known());
    let text = |place: i64| profile.string_table[usize::try_from(place).unwrap()].as_str();
    let types: Vec<_> = profile.sample_type.iter().map(|value| (text(value.ty), text(value.unit))).collect();
    assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
    let period = i64::try_from(PERIOD).unwrap();
    assert_eq!((profile.period, profile.duration_nanos, profile.time_nanos), (period, 900_000_000_000, 1_764_000_000_000_000_000));
    let expected = [
        ("", 1),
        ("main", 1),
        ("main;api::serve;api::middle;api::leaf<T>", 5),
        ("main;recurse;recurse;recurse", 2),
        ("main;vfs_read", 4), // The nameless one between them has an address and no line.
        ("recurse", 3),
        ("run", 2),
    ];
    let expected: BTreeMap<_, _> = expected.iter().map(|(stack, samples)| ((*stack).to_owned(), (*samples, samples * period))).collect();
    assert_eq!(pprof_sums(&profile), expected);
    let mappings: Vec<_> =
        profile.mapping.iter().map(|mapping| (text(mapping.filename), text(mapping.build_id), mapping.has_functions)).collect();
    let nines = "09".repeat(20);
    let expected =
        [("/usr/bin/api", "abcd0102", false), ("[kernel]", "", true), ("/lib/x86_64-linux-gnu/libc.so.6", nines.as_str(), false)];
    assert_eq!(mappings, expected);
    let inlined = profile.location.iter().find(|location| location.address == 0x2000).unwrap();
    assert_eq!(inlined.line.iter().map(|line| line.line).collect::<Vec<_>>(), [30, 40, 50]);
    let labels: Vec<_> = profile.sample.iter().flat_map(|sample| &sample.label).map(|label| (text(label.key), text(label.str))).collect();
    assert_eq!(labels, [("truncated", "copy_exhausted"), ("truncated", "no_user_stack")]);
    assert!(profile.comment.iter().any(|place| text(*place) == "samples lost, ring_full: 3"));
}

/// On many stacks pprof and folded text agree, but for the markers, which pprof has as labels.
#[test]
fn pprof_equals_folded() {
    let profile = random(5, 500, 11).symbolized();
    let folded = folded_sums(&profile).into_iter().fold(BTreeMap::new(), |mut sums: BTreeMap<String, u64>, (stack, value)| {
        *sums.entry(stack.trim_start_matches("[truncated: bad_frame];").to_owned()).or_default() += value;
        sums
    });
    let pprof = pprof_sums(&decode(&profile)).into_iter().map(|(stack, (_, weight))| (stack, u64::try_from(weight).unwrap()));
    assert_eq!(pprof.collect::<BTreeMap<_, _>>(), folded);
}

/// Go's own tool reads the file and ranks the functions as we do.
#[test]
fn go_tool_pprof_reads_it() {
    let bytes = our_pprof::gzipped(&known());
    let top = run("go", &["tool", "pprof", "-top", "-sample_index=samples", "-symbolize=none"], &bytes);
    let rows: Vec<Vec<&str>> = top.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |name: &str| {
        let found = rows.iter().find(|row| row.len() > 5 && row[5..].join(" ").starts_with(name));
        found.map(|row| (row[0], row[3])).unwrap_or_else(|| panic!("no {name} in\n{top}"))
    };
    assert_eq!(row("api::leaf<T> (inline)"), ("5", "5"), "{top}");
    assert_eq!(row("recurse"), ("5", "5"), "{top}");
    assert_eq!(row("vfs_read"), ("4", "4"), "{top}");
    assert_eq!(row("main"), ("1", "12"), "{top}");
    assert_eq!(row("api::serve"), ("0", "5"), "{top}");
    assert!(top.contains("of 18 total") && top.contains("Duration: 900s"), "{top}");
    let default = run("go", &["tool", "pprof", "-top", "-symbolize=none"], &bytes);
    assert!(default.contains("Type: cpu") && default.contains("180ms total"), "{default}");
    let tags = run("go", &["tool", "pprof", "-tags", "-sample_index=samples", "-symbolize=none"], &bytes);
    assert!(tags.contains("copy_exhausted") && tags.contains("no_user_stack"), "{tags}");
    let comments = run("go", &["tool", "pprof", "-comments", "-symbolize=none"], &bytes);
    assert!(comments.contains("samples lost, ring_full: 3"), "{comments}");
    run("go", &["tool", "pprof", "-raw", "-symbolize=none"], &our_pprof::gzipped(&Builder::new().symbolized()));
}
