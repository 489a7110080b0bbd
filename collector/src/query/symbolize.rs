//! Names for locations: each distinct one is looked up once.

use flamekeeper_profile::{Frame, FrameKind, Line, Location, Tables, UnnamedReason};
use flamekeeper_symbolizer::{SymbolFrame, Symbolize, Symbolized};

/// The frames of a location, **innermost first**; there is always at least one. Names that the sender gave are taken as
/// they are; a location without a name becomes `module+0xaddress`, with the reason.
pub(super) fn frames(tables: &Tables, location: &Location, symbols: &dyn Symbolize) -> Vec<Frame> {
    let object = location.object.and_then(|id| tables.object(id));
    let module = object.map_or("", |object| tables.string(object.path));
    let sent = sent_frames(tables, location, module);
    if !sent.is_empty() {
        return sent;
    }
    let found = match object {
        None => Symbolized::Unknown(UnnamedReason::NoMapping),
        Some(object) => symbols.symbolize(object.build_id.as_ref(), module, location.address),
    };
    match found {
        Symbolized::Frames(frames) if !frames.is_empty() => frames.into_iter().map(|frame| found_frame(frame, location, module)).collect(),
        Symbolized::Frames(_) => vec![unnamed(location, module, UnnamedReason::NotCovered)],
        Symbolized::Unknown(reason) => vec![unnamed(location, module, reason)],
    }
}

/// The frames that the sender named itself. A nameless one among named ones is unnamed; none at all if no line has a name.
fn sent_frames(tables: &Tables, location: &Location, module: &str) -> Vec<Frame> {
    let name = |index: usize| location.lines.get(index).map_or("", |line| tables.string(line.function));
    let outermost = location.lines.len().saturating_sub(1);
    if (0..location.lines.len()).all(|index| name(index).is_empty()) {
        return Vec::new();
    }
    let frame = |(index, line): (usize, &Line)| {
        let frame = SymbolFrame {
            function: name(index).to_owned(),
            file: tables.string(line.file).to_owned(),
            line: line.line,
            inlined: index < outermost,
        };
        found_frame(frame, location, module)
    };
    location.lines.iter().enumerate().map(frame).collect()
}

fn found_frame(found: SymbolFrame, location: &Location, module: &str) -> Frame {
    if found.function.is_empty() {
        return Frame { inlined: found.inlined, ..unnamed(location, module, UnnamedReason::NotCovered) };
    }
    Frame {
        name: found.function.into(),
        module: module.into(),
        file: found.file.into(),
        line: found.line,
        kind: location.kind,
        inlined: found.inlined,
        unnamed: None,
    }
}

/// `libc.so.6+0x1234`; the module of an address in no file is written `[unknown]`.
fn unnamed(location: &Location, module: &str, reason: UnnamedReason) -> Frame {
    let file_name = module.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("[unknown]");
    Frame {
        name: format!("{file_name}+{:#x}", location.address).into(),
        module: module.into(),
        file: "".into(),
        line: 0,
        kind: location.kind,
        inlined: false,
        unnamed: Some(reason),
    }
}

/// A frame that is no function: it says how a stack ends. It is drawn and stands in folded text, but is no function in a
/// table.
pub(super) fn marker(text: String) -> Frame {
    Frame { name: text.into(), module: "".into(), file: "".into(), line: 0, kind: FrameKind::Other, inlined: false, unnamed: None }
}
