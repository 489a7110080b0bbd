//! `flamekeeper heap scan`: what holds the sampled blocks of a process.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use flamekeeper_agent::heap::desk::{self, Told};
use flamekeeper_agent::heap::scan;
use flamekeeper_agent::heap::scan::{Holder, Scan, ScannedBlock};
use flamekeeper_collector::leaks::allocates;
use flamekeeper_collector::query::{Profile, SymbolizedProfile};
use flamekeeper_profile::{FrameKind, Line, Location, SampleType, StackEnd, StackId, Svma};
use flamekeeper_symbolizer::{LocalSymbols, readable};
use serde::Serialize;

use crate::output;

const ABOUT: &str = "\
Reads all writable memory of a process that samples its heap, without stopping it, and says of the sampled blocks of each stack whether anything
still points to them: a block that nothing points to is lost; one that is held says by what. Needs the rights to read the process's memory (root,
or CAP_SYS_PTRACE), and the agent of this host, which knows the stacks.

What it cannot know: pointers that are kept in another form (xored, compressed, tagged) or in a register only are not seen, words that look like
pointers count, and of memory in no sampled block it is not known whether that is lost itself. Blocks of less than two seconds, and those freed
meanwhile, are left out.";

const EXAMPLES: &str = "\
Examples:
  flamekeeper heap scan 4711
  flamekeeper heap scan 4711 --json | jq '.stacks[] | select(.lost > 0)'";

/// Where agents have their socket: the packaged one, and that of `flamekeeper up` as root.
const SOCKETS: [&str; 2] = ["/var/lib/flamekeeper-agent/heap.sock", "/var/lib/flamekeeper/agent/heap.sock"];
/// Frames of a stack that are printed, and holders.
const FRAMES: usize = 6;
const HOLDERS: usize = 4;

/// Arguments of `flamekeeper heap scan`.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The process
    pid: u32,
    /// Print all of it as JSON
    #[arg(long)]
    json: bool,
    /// How many stacks are printed, those that most is lost of first
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 20)]
    limit: usize,
    /// CPU time that reading takes at most, in per cent of one core
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=100))]
    cpu: u8,
    /// The socket of this host's agent, heap.sock in its state directory [default: that of the packaged agent, else that of `flamekeeper up`]
    #[arg(long, value_name = "FILE")]
    agent_socket: Option<PathBuf>,
}

/// What was found of one stack.
#[derive(Debug, Default, Serialize)]
struct StackJson {
    /// Who asked the allocator.
    function: String,
    /// Sampled blocks, and the bytes that they stand for, about.
    blocks: usize,
    bytes: f64,
    /// Those that nothing points to.
    lost: usize,
    lost_bytes: f64,
    /// How many blocks each holder holds: most first. A block may have several.
    held: Vec<HeldJson>,
    /// Leaf first.
    stack: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct HeldJson {
    by: String,
    blocks: usize,
}

#[derive(Debug, Serialize)]
struct ScanJson {
    pid: u32,
    bytes_read: u64,
    bytes_unreadable: u64,
    seconds: f64,
    blocks: usize,
    blocks_left_out: usize,
    stacks: Vec<StackJson>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { pid, agent_socket, .. } = arguments;
    let found = scan::scan(*pid, f64::from(arguments.cpu) / 100.0).with_context(|| format!("process {pid} cannot be scanned"))?;
    let defaults = SOCKETS.into_iter().map(PathBuf::from).find(|path| path.exists());
    let socket = agent_socket.clone().or(defaults).unwrap_or_else(|| SOCKETS[0].into());
    let told = desk::ask(&socket, *pid).with_context(|| {
        format!(
            "the stacks are not known: the agent that knows them must run on this host, and --agent-socket name its socket ({})",
            desk::SOCKET
        )
    })?;
    let told = told.with_context(|| format!("the agent does not know the heap of process {pid} yet; try again in some seconds"))?;
    let stacks = by_stack(&found, &Named::of(*pid, &told));
    ensure!(!stacks.is_empty(), "no sampled block of process {pid} is older than two seconds: there is nothing to tell of yet");
    let seconds = found.time.as_secs_f64();
    let all = ScanJson {
        pid: *pid,
        bytes_read: found.bytes,
        bytes_unreadable: found.unreadable,
        seconds,
        blocks: found.blocks.len(),
        blocks_left_out: found.left_out,
        stacks,
    };
    if arguments.json {
        let mut text = serde_json::to_vec(&all)?;
        text.push(b'\n');
        return output::print(&text);
    }
    output::print(text(&all, arguments.limit).as_bytes())
}

/// The stacks of samples, with names.
struct Named {
    /// The place of each sample's stack.
    samples: HashMap<u64, usize>,
    stacks: Vec<StackId>,
    profile: SymbolizedProfile,
}

impl Named {
    fn of(pid: u32, told: &Told) -> Self {
        let mut profile = Profile::new("inuse_space");
        let tables = &mut profile.merged.tables;
        let stacks = told.stacks.iter().map(|frames| {
            let locations = frames.iter().map(|frame| {
                let build_id = frame.build_id.as_deref().and_then(|id| id.parse().ok());
                let object = (!frame.path.is_empty()).then(|| tables.intern_object(build_id, &frame.path));
                let file = tables.intern_string("");
                let lines = frame.functions.iter().map(|name| Line { function: tables.intern_string(name), file, line: 0 }).collect();
                tables.intern_location(Location { kind: FrameKind::parse(&frame.kind), object, address: Svma(frame.address), lines })
            });
            let locations: Vec<_> = locations.collect();
            tables.intern_stack(&locations, StackEnd::Unstated)
        });
        let stacks: Vec<_> = stacks.collect();
        let bytes = SampleType::plain("inuse_space", "bytes");
        stacks.iter().for_each(|stack| profile.merged.add(*stack, &bytes, 1));
        let samples = told.samples.iter().copied().collect();
        Self { samples, stacks, profile: profile.symbolize(&LocalSymbols::of_process(pid)) }
    }

    /// The function that asked the allocator, and all frames as text, leaf first.
    fn describe(&self, stack: usize) -> (String, Vec<String>) {
        let Some(id) = self.stacks.get(stack) else { return ("[stack not known]".to_owned(), Vec::new()) };
        let frames: Vec<_> = self.profile.frames(*id).collect();
        let site = frames.iter().find(|frame| !allocates(frame)).or_else(|| frames.first());
        let function = site.map_or_else(|| "[no stack]".to_owned(), |frame| frame.name.to_string());
        let place = |frame: &&flamekeeper_profile::Frame| match (&*frame.file, frame.line) {
            ("", _) => format!("{} ({})", frame.name, file_name(&frame.module)),
            (file, line) => format!("{} ({}) {file}:{line}", frame.name, file_name(&frame.module)),
        };
        (function, frames.iter().map(place).collect())
    }

    fn function_of(&self, number: u64) -> String {
        self.samples.get(&number).map_or_else(|| "[stack not known]".to_owned(), |stack| self.describe(*stack).0)
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Blocks by stack: what most is lost of comes first, then what there is most of.
fn by_stack(found: &Scan, named: &Named) -> Vec<StackJson> {
    let mut groups: BTreeMap<usize, Vec<&ScannedBlock>> = BTreeMap::new();
    for block in &found.blocks {
        groups.entry(named.samples.get(&block.number).copied().unwrap_or(usize::MAX)).or_default().push(block);
    }
    let stack = |(stack, blocks): (usize, Vec<&ScannedBlock>)| {
        let (function, frames) = named.describe(stack);
        let lost: Vec<_> = blocks.iter().filter(|block| block.held.is_empty()).collect();
        let mut holders: BTreeMap<String, usize> = BTreeMap::new();
        for block in &blocks {
            let mut names: Vec<_> = block.held.keys().map(|holder| describe(holder, named)).collect();
            names.sort_unstable();
            names.dedup();
            names.into_iter().for_each(|name| *holders.entry(name).or_default() += 1);
        }
        let mut held: Vec<_> = holders.into_iter().map(|(by, blocks)| HeldJson { by, blocks }).collect();
        held.sort_by_key(|held| std::cmp::Reverse(held.blocks));
        StackJson {
            function,
            blocks: blocks.len(),
            bytes: blocks.iter().map(|block| block.bytes).sum(),
            lost: lost.len(),
            lost_bytes: lost.iter().map(|block| block.bytes).sum(),
            held,
            stack: frames,
        }
    };
    let mut stacks: Vec<_> = groups.into_iter().map(stack).collect();
    stacks.sort_by(|a, b| b.lost_bytes.total_cmp(&a.lost_bytes).then_with(|| b.bytes.total_cmp(&a.bytes)));
    stacks
}

fn describe(holder: &Holder, named: &Named) -> String {
    match holder {
        Holder::Variable(name, path) => format!("the variable {} of {}", readable(name), file_name(path)),
        Holder::Data(path) => format!("a variable without a symbol of {}", file_name(path)),
        Holder::Stack(thread) => format!("the stack of the thread {thread}"),
        Holder::Block(number) => format!("a sampled block of {}", named.function_of(*number)),
        Holder::Memory => "memory in no sampled block (of the heap, mostly)".to_owned(),
    }
}

fn text(all: &ScanJson, limit: usize) -> String {
    let mebibytes = |bytes: f64| format!("{:.1} MiB", bytes / f64::from(1 << 20));
    let mut text = String::new();
    for stack in all.stacks.iter().take(limit) {
        let StackJson { function, blocks, bytes, lost, lost_bytes, .. } = stack;
        // Writing to a String cannot fail.
        _ = writeln!(text, "{function}: {blocks} sampled blocks ({})", mebibytes(*bytes));
        if *lost > 0 {
            _ = writeln!(text, "  {lost} lost: nothing points to them ({})", mebibytes(*lost_bytes));
        }
        for HeldJson { by, blocks } in stack.held.iter().take(HOLDERS) {
            _ = writeln!(text, "  {blocks} held by {by}");
        }
        if stack.held.len() > HOLDERS {
            _ = writeln!(text, "  and {} more holders", stack.held.len() - HOLDERS);
        }
        stack.stack.iter().take(FRAMES).for_each(|frame| _ = writeln!(text, "    {frame}"));
    }
    if all.stacks.len() > limit {
        _ = writeln!(text, "and {} more stacks; --limit shows more", all.stacks.len() - limit);
    }
    let unreadable =
        if all.bytes_unreadable > 0 { format!(", {} could not be read", mebibytes(all.bytes_unreadable as f64)) } else { String::new() };
    _ = writeln!(
        text,
        "looked at {} sampled blocks in {} of memory over {:.1} s{unreadable}; {} blocks were too young, or freed meanwhile",
        all.blocks,
        mebibytes(all.bytes_read as f64),
        all.seconds,
        all.blocks_left_out
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is lost comes first, what is held says by what.
    #[test]
    fn text_of_a_scan() {
        let told: Told = serde_json::from_str(
            r#"{"stacks": [[{"path": "/a", "build_id": null, "address": 0, "kind": "native", "functions": ["malloc"]}, {"path": "/a", "build_id": null, "address": 0, "kind": "native", "functions": ["keep"]}],
                [{"path": "/a", "build_id": null, "address": 0, "kind": "native", "functions": ["lose"]}]], "samples": [[1, 0], [2, 1], [3, 1]]}"#,
        )
        .unwrap();
        let block = |number, held: &[Holder]| ScannedBlock {
            number,
            size: 9,
            bytes: 1048576.0,
            held: held.iter().cloned().map(|holder| (holder, 1)).collect(),
        };
        let registry = Holder::Variable("_ZL8registry".into(), "/bin/a".into());
        let blocks = vec![block(1, &[registry, Holder::Memory]), block(2, &[]), block(3, &[Holder::Block(1)])];
        let found = Scan { blocks, ..Scan::default() };
        let stacks = by_stack(&found, &Named::of(0, &told));
        let all = ScanJson { pid: 7, bytes_read: 3 << 20, bytes_unreadable: 0, seconds: 0.5, blocks: 3, blocks_left_out: 4, stacks };
        let expected = "lose: 2 sampled blocks (2.0 MiB)\n  1 lost: nothing points to them (1.0 MiB)\n  1 held by a sampled block of keep\n    lose (a)\n\
            keep: 1 sampled blocks (1.0 MiB)\n  1 held by memory in no sampled block (of the heap, mostly)\n  1 held by the variable registry of a\n    malloc (a)\n    keep (a)\n\
            looked at 3 sampled blocks in 3.0 MiB of memory over 0.5 s; 4 blocks were too young, or freed meanwhile\n";
        assert_eq!(text(&all, 20), expected);
    }
}
