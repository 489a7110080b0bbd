//! Leaving out what is too narrow to be seen, exactly.

use flamekeeper_profile::{CallTree, FrameId};

/// A node of a [`PrunedTree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrunedNode {
    /// Distance from the root, which has 0.
    pub depth: u32,
    /// The function, of the tree that was pruned.
    pub frame: FrameId,
    /// The value of stacks that end here.
    pub self_value: u64,
    /// The value of children that were left out, with all below them.
    pub cut: u64,
}

/// A call tree in preorder without its narrow parts. The sum of `self_value` and `cut` over a node's subtree is that
/// node's total, whatever was left out.
#[derive(Clone, Debug, Default)]
pub struct PrunedTree {
    /// The nodes; the root is always there.
    pub nodes: Vec<PrunedNode>,
}

impl PrunedTree {
    /// Leaves out every node whose total is less than `min_share` (0 to 1) of the tree's, with all below it. A share of 0
    /// leaves nothing out.
    #[must_use]
    pub fn of(tree: &CallTree, min_share: f64) -> Self {
        // The loss of precision above 2^53 moves the limit by less than one part in 10^15; `cut` stays exact.
        #[allow(clippy::cast_precision_loss)]
        let least = min_share * tree.total() as f64;
        let mut nodes: Vec<PrunedNode> = Vec::new();
        // The places in `nodes` of the open ancestors, by depth.
        let mut open: Vec<usize> = Vec::new();
        let mut cut_depth = u32::MAX;
        for node in tree.nodes() {
            if node.depth > cut_depth {
                continue; // Below a node whose total, which holds this one, stands in a `cut` already.
            }
            cut_depth = u32::MAX;
            open.truncate(node.depth as usize);
            #[allow(clippy::cast_precision_loss)]
            let narrow = (node.total as f64) < least;
            match open.last().and_then(|parent| nodes.get_mut(*parent)) {
                Some(parent) if narrow => {
                    parent.cut = parent.cut.saturating_add(node.total);
                    cut_depth = node.depth;
                }
                _ => {
                    open.push(nodes.len());
                    nodes.push(PrunedNode { depth: node.depth, frame: node.frame, self_value: node.self_value, cut: 0 });
                }
            }
        }
        Self { nodes }
    }
}
