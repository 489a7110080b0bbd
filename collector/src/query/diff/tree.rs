//! One call tree with the values of two profiles.

use std::cmp::Ordering;

use flamekeeper_profile::Frame;

/// A node of a [`DiffTree`]; pairs are A and B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiffNode {
    /// Distance from the root, which has 0.
    pub depth: u32,
    /// Place in [`DiffTree::frames`].
    pub frame: u32,
    /// Values of stacks that end here.
    pub own: [u64; 2],
    /// Values of children that were left out, with all below them.
    pub cut: [u64; 2],
}

/// A call tree in preorder, siblings by the sum of their shares of both sides, descending. The sum of `own` and `cut` over a node's
/// subtree is its total.
#[derive(Clone, Debug, Default)]
pub struct DiffTree {
    /// The functions; the first is the root's, without a name.
    pub frames: Vec<Frame>,
    /// The nodes.
    pub nodes: Vec<DiffNode>,
}

/// A stack's functions, root first, and its values.
pub(super) type Path = (Box<[u32]>, [u64; 2]);

struct Node {
    depth: u32,
    frame: u32,
    own: [u64; 2],
    total: [u64; 2],
    parent: usize,
    end: usize,
}

/// Merges stacks, and keeps the `most` widest nodes. Functions in paths are places in `frames`, whose first is the root's.
pub(super) fn merge(frames: Vec<Frame>, mut paths: Vec<Path>, most: usize) -> DiffTree {
    paths.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut nodes = unordered(&paths);
    add_up(&mut nodes);
    let totals = nodes[0].total;
    let width = |node: &Node| share(node.total[0], totals[0]) + share(node.total[1], totals[1]);
    let widths: Vec<f64> = nodes.iter().map(width).collect();
    let kept = widest(&widths, most);
    DiffTree { frames, nodes: ordered(&nodes, &widths, &kept) }
}

#[allow(clippy::cast_precision_loss)] // A width on a screen.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn unordered(paths: &[Path]) -> Vec<Node> {
    let mut nodes = vec![Node { depth: 0, frame: 0, own: [0; 2], total: [0; 2], parent: 0, end: 1 }];
    let mut open: Vec<usize> = vec![0];
    let mut previous: &[u32] = &[];
    for (path, values) in paths {
        let shared = path.iter().zip(previous).take_while(|(a, b)| a == b).count();
        open.truncate(shared + 1);
        for frame in &path[shared..] {
            let parent = open.last().copied().unwrap_or_default();
            let depth = u32::try_from(open.len()).unwrap_or(u32::MAX);
            open.push(nodes.len());
            nodes.push(Node { depth, frame: *frame, own: [0; 2], total: [0; 2], parent, end: nodes.len() + 1 });
        }
        let node = open.last().copied().unwrap_or_default();
        add(&mut nodes[node].own, *values);
        previous = path;
    }
    nodes
}

fn add(sum: &mut [u64; 2], values: [u64; 2]) {
    *sum = [sum[0].saturating_add(values[0]), sum[1].saturating_add(values[1])];
}

/// A child stands after its parent always, so one pass from the end adds every subtree up.
fn add_up(nodes: &mut [Node]) {
    for place in (0..nodes.len()).rev() {
        let own = nodes[place].own;
        add(&mut nodes[place].total, own);
        if place > 0 {
            let (parent, total, end) = (nodes[place].parent, nodes[place].total, nodes[place].end);
            add(&mut nodes[parent].total, total);
            nodes[parent].end = nodes[parent].end.max(end);
        }
    }
}

/// Which nodes are kept. A parent is at least as wide as its children and stands before them, so it is kept where one of them is.
fn widest(widths: &[f64], most: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..widths.len()).collect();
    order.sort_unstable_by(|a, b| widths[*b].total_cmp(&widths[*a]).then(a.cmp(b)));
    let mut kept = vec![false; widths.len()];
    order.into_iter().take(most.max(1)).for_each(|place| kept[place] = true);
    kept[0] = true;
    kept
}

fn ordered(nodes: &[Node], widths: &[f64], kept: &[bool]) -> Vec<DiffNode> {
    let mut found = Vec::new();
    let mut pending = vec![0];
    while let Some(place) = pending.pop() {
        let node = &nodes[place];
        let mut cut = [0; 2];
        let first = pending.len();
        let mut child = place + 1;
        while child < node.end {
            if kept[child] {
                pending.push(child);
            } else {
                add(&mut cut, nodes[child].total);
            }
            child = nodes[child].end;
        }
        // The widest last: the stack of pending nodes hands it out first.
        pending[first..].sort_unstable_by(|a, b| match widths[*a].total_cmp(&widths[*b]) {
            Ordering::Equal => b.cmp(a),
            unequal => unequal,
        });
        found.push(DiffNode { depth: node.depth, frame: node.frame, own: node.own, cut });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> Vec<Path> {
        vec![([1, 2].into(), [6, 0]), ([1, 3].into(), [2, 9]), ([1].into(), [1, 0]), ([4].into(), [1, 1])]
    }

    /// Stacks of both sides share their nodes, and the wider come first.
    #[test]
    fn merges_both_sides() {
        let tree = merge(Vec::new(), paths(), 100);
        let seen: Vec<_> = tree.nodes.iter().map(|node| (node.depth, node.frame, node.own)).collect();
        assert_eq!(seen, [(0, 0, [0, 0]), (1, 1, [1, 0]), (2, 3, [2, 9]), (2, 2, [6, 0]), (1, 4, [1, 1])]);
    }

    /// What is left out stands in its parent's `cut`, exactly.
    #[test]
    fn cuts_are_exact() {
        for most in 0..6 {
            let tree = merge(Vec::new(), paths(), most);
            assert!(tree.nodes.len() <= most.max(1));
            let mut sum = [0; 2];
            tree.nodes.iter().for_each(|node| [node.own, node.cut].into_iter().for_each(|values| add(&mut sum, values)));
            assert_eq!(sum, [10, 10], "{most}");
        }
        assert_eq!(merge(Vec::new(), Vec::new(), 5).nodes.len(), 1);
    }
}
