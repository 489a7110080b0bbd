//! What `perf script` prints of its own unwinding.

use std::collections::HashMap;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its address; of a caller, one before the return address.
    pub(super) address: u64,
    /// The function, or `[unknown]`.
    pub(super) function: String,
    /// The file that it is in, or `[unknown]`.
    pub(super) object: String,
}

/// A sample.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// The thread's name.
    pub(super) comm: String,
    /// The frames of user space, leaf first.
    pub(super) frames: Vec<Frame>,
}

/// Samples by thread and time in nanoseconds, from the output of
/// `perf script --ns -F comm,pid,tid,time,ip,sym,dso --no-inline`.
pub(super) fn parse(text: &str) -> HashMap<(u32, u64), Sample> {
    let mut samples = HashMap::new();
    for block in text.split("\n\n") {
        let mut lines = block.lines().filter(|line| !line.is_empty());
        let Some((key, comm)) = lines.next().and_then(heading) else { continue };
        let frames = lines.filter_map(frame).filter(|frame| frame.address >> 63 == 0).collect();
        samples.insert(key, Sample { comm, frames });
    }
    samples
}

/// `comm pid/tid seconds.nanoseconds:`; the name may hold spaces.
fn heading(line: &str) -> Option<((u32, u64), String)> {
    let (rest, time) = line.trim_end().trim_end_matches(':').rsplit_once(char::is_whitespace)?;
    let (comm, tasks) = rest.trim_end().rsplit_once(char::is_whitespace)?;
    let (seconds, nanoseconds) = time.split_once('.')?;
    let time = seconds.parse::<u64>().ok()? * 1_000_000_000 + nanoseconds.parse::<u64>().ok()?;
    Some(((tasks.split_once('/')?.1.parse().ok()?, time), comm.trim().to_owned()))
}

/// `address function (object)`; the function's name may hold spaces and parentheses, and the object be `(deleted)`.
fn frame(line: &str) -> Option<Frame> {
    let (address, rest) = line.trim().split_once(' ')?;
    let rest = rest.strip_suffix(" (deleted))").or(rest.strip_suffix(')')).unwrap_or(rest);
    let (function, object) = rest.rsplit_once(" (")?;
    let object = object.to_owned();
    Some(Frame { address: u64::from_str_radix(address, 16).ok()?, function: function.to_owned(), object })
}

/// Reads back what perf prints.
#[test]
fn perf_script_is_read() {
    let text = "swapper     0/0     12.000000001: \n\tffffffff81 idle ([kernel.kallsyms])\n\n\
        my prog  17/18     7.000000200: \n\tffffffff9aa00000 entry ([kernel.kallsyms])\n\t    55d0 f(int) (/bin/a (deleted))\n\t 7f10 [unknown] (/lib/c.so)\n\n";
    let samples = parse(text);
    assert_eq!(samples.len(), 2);
    let sample = &samples[&(18, 7_000_000_200)];
    assert_eq!((&*sample.comm, sample.frames.len()), ("my prog", 2));
    let expected = Frame { address: 0x55d0, function: "f(int)".into(), object: "/bin/a".into() };
    assert_eq!(sample.frames[0], expected);
}
