//! Diffs of files: pprof and folded text, one and several a side, and what is no profile.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod query_fixture;

use flamekeeper_collector::files::{CompareError, FileError, FileLimits, FileOptions, NamedFile, ProfileFile, compared};
use flamekeeper_collector::query::diff::Normalization;
use flamekeeper_collector::render::pprof::{self, proto};
use flamekeeper_collector::render::{Report, ReportFunction};
use flamekeeper_profile::{StackEnd, Window};
use flamekeeper_wire::gzip;
use prost::Message as _;
use query_fixture::{Builder, Names};

fn parse(bytes: &[u8]) -> Result<ProfileFile, FileError> {
    ProfileFile::parse(bytes, FileLimits::default())
}

fn named(files: &[Vec<u8>]) -> Vec<NamedFile> {
    (1..).zip(files).map(|(number, bytes)| NamedFile { name: format!("file{number}"), file: parse(bytes).unwrap() }).collect()
}

fn diff(a: &[Vec<u8>], b: &[Vec<u8>], options: &FileOptions) -> Result<Report, CompareError> {
    compared([named(a), named(b)], options)
}

fn plain(a: &str, b: &str) -> Result<Report, CompareError> {
    diff(&[a.as_bytes().to_vec()], &[b.as_bytes().to_vec()], &FileOptions::default())
}

/// Samples of `main > leaf` and `recurse`, ten seconds of them.
fn message(leaf: u64, other: u64) -> proto::Profile {
    let mut builder = Builder::new();
    let [main, leaf_location, recurse] = [0x1000, 0x2000, 0x3000].map(|address| builder.api(address));
    builder.add(&[leaf_location, main], StackEnd::Root, leaf);
    builder.add(&[recurse, main], StackEnd::Root, other);
    let mut profile = builder.profile();
    profile.window = Window::new(flamekeeper_profile::Timestamp(0), flamekeeper_profile::Timestamp(10_000_000_000));
    pprof::message(&profile.symbolize(&Names))
}

fn written(leaf: u64, other: u64) -> Vec<u8> {
    gzip::compress(&message(leaf, other).encode_to_vec())
}

fn found<'a>(functions: &'a [ReportFunction], name: &str) -> &'a ReportFunction {
    functions.iter().find(|function| function.name == name).unwrap_or_else(|| panic!("{name} is not in {functions:?}"))
}

/// What this program writes it reads back: names, modules, counts, seconds.
#[test]
fn pprof_of_our_own() {
    let report = diff(&[written(1000, 500)], &[written(2000, 500)], &FileOptions::default()).unwrap();
    assert_eq!((report.profile_type.as_str(), report.unit.as_str(), report.a.samples, report.b.samples), ("cpu", "cores", 1500, 2500));
    // 1000 samples of 10 ms in 10 s are a core.
    let leaf = found(&report.regressions, "api::leaf<T>");
    assert!((leaf.a - 1.0).abs() < 1e-6 && (leaf.b - 2.0).abs() < 1e-6 && leaf.module == "api", "{leaf:?}");
    assert!(leaf.relative_low.unwrap() > 0.8 && leaf.relative_high.unwrap() < 1.2, "{leaf:?}");
    assert!(report.improvements.is_empty() && report.notes[0].contains("sampling error only"), "{report:?}");
    let share =
        diff(&[written(1000, 500)], &[written(2000, 500)], &FileOptions { by: Some(Normalization::Share), ..FileOptions::default() });
    let share = share.unwrap();
    assert!((share.a.total - 1.0).abs() < 1e-9 && found(&share.improvements, "recurse").change < -0.1, "{share:?}");
}

/// Several files that differ widen the intervals: what one long run would call sure is chance then.
#[test]
fn several_files_widen() {
    let runs = |counts: [u64; 3]| counts.map(|count| written(count, 500)).to_vec();
    let calm = diff(&runs([1000, 1010, 990]), &runs([1200, 1190, 1210]), &FileOptions::default()).unwrap();
    let wild = diff(&runs([600, 1400, 1000]), &runs([1700, 700, 1200]), &FileOptions::default()).unwrap();
    assert_eq!(found(&calm.regressions, "api::leaf<T>").verdict, "grew");
    assert!(wild.regressions.is_empty() && wild.a.windows == 3, "{wild:?}");
    assert!(calm.notes.iter().any(|note| note.contains("from 3 and 3 files")), "{:?}", calm.notes);
    let one = diff(&[written(3000, 1500)], &[written(3600, 1500)], &FileOptions::default()).unwrap();
    assert_eq!(found(&one.regressions, "api::leaf<T>").verdict, "grew");
    // One file on a side and several on the other: there is a spread still.
    let mixed = diff(&[written(1000, 500)], &runs([1700, 700, 1200]), &FileOptions::default()).unwrap();
    assert!(mixed.regressions.is_empty() && mixed.b.windows == 3, "{mixed:?}");
}

/// Folded text as others write it, in counts, and as nanoseconds, which are samples after the divisor.
#[test]
fn folded_text() {
    let counts = plain("main;a 100\nmain;b 100\n", "main;a 103\nmain;b 301\n").unwrap();
    assert_eq!((counts.unit.as_str(), counts.a.samples, counts.b.samples), ("share", 200, 404));
    assert_eq!(found(&counts.regressions, "b").verdict, "grew");
    let nanoseconds = plain("main;a 1000000000\nmain;b 1010000000\n", "main;a 1000000000\nmain;b 1000000000\n").unwrap();
    assert_eq!((nanoseconds.a.samples, nanoseconds.flagged), (201, 0));
    assert!(nanoseconds.notes.iter().any(|note| note.contains("10000000 was taken")), "{:?}", nanoseconds.notes);
    let odd = plain("main;a 1000000001\n", "main;a 1000000000\n").unwrap_err();
    assert!(odd.to_string().contains("--sample-weight"), "{odd}");
    let options = FileOptions { sample_weight: Some(10_000_000), by: Some(Normalization::Samples), ..FileOptions::default() };
    let told = diff(&[b"main;a 1000000001\n".to_vec()], &[gzip::compress(b"main;a 1000000000\n")], &options).unwrap();
    assert_eq!((told.a.samples, told.unit.as_str()), (100, "samples"));
    let cores = FileOptions { by: Some(Normalization::Cores), ..FileOptions::default() };
    assert!(diff(&[b"a 1\n".to_vec()], &[b"a 1\n".to_vec()], &cores).unwrap_err().to_string().contains("--by share"));
}

/// Runs that do the same work are compared by samples, however long each of them took.
#[test]
fn runs_of_equal_work() {
    let lasting = |leaf: u64, seconds: i64| {
        let mut message = message(leaf, 500);
        message.duration_nanos = seconds * 1_000_000_000;
        message.encode_to_vec()
    };
    let samples = FileOptions { by: Some(Normalization::Samples), ..FileOptions::default() };
    let before = [lasting(1000, 10), lasting(1010, 80), lasting(990, 20)];
    let report = diff(&before, &[lasting(1200, 70), lasting(1190, 9), lasting(1210, 30)], &samples).unwrap();
    assert_eq!(found(&report.regressions, "api::leaf<T>").verdict, "grew");
    let uneven = diff(&before, &before[..2], &samples).unwrap_err().to_string();
    assert!(uneven.contains("of 3 and 2"), "{uneven}");
}

/// Values that count no samples have no intervals, and the report says so.
#[test]
fn no_samples() {
    let heap = |bytes: i64| {
        let mut message = message(1, 1);
        let texts = ["alloc_space", "bytes"].map(|text| {
            message.string_table.push(text.to_owned());
            i64::try_from(message.string_table.len()).unwrap() - 1
        });
        message.sample_type = vec![proto::ValueType { r#type: texts[0], unit: texts[1] }];
        message.default_sample_type = 0;
        message.sample.iter_mut().for_each(|sample| sample.value = vec![bytes]);
        message.encode_to_vec()
    };
    let report = diff(&[heap(1 << 20)], &[heap(1 << 21)], &FileOptions::default()).unwrap();
    assert_eq!((report.profile_type.as_str(), report.tested, report.a.samples), ("alloc_space", 0, 0));
    assert!(report.notes.iter().any(|note| note.contains("does not count samples")), "{:?}", report.notes);
    assert!(diff(&[heap(1)], &[written(1, 1)], &FileOptions::default()).unwrap_err().to_string().contains("--type"));
    let options = FileOptions { profile_type: Some("wall".to_owned()), ..FileOptions::default() };
    let error = diff(&[written(1, 1)], &[written(1, 1)], &options).unwrap_err().to_string();
    assert!(error.contains("file1") && error.contains("samples, cpu"), "{error}");
}

/// What is no profile is told in words, and takes no more than its limits.
#[test]
fn hostile_files() {
    let whole = message(5, 5);
    let bytes = whole.encode_to_vec();
    for end in 0..bytes.len() {
        if let Ok(file) = parse(&bytes[..end]) {
            _ = compared([vec![NamedFile { name: "cut".into(), file }], named(std::slice::from_ref(&bytes))], &FileOptions::default());
        }
    }
    let error = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
    assert!(error(b"").contains("empty") && error(b" \n\n").contains("empty"));
    assert!(error(b"{\"a\": 1}").contains("neither pprof"));
    assert!(error(b"main;a 1\nmain;b\n").contains("line 2"));
    assert!(error(&gzip::compress(b"main 1")[..12]).contains("not valid gzip"));
    let bomb = gzip::compress(&vec![b'a'; 2 << 20]);
    let small = FileLimits { bytes: 1 << 20, entries: 100 };
    assert!(matches!(ProfileFile::parse(&bomb, small), Err(FileError::Gzip(_))));
    // Two bytes each: a table of a hundred thousand empty samples.
    let crowd: Vec<u8> = [0x12, 0].repeat(100_000);
    assert!(matches!(ProfileFile::parse(&crowd, small), Err(FileError::TooLarge { limit: 100, .. })));
    let refused = |change: fn(&mut proto::Profile)| {
        let mut message = whole.clone();
        change(&mut message);
        diff(&[message.encode_to_vec()], std::slice::from_ref(&bytes), &FileOptions::default()).unwrap_err().to_string()
    };
    assert!(refused(|message| message.sample[0].location_id[0] = 99).contains("a location that is not there"));
    assert!(refused(|message| message.location[0].line[0].function_id = 99).contains("a function that is not there"));
    assert!(refused(|message| message.sample[0].value[0] = -1).contains("below zero"));
    assert!(refused(|message| message.sample[0].value.truncate(1)).contains("fewer values"));
    let strange = |change: fn(&mut proto::Profile)| {
        let mut message = whole.clone();
        change(&mut message);
        diff(&[message.encode_to_vec()], std::slice::from_ref(&bytes), &FileOptions::default()).unwrap()
    };
    // Names and mappings that are not there are no error: other programs write such files.
    strange(|message| message.function.iter_mut().for_each(|function| function.name = 1 << 40));
    strange(|message| message.location.iter_mut().for_each(|location| location.mapping_id = 77));
    strange(|message| message.location.iter_mut().for_each(|location| location.line.clear()));
    strange(|message| message.sample.iter_mut().for_each(|sample| sample.value = vec![i64::MAX, i64::MAX]));
    strange(|message| message.duration_nanos = i64::MIN);
}
