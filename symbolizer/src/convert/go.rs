//! Go's own table as functions with lines and inlined calls, in the form that a symcache is made from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use flamekeeper_object::go::{Function, Functions, Range};
use flamekeeper_profile::Svma;
use symbolic_common::{Language, Name, NameMangling};
use symbolic_debuginfo as debuginfo;
use symbolic_symcache::SymCacheConverter;

/// Longest chain of inlined calls that is followed; Go's compiler stops at some ten.
const MAX_DEPTH: usize = 64;

/// How many times as many ranges and bytes of names as the table has bytes are read: real tables share the names of inlined functions and
/// the paths of files, and hold a range in two bytes at least; a damaged one could give everything to every function.
const MOST: usize = 4;

/// Adds the functions to a symcache, and answers how many. Addresses in it are relative to the load address.
pub(crate) fn add(functions: Functions<'_>, load_address: Svma, converter: &mut SymCacheConverter<'_>) -> u64 {
    let mut added = 0;
    let mut left = functions.bytes().saturating_mul(MOST);
    for function in functions.iter() {
        if left == 0 {
            break;
        }
        if let Some(function) = convert(&function, load_address, &mut left) {
            converter.process_symbolic_function(&function);
            added += 1;
        }
    }
    added
}

/// What is known of an inlined call while its function is converted.
#[derive(Default)]
struct Inlined<'a> {
    name: Cow<'a, str>,
    /// The line that its function begins at; 0 where unknown.
    start_line: u32,
    /// Where it stood in its caller.
    at: u32,
    lines: Vec<debuginfo::LineInfo<'a>>,
    /// The calls that were inlined into it.
    inner: Vec<u32>,
}

fn convert<'a>(function: &Function<'a>, load_address: Svma, left: &mut usize) -> Option<debuginfo::Function<'a>> {
    // A symcache's addresses have 32 bits.
    let start = function.start.0.checked_sub(load_address.0).filter(|start| *start <= u64::from(u32::MAX))?;
    let name = function.name().filter(|name| !name.is_empty())?;
    let ranges = function.ranges(*left);
    *left = left.saturating_sub(ranges.len() + name.len());
    let mut files = Files { function, paths: BTreeMap::new(), bytes: 0 };
    let mut calls: BTreeMap<u32, Inlined<'a>> = BTreeMap::new();
    let (mut outer, mut outermost) = (Vec::new(), Vec::new());
    for range in &ranges {
        let mut line = |at: &Range| debuginfo::LineInfo {
            address: start + u64::from(range.start),
            size: Some(u64::from(range.end - range.start)),
            file: debuginfo::FileInfo::new(Cow::Borrowed(b""), files.path(at.file)),
            line: u64::from(at.line),
        };
        // From the innermost call outwards: the line that the caller is at is that of the place where the call stood.
        let (mut here, mut inner) = (range, None);
        for _ in 0..MAX_DEPTH {
            let Some(index) = here.call else { break };
            let inlined = match calls.entry(index) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let Some(call) = function.call(index) else { break };
                    *left = left.saturating_sub(call.name.len());
                    new.insert(Inlined { name: call.name, start_line: call.start_line, at: call.at, ..Inlined::default() })
                }
            };
            let Some(caller) = range_at(&ranges, inlined.at) else { break };
            inlined.lines.push(line(here));
            if let Some(inner) = inner.filter(|inner| !inlined.inner.contains(inner)) {
                inlined.inner.push(inner);
            }
            (here, inner) = (caller, Some(index));
        }
        outer.push(line(here));
        if let Some(inner) = inner.filter(|inner| !outermost.contains(inner)) {
            outermost.push(inner);
        }
    }
    *left = left.saturating_sub(files.bytes);
    // The next function begins behind padding, of which nothing is known.
    let size = ranges.last().map_or(function.end.0 - function.start.0, |range| u64::from(range.end));
    let inlinees = outermost.into_iter().filter_map(|index| tree(&mut calls, index, 0)).collect();
    let name = go_name(name, begins_at(function, &outer));
    Some(debuginfo::Function { address: start, size, name, compilation_dir: b"", lines: outer, inlinees, inline: false })
}

/// The range that an offset lies in.
fn range_at(ranges: &[Range], at: u32) -> Option<&Range> {
    let index = ranges.partition_point(|range| range.start <= at).checked_sub(1)?;
    ranges.get(index).filter(|range| at < range.end)
}

/// A call and those inlined into it; each is taken once, so that a damaged tree cannot go round.
fn tree<'a>(calls: &mut BTreeMap<u32, Inlined<'a>>, index: u32, depth: usize) -> Option<debuginfo::Function<'a>> {
    let call = calls.remove(&index).filter(|_| depth < MAX_DEPTH)?;
    let inlinees = call.inner.into_iter().filter_map(|inner| tree(calls, inner, depth + 1)).collect();
    let address = call.lines.first()?.address;
    let size = call.lines.last().map_or(0, |line| line.address + line.size.unwrap_or(0) - address);
    let name = go_name(call.name, call.start_line);
    Some(debuginfo::Function { address, size, name, compilation_dir: b"", lines: call.lines, inlinees, inline: true })
}

/// The line that a function begins at. Where the table does not state it, that is the least line of its code in the file that it begins in: as a rule
/// that of `func`, which the check for stack space at the entry belongs to; in a function without that check, that of its first statement.
fn begins_at(function: &Function<'_>, lines: &[debuginfo::LineInfo<'_>]) -> u32 {
    let stated = function.start_line();
    let Some(first) = lines.first().filter(|_| stated == 0) else { return stated };
    let own = lines.iter().filter(|line| line.line != 0 && line.file == first.file);
    own.map(|line| u32::try_from(line.line).unwrap_or(0)).min().unwrap_or(0)
}

fn go_name(name: Cow<'_, str>, line: u32) -> Name<'_> {
    Name::new(super::demangle::with_line(name.into_owned(), line), NameMangling::Unmangled, Language::Go)
}

/// The paths of a function's files, looked up once each.
struct Files<'f, 'a> {
    function: &'f Function<'a>,
    paths: BTreeMap<i32, Cow<'a, [u8]>>,
    /// Bytes of all of them.
    bytes: usize,
}

impl<'a> Files<'_, 'a> {
    fn path(&mut self, file: i32) -> Cow<'a, [u8]> {
        let look_up = || match self.function.path(file) {
            Some(Cow::Borrowed(path)) => Cow::Borrowed(path.as_bytes()),
            Some(Cow::Owned(path)) => Cow::Owned(path.into_bytes()),
            None => Cow::Borrowed(&b""[..]),
        };
        let bytes = &mut self.bytes;
        let path = self.paths.entry(file).or_insert_with(|| {
            let path = look_up();
            *bytes += path.len();
            path
        });
        path.clone()
    }
}
