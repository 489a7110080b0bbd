//! The collector's flamegraph answer (`docs/http-api.md`), read by hand: independent of the code that writes it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// A node of the call tree.
#[derive(Clone, Debug)]
pub struct Node {
    /// The function's name.
    pub name: String,
    /// Module, file, line and kind.
    pub module: String,
    /// Source file; empty where unknown.
    pub file: String,
    /// Line; 0 where unknown.
    pub line: u64,
    /// Kind of frame, with ` (inlined)` where it is.
    pub kind: String,
    /// Why it has no name; empty for one that has.
    pub unnamed: String,
    /// Distance from the root.
    pub depth: u64,
    /// Value of the node itself.
    pub self_value: u64,
    /// Value of the node and all below it.
    pub total: u64,
}

/// An answer: the nodes in preorder, and what is said about all of them.
#[derive(Clone, Debug)]
pub struct Flamegraph {
    /// The nodes, the root first.
    pub nodes: Vec<Node>,
    /// Number of samples behind it.
    pub samples: u64,
    /// The answer's completeness, as it is.
    pub completeness: Value,
}

impl Flamegraph {
    /// Reads an answer and checks what the contract promises: columns of one length, a root, depths that grow by one at
    /// most, totals that add up.
    ///
    /// # Errors
    /// What the answer breaks.
    pub fn read(answer: &Value) -> Result<Self> {
        let strings = answer["strings"].as_array().context("no strings")?;
        ensure!(strings.first().and_then(Value::as_str) == Some(""), "string 0 is not empty");
        let text = |column: &Value, index: usize| -> Result<String> {
            let place = number(&column[index])?;
            let value = strings.get(usize::try_from(place)?).and_then(Value::as_str);
            Ok(value.context("an index beyond the strings")?.to_owned())
        };
        let (frames, columns) = (&answer["frames"], &answer["nodes"]);
        let count = columns["depth"].as_array().context("no nodes")?.len();
        let mut nodes = Vec::with_capacity(count);
        for index in 0..count {
            let frame = usize::try_from(number(&columns["frame"][index])?)?;
            let kind = usize::try_from(number(&frames["kind"][frame])?)?;
            let own = number(&columns["self"][index])?;
            nodes.push(Node {
                name: text(&frames["name"], frame)?,
                module: text(&frames["module"], frame)?,
                file: text(&frames["file"], frame)?,
                line: number(&frames["line"][frame])?,
                unnamed: text(&frames["unnamed"], frame)?,
                kind: answer["kinds"][kind].as_str().context("an unknown kind")?.to_owned(),
                depth: number(&columns["depth"][index])?,
                self_value: own,
                total: own + number(&columns["cut"][index])?,
            });
        }
        add_up(&mut nodes)?;
        ensure!(nodes[0].total == number(&answer["total"])?, "the root's total is not the answer's");
        Ok(Self { nodes, samples: number(&answer["samples"])?, completeness: answer["completeness"].clone() })
    }

    /// The value of all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.nodes.first().map_or(0, |root| root.total)
    }

    /// The value of everything below (and in) the functions that `name` accepts, counted once per stack.
    pub fn total_of(&self, name: impl Fn(&str) -> bool) -> u64 {
        let mut sum = 0;
        let mut covered: Option<u64> = None;
        for node in &self.nodes {
            if covered.is_some_and(|depth| node.depth > depth) {
                continue;
            }
            covered = name(&node.name).then_some(node.depth);
            sum += if covered.is_some() { node.total } else { 0 };
        }
        sum
    }

    /// The paths from below the root to each node that `name` accepts, root first, heaviest node first.
    pub fn paths_to(&self, name: impl Fn(&str) -> bool) -> Vec<(Vec<Node>, u64)> {
        let mut path: Vec<Node> = Vec::new();
        let mut found = Vec::new();
        for node in self.nodes.iter().skip(1) {
            path.truncate(usize::try_from(node.depth).unwrap_or(usize::MAX).saturating_sub(1));
            path.push(node.clone());
            if name(&node.name) {
                found.push((path.clone(), node.total));
            }
        }
        found.sort_by_key(|(_, total)| std::cmp::Reverse(*total));
        found
    }

    /// Self values by function name.
    #[must_use]
    pub fn self_by_name(&self) -> BTreeMap<&str, u64> {
        let mut sums = BTreeMap::new();
        for node in &self.nodes {
            *sums.entry(node.name.as_str()).or_default() += node.self_value;
        }
        sums
    }
}

/// Adds every node's value to its parent's, from the last to the first.
fn add_up(nodes: &mut [Node]) -> Result<()> {
    ensure!(nodes.first().is_some_and(|root| root.depth == 0 && root.name.is_empty()), "node 0 is no root");
    for index in 1..nodes.len() {
        let (depth, before) = (nodes[index].depth, nodes[index - 1].depth);
        ensure!((1..=before + 1).contains(&depth), "the depth jumps from {before} to {depth}");
    }
    let deepest = nodes.iter().map(|node| node.depth).max().unwrap_or(0);
    let mut sums = vec![0; usize::try_from(deepest)? + 2];
    for node in nodes.iter_mut().rev() {
        let depth = usize::try_from(node.depth)?;
        node.total += std::mem::take(&mut sums[depth + 1]);
        sums[depth] += node.total;
    }
    Ok(())
}

/// A count in an answer.
///
/// # Errors
/// When it is no unsigned integer.
pub fn number(value: &Value) -> Result<u64> {
    value.as_u64().with_context(|| format!("not a count: {value}"))
}
