//! JSON: the columnar call tree and the table of functions (`docs/http-api.md`).

use std::collections::HashMap;

use flamekeeper_profile::{CallTree, Frame, FrameKind, SampleType, UnnamedReason};
use serde::Serialize;

use super::completeness::CompletenessJson;
use crate::query::{Function, PrunedTree, SymbolizedProfile};

#[derive(Serialize)]
struct FlamegraphJson<'a> {
    from: f64,
    to: f64,
    #[serde(rename = "type")]
    profile_type: &'a str,
    unit: &'a str,
    total: u64,
    samples: u64,
    completeness: CompletenessJson,
    strings: Vec<&'a str>,
    frames: FramesJson,
    kinds: Vec<String>,
    nodes: NodesJson,
}

/// One element for each frame that the nodes use, in the order of their first use. `name`, `module`, `file` and
/// `unnamed` are places in `strings`, `kind` one in `kinds`.
#[derive(Default, Serialize)]
struct FramesJson {
    name: Vec<u32>,
    module: Vec<u32>,
    file: Vec<u32>,
    line: Vec<u32>,
    start_line: Vec<u32>,
    kind: Vec<u32>,
    /// Why it has no name; the empty string for one that has.
    unnamed: Vec<u32>,
}

/// One element for each node, in preorder.
#[derive(Default, Serialize)]
struct NodesJson {
    depth: Vec<u32>,
    frame: Vec<u32>,
    #[serde(rename = "self")]
    self_value: Vec<u64>,
    cut: Vec<u64>,
}

/// The columnar call tree, without what is narrower than `min_share` (0 to 1) of it.
///
/// # Errors
/// None that an answer of numbers and text can have; they are passed on as the encoder states them.
pub fn flamegraph_json(profile: &SymbolizedProfile, min_share: f64) -> serde_json::Result<Vec<u8>> {
    let tree = profile.tree();
    let mut columns = Columns::new(&tree);
    for node in PrunedTree::of(&tree, min_share).nodes {
        let frame = columns.frame(node.frame.raw());
        columns.nodes.depth.push(node.depth);
        columns.nodes.frame.push(frame);
        columns.nodes.self_value.push(node.self_value);
        columns.nodes.cut.push(node.cut);
    }
    serde_json::to_vec(&FlamegraphJson {
        from: profile.window().from.as_seconds(),
        to: profile.window().to.as_seconds(),
        profile_type: profile.profile_type(),
        unit: profile.unit(),
        total: tree.total(),
        samples: profile.total().samples,
        completeness: CompletenessJson::with_names(profile.completeness()),
        strings: columns.strings.texts,
        frames: columns.frames,
        kinds: columns.kinds,
        nodes: columns.nodes,
    })
}

/// Texts, each once; the empty one is the first.
struct Strings<'a> {
    texts: Vec<&'a str>,
    places: HashMap<&'a str, u32>,
}

impl<'a> Strings<'a> {
    fn place(&mut self, text: &'a str) -> u32 {
        *self.places.entry(text).or_insert_with(|| {
            self.texts.push(text);
            place(self.texts.len() - 1)
        })
    }
}

/// Tables are bounded by the stacks of an answer, far below 2^32.
fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

struct Columns<'a> {
    tree: &'a CallTree,
    strings: Strings<'a>,
    kinds: Vec<String>,
    frames: FramesJson,
    nodes: NodesJson,
    /// Where a frame of the tree stands in `frames`.
    places: Vec<Option<u32>>,
}

impl<'a> Columns<'a> {
    fn new(tree: &'a CallTree) -> Self {
        let strings = Strings { texts: vec![""], places: HashMap::from([("", 0)]) };
        let places = vec![None; tree.frames().len()];
        Self { tree, strings, kinds: vec!["root".into()], frames: FramesJson::default(), nodes: NodesJson::default(), places }
    }

    fn frame(&mut self, raw: u32) -> u32 {
        if let Some(known) = self.places[raw as usize] {
            return known;
        }
        let frame = &self.tree.frames()[raw as usize];
        let next = place(self.frames.name.len());
        self.places[raw as usize] = Some(next);
        self.frames.name.push(self.strings.place(&frame.name));
        self.frames.module.push(self.strings.place(&frame.module));
        self.frames.file.push(self.strings.place(&frame.file));
        self.frames.line.push(frame.line);
        self.frames.start_line.push(frame.start_line);
        // The first frame asked for is the root's, of the root's own kind.
        let kind = if next == 0 { 0 } else { self.kind(frame) };
        self.frames.kind.push(kind);
        self.frames.unnamed.push(self.strings.place(frame.unnamed.map_or("", UnnamedReason::as_str)));
        next
    }

    fn kind(&mut self, frame: &Frame) -> u32 {
        let inlined = if frame.inlined { " (inlined)" } else { "" };
        let kind = format!("{}{inlined}", frame.kind.as_str());
        let known = self.kinds.iter().position(|known| *known == kind);
        place(known.unwrap_or_else(|| {
            self.kinds.push(kind);
            self.kinds.len() - 1
        }))
    }
}

#[derive(Serialize)]
struct TopJson<'a> {
    from: f64,
    to: f64,
    #[serde(rename = "type")]
    profile_type: &'a str,
    unit: &'a str,
    total: u64,
    /// The standard error of the total, where the type has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<u64>,
    samples: u64,
    completeness: CompletenessJson,
    /// How many functions there are before `limit`.
    functions_total: usize,
    functions: Vec<FunctionJson<'a>>,
}

#[derive(Serialize)]
struct FunctionJson<'a> {
    name: &'a str,
    module: &'a str,
    file: &'a str,
    line: u32,
    kind: &'static str,
    /// Why it has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    unnamed: Option<&'static str>,
    #[serde(rename = "self")]
    self_value: u64,
    total: u64,
    /// The standard errors of both, where the type has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    self_error: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_error: Option<u64>,
}

/// By name, module and kind: the variances of a function's self and total.
type Variances<'a> = HashMap<(&'a str, &'a str, FrameKind), (u64, u64)>;

impl<'a> FunctionJson<'a> {
    /// `error` is what a variance means in the profile's unit.
    fn new(function: &'a Function, variances: Option<&Variances<'_>>, error: impl Fn(u64) -> u64) -> Self {
        let of = |frame: &Frame| variances?.get(&(&*frame.name, &*frame.module, frame.kind)).copied();
        // A block that is larger than many intervals is known exactly: no variance is one of 0.
        let variance = variances.map(|_| of(&function.frame).unwrap_or_default());
        let frame = &function.frame;
        Self {
            name: &frame.name,
            module: &frame.module,
            file: &frame.file,
            line: frame.line,
            kind: frame.kind.as_str(),
            unnamed: frame.unnamed.map(UnnamedReason::as_str),
            self_value: function.self_value,
            total: function.total,
            self_error: variance.map(|(own, _)| error(own)),
            total_error: variance.map(|(_, total)| error(total)),
        }
    }
}

/// The functions by self, at most `limit` of them; 0 for all. `variances` is the profile of the type's variance, where it has one.
///
/// # Errors
/// As [`flamegraph_json`].
pub fn top_json(profile: &SymbolizedProfile, variances: Option<&SymbolizedProfile>, limit: usize) -> serde_json::Result<Vec<u8>> {
    let functions = profile.top();
    // Where nobody has told a variance there is none to tell of: heaps that programs serve themselves.
    let variances = variances.filter(|variances| variances.total().weight > 0);
    let all = variances.map(SymbolizedProfile::top);
    let by_function: Option<Variances<'_>> = all.as_ref().map(|all| {
        let of = |function: &Function| (function.self_value, function.total);
        all.iter().map(|function| ((&*function.frame.name, &*function.frame.module, function.frame.kind), of(function))).collect()
    });
    // Positive, and `as` saturates.
    let error = |variance| SampleType::standard_error(profile.profile_type(), variance).round() as u64;
    let limit = if limit == 0 { functions.len() } else { limit };
    let total = profile.total();
    serde_json::to_vec(&TopJson {
        from: profile.window().from.as_seconds(),
        to: profile.window().to.as_seconds(),
        profile_type: profile.profile_type(),
        unit: profile.unit(),
        total: total.weight,
        error: variances.map(|variances| error(variances.total().weight)),
        samples: total.samples,
        completeness: CompletenessJson::with_names(profile.completeness()),
        functions_total: functions.len(),
        functions: functions.iter().take(limit).map(|function| FunctionJson::new(function, by_function.as_ref(), error)).collect(),
    })
}
