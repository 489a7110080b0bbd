//! The call tree: symbolized stacks merged from the root, what a flamegraph draws.

use std::collections::HashMap;

use crate::frame::{Frame, FrameKind};
use crate::intern::{Id, Table};

/// What makes two frames the same function in a tree: all but file and line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FrameKey {
    name: Box<str>,
    module: Box<str>,
    kind: FrameKind,
    inlined: bool,
}

/// A handle of a frame in a [`CallTreeBuilder`] or [`CallTree`].
pub type FrameId = Id<Frame>;

const ROOT: u32 = 0;

/// Builds a [`CallTree`] from stacks, root first.
#[derive(Debug, Default)]
pub struct CallTreeBuilder {
    keys: Table<FrameKey>,
    frames: Vec<Frame>,
    children: HashMap<(u32, u32), u32, foldhash::fast::RandomState>,
    frame: Vec<u32>,
    parent: Vec<u32>,
    self_value: Vec<u64>,
}

impl CallTreeBuilder {
    /// An empty tree: a root without a name.
    #[must_use]
    pub fn new() -> Self {
        let mut builder = Self::default();
        builder.intern(Frame {
            name: "".into(),
            module: "".into(),
            file: "".into(),
            line: 0,
            kind: FrameKind::Other,
            inlined: false,
            unnamed: None,
        });
        builder.push_node(ROOT, ROOT);
        builder
    }

    /// The handle of a frame. Frames that differ in file and line only share one, which keeps the first file and line.
    pub fn intern(&mut self, frame: Frame) -> FrameId {
        let key = FrameKey { name: frame.name.clone(), module: frame.module.clone(), kind: frame.kind, inlined: frame.inlined };
        let id = self.keys.intern(key);
        if id.index() == self.frames.len() {
            self.frames.push(frame);
        }
        Id::new(id.raw())
    }

    /// Adds `value` to the stack of these frames, **root first**.
    pub fn add(&mut self, stack: impl IntoIterator<Item = FrameId>, value: u64) {
        let mut node = ROOT;
        for frame in stack {
            node = match self.children.get(&(node, frame.raw())) {
                Some(child) => *child,
                None => self.push_node(node, frame.raw()),
            };
        }
        let sum = &mut self.self_value[node as usize];
        *sum = sum.saturating_add(value);
    }

    fn push_node(&mut self, parent: u32, frame: u32) -> u32 {
        // Nodes are bounded by the locations of the stacks added, which are bounded far below 2^32.
        let node = u32::try_from(self.frame.len()).unwrap_or(u32::MAX);
        if node != ROOT {
            self.children.insert((parent, frame), node);
        }
        self.frame.push(frame);
        self.parent.push(parent);
        self.self_value.push(0);
        node
    }

    /// The finished tree, in preorder, siblings by total descending and by name where equal.
    #[must_use]
    pub fn finish(self) -> CallTree {
        let mut total = self.self_value.clone();
        // A child is always made after its parent, so one pass from the end adds every subtree up.
        for node in (1..total.len()).rev() {
            let parent = self.parent[node] as usize;
            total[parent] = total[parent].saturating_add(total[node]);
        }
        let mut children: Vec<Vec<u32>> = vec![Vec::new(); total.len()];
        for (index, parent) in self.parent.iter().enumerate().skip(1) {
            children[*parent as usize].push(u32::try_from(index).unwrap_or(u32::MAX));
        }
        let name = |node: u32| &*self.frames[self.frame[node as usize] as usize].name;
        let mut nodes = Vec::with_capacity(total.len());
        let mut pending = vec![(ROOT, 0)];
        while let Some((node, depth)) = pending.pop() {
            let place = node as usize;
            nodes.push(Node { depth, frame: Id::new(self.frame[place]), self_value: self.self_value[place], total: total[place] });
            let mut siblings = std::mem::take(&mut children[place]);
            siblings.sort_unstable_by(|a, b| {
                // The heaviest last: the stack of pending nodes hands it out first.
                total[*a as usize].cmp(&total[*b as usize]).then_with(|| name(*b).cmp(name(*a)))
            });
            pending.extend(siblings.into_iter().map(|child| (child, depth + 1)));
        }
        CallTree { frames: self.frames, nodes }
    }
}

/// A node of a [`CallTree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Distance from the root, which has 0.
    pub depth: u32,
    /// The function.
    pub frame: FrameId,
    /// The value of stacks that end here.
    pub self_value: u64,
    /// The value of stacks that pass through or end here.
    pub total: u64,
}

/// A call tree in preorder: the root first, then each child with all that is below it, the heaviest child first.
#[derive(Clone, Debug)]
pub struct CallTree {
    frames: Vec<Frame>,
    nodes: Vec<Node>,
}

impl CallTree {
    /// The nodes in preorder. There is always a root.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The distinct functions. The first is the root's, without a name.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The function of a handle; the root's for a handle of another tree.
    #[must_use]
    pub fn frame(&self, id: FrameId) -> &Frame {
        self.frames.get(id.index()).unwrap_or(&self.frames[0])
    }

    /// The value of all stacks.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.nodes.first().map_or(0, |root| root.total)
    }

    /// The place after the last node below `node`: its subtree is `node..end`.
    #[must_use]
    pub fn subtree_end(&self, node: usize) -> usize {
        let Some(depth) = self.nodes.get(node).map(|node| node.depth) else { return node };
        let below = self.nodes[node + 1..].iter().take_while(|other| other.depth > depth).count();
        node + 1 + below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str) -> Frame {
        Frame { name: name.into(), module: "m".into(), file: "".into(), line: 0, kind: FrameKind::Native, inlined: false, unnamed: None }
    }

    /// Stacks that share a prefix share its nodes; totals are sums of what is below; order is by weight.
    #[test]
    fn shares_prefixes() {
        let mut builder = CallTreeBuilder::new();
        let [main, a, b] = ["main", "a", "b"].map(|name| builder.intern(frame(name)));
        builder.add([main, a], 3);
        builder.add([main, b], 5);
        builder.add([main], 1);
        builder.add([main, b], 2);
        let tree = builder.finish();
        let seen: Vec<_> = tree.nodes().iter().map(|n| (n.depth, &*tree.frame(n.frame).name, n.self_value, n.total)).collect();
        assert_eq!(seen, [(0, "", 0, 11), (1, "main", 1, 11), (2, "b", 7, 7), (2, "a", 3, 3)]);
        assert_eq!(tree.subtree_end(1), 4);
        assert_eq!(tree.subtree_end(2), 3);
    }

    /// The same function at two lines is one frame.
    #[test]
    fn lines_do_not_split_functions() {
        let mut builder = CallTreeBuilder::new();
        let first = builder.intern(Frame { line: 3, ..frame("f") });
        let second = builder.intern(Frame { line: 9, ..frame("f") });
        assert_eq!(first, second);
        assert_eq!(CallTreeBuilder::new().finish().total(), 0);
    }
}
