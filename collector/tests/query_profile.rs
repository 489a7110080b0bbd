//! Names, call tree, functions, pruning and completeness, on profiles whose truth is known.

#![allow(clippy::unwrap_used)] // What is called by tests may fail as they do; the lint exempts the tests themselves only.

mod query_fixture;

use flamekeeper_collector::query::{Generics, Profile, PrunedTree, SymbolizedProfile};
use flamekeeper_profile::{
    AgentFigures, Batch, CallTree, FrameKind, Labels, Ledger, LossReason, SampleType, Series, StackEnd, Svma, Tables, Timestamp,
    UnnamedReason, Window,
};
use query_fixture::{Builder, PERIOD, known, random};

/// Depth, name, self and total in samples, in preorder.
fn shape(tree: &CallTree) -> Vec<(u32, String, u64, u64)> {
    let node = |node: &flamekeeper_profile::Node| {
        (node.depth, tree.frame(node.frame).name.to_string(), node.self_value / PERIOD, node.total / PERIOD)
    };
    tree.nodes().iter().map(node).collect()
}

fn expect(rows: &[(u32, &str, u64, u64)]) -> Vec<(u32, String, u64, u64)> {
    rows.iter().map(|(depth, name, own, total)| (*depth, (*name).to_owned(), *own, *total)).collect()
}

/// The tree is what the stacks say: inlined functions are nodes, truncated stacks stand under their reason, an empty one too.
#[test]
fn tree_of_known_stacks() {
    let rows = [
        (0, "", 0, 18),
        (1, "main", 1, 12),
        (2, "api::serve", 0, 5),
        (3, "api::middle", 0, 5),
        (4, "api::leaf<T>", 5, 5),
        (2, "libc.so.6+0x77", 0, 4),
        (3, "vfs_read", 4, 4),
        (2, "recurse", 0, 2),
        (3, "recurse", 0, 2),
        (4, "recurse", 2, 2),
        (1, "[truncated: copy_exhausted]", 0, 3),
        (2, "recurse", 3, 3),
        (1, "run", 0, 2),
        (2, "api+0x9999", 2, 2),
        (1, "[truncated: no_user_stack]", 1, 1),
    ];
    assert_eq!(shape(&known().tree()), expect(&rows));
}

/// Frames know what runs them, where they are, whether they were inlined, and why they have no name.
#[test]
fn frames_say_what_they_are() {
    let tree = known().tree();
    let frame = |name: &str| tree.frames().iter().find(|frame| &*frame.name == name).unwrap();
    assert_eq!((frame("vfs_read").kind, &*frame("vfs_read").module), (FrameKind::Kernel, "[kernel]"));
    assert_eq!((frame("run").kind, &*frame("run").file, frame("run").line), (FrameKind::Cpython, "app.py", 7));
    assert!(frame("api::middle").inlined && !frame("api::serve").inlined);
    assert_eq!((&*frame("api::leaf<T>").module, frame("api::leaf<T>").line), ("/usr/bin/api", 30));
    assert_eq!(frame("libc.so.6+0x77").unnamed, Some(UnnamedReason::NoSymbols));
    assert_eq!(frame("api+0x9999").unnamed, Some(UnnamedReason::NotCovered));
}

/// A stack of no locations that is said to be whole is shown as such, not dropped.
#[test]
fn empty_stacks_are_kept() {
    let mut builder = Builder::new();
    builder.add(&[], StackEnd::Root, 4);
    let location = builder.named(FrameKind::Jit, &[("", "", 0)]);
    builder.add(&[location], StackEnd::Root, 1);
    let tree = builder.symbolized().tree();
    assert_eq!(shape(&tree), expect(&[(0, "", 0, 5), (1, "[no stack]", 4, 4), (1, "[unknown]+0x0", 1, 1)]));
}

/// Functions: self at the leaf, total once per stack however often it recurs; markers are none of them.
#[test]
fn functions_of_known_stacks() {
    let top: Vec<_> = known()
        .top()
        .into_iter()
        .map(|function| (function.frame.name.to_string(), function.self_value / PERIOD, function.total / PERIOD))
        .collect();
    let expected = [
        ("api::leaf<T>", 5, 5),
        ("recurse", 5, 5),
        ("vfs_read", 4, 4),
        ("api+0x9999", 2, 2),
        ("main", 1, 12),
        ("api::middle", 0, 5),
        ("api::serve", 0, 5),
        ("libc.so.6+0x77", 0, 4),
        ("run", 0, 2),
    ];
    assert_eq!(top, expected.map(|(name, own, total)| (name.to_owned(), own, total)));
}

/// Completeness counts samples, not stacks, and keeps the ledger.
#[test]
fn completeness_of_known_stacks() {
    let profile = known();
    let found = profile.completeness();
    assert_eq!((found.samples, found.ledger.lost_total(), found.truncated_total(), found.unstated, found.unnamed), (18, 3, 4, 2, 2));
    assert_eq!((found.frames, found.frames_unnamed), (9, 2));
}

/// Under a path lies what the tree shows there, counts included.
#[test]
fn zoom_keeps_what_lies_under_a_path() {
    let path = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let zoomed = known().zoom(&path(&["main", "recurse"]));
    let rows = [(0, "", 0, 2), (1, "main", 0, 2), (2, "recurse", 0, 2), (3, "recurse", 0, 2), (4, "recurse", 2, 2)];
    assert_eq!(shape(&zoomed.tree()), expect(&rows));
    assert_eq!((zoomed.completeness().samples, zoomed.completeness().truncated_total(), zoomed.completeness().unnamed), (2, 0, 0));
    assert_eq!(zoomed.completeness().frames, 2);
    let truncated = known().zoom(&path(&["[truncated: copy_exhausted]"]));
    assert_eq!((truncated.total().samples, truncated.completeness().truncated_total()), (3, 3));
    assert_eq!(known().zoom(&path(&["main", "nobody"])).total().weight, 0);
    assert_eq!(known().zoom(&[]).total().samples, 18);
}

/// Every node's total is the sum of self and cut below it, whatever was pruned, and nothing narrow is left.
#[test]
fn pruning_is_exact() {
    for seed in 1..30 {
        let profile = random(seed, 60, 3 + seed % 12).symbolized();
        let tree = profile.tree();
        for min_share in [0.0, 1e-9, 1.0 / 4000.0, 0.01, 0.1, 0.5, 1.0] {
            let pruned = PrunedTree::of(&tree, min_share);
            let totals = totals(&pruned);
            assert_eq!(totals[0], tree.total(), "seed {seed}, share {min_share}");
            // The nodes that are left are those of the tree that are wide enough, in its order, with the same totals.
            #[allow(clippy::cast_precision_loss)]
            let wide = tree.nodes().iter().filter(|node| node.depth == 0 || node.total as f64 >= min_share * tree.total() as f64);
            let expected: Vec<_> = wide.map(|node| (node.depth, node.frame, node.self_value, node.total)).collect();
            let found: Vec<_> =
                pruned.nodes.iter().zip(&totals).map(|(node, total)| (node.depth, node.frame, node.self_value, *total)).collect();
            assert_eq!(found, expected, "seed {seed}, share {min_share}");
        }
        assert!(PrunedTree::of(&tree, 0.0).nodes.iter().all(|node| node.cut == 0));
    }
}

/// As a reader of the JSON would add them up.
fn totals(pruned: &PrunedTree) -> Vec<u64> {
    let nodes = &pruned.nodes;
    let mut totals: Vec<u64> = nodes.iter().map(|node| node.self_value + node.cut).collect();
    for index in (1..nodes.len()).rev() {
        let parent = (0..index).rev().find(|other| nodes[*other].depth < nodes[index].depth).unwrap();
        totals[parent] += totals[index];
    }
    totals
}

/// Self over all functions and totals of recursive ones agree with a count of our own over the tree.
#[test]
fn functions_agree_with_the_tree() {
    let profile: SymbolizedProfile = random(7, 300, 14).symbolized();
    let tree = profile.tree();
    let own: u64 = profile.top().iter().map(|function| function.self_value).sum();
    assert_eq!(own, tree.total());
    for function in profile.top() {
        let mut total = 0;
        let mut open: Vec<bool> = Vec::new();
        for node in tree.nodes() {
            open.truncate(node.depth as usize);
            let is_it = tree.frame(node.frame).name == function.frame.name;
            if is_it && !open.contains(&true) {
                total += node.total;
            }
            open.push(is_it);
        }
        assert_eq!(total, function.total, "{}", function.frame.name);
    }
}

/// Batches of an engine add up to one profile over their whole time, without a collector.
#[test]
fn batches_add_up() {
    let batch = |start: u64, samples: u64| {
        let mut tables = Tables::new();
        let main = tables.intern_named(FrameKind::Native, None, Svma(0), "main");
        let stack = tables.intern_stack(&[main], StackEnd::Root);
        let mut ledger = Ledger::new();
        ledger.take(samples + 1);
        ledger.lose(LossReason::RingFull, 1);
        let series = |sample_type| Series { labels: Labels::new(), sample_type, values: vec![(stack, samples)] };
        let series = vec![series(SampleType::cpu(PERIOD)), series(SampleType::plain("alloc_space", "bytes"))];
        Batch {
            window: Window::new(Timestamp(start), Timestamp(start + 10)),
            labels: Labels::new(),
            tables,
            series,
            ledger,
            figures: AgentFigures::default(),
        }
    };
    let mut profile = Profile::new("cpu");
    profile.add(&batch(110, 2));
    profile.add(&batch(100, 3));
    let profile = profile.symbolize(&query_fixture::Names);
    assert_eq!(shape(&profile.tree()), expect(&[(0, "", 0, 5), (1, "main", 5, 5)]));
    assert_eq!((profile.unit(), profile.window()), ("nanoseconds", Window::new(Timestamp(100), Timestamp(120))));
    assert_eq!((profile.completeness().ledger.taken, profile.completeness().ledger.lost_total()), (7, 2));
    assert_eq!(Profile::new("cpu").symbolize(&query_fixture::Names).window().duration(), 0);
}

/// Folded, functions that differ by their type arguments alone are one, in the tree and in the table; what is called alike in a language that is
/// interpreted, and what was inlined, stays apart.
#[test]
fn generics_are_folded() {
    let mut builder = Builder::new();
    let native = |builder: &mut Builder, name: &str| builder.named(FrameKind::Native, &[(name, "vector.h", 5)]);
    let [main, ints, chars] =
        ["main", "std::vector<int>::push_back(int&&)", "std::vector<char>::push_back(char&&)"].map(|name| native(&mut builder, name));
    let inlined = builder.named(FrameKind::Native, &[("std::vector<long>::push_back(long&&)", "vector.h", 6), ("grow<long>", "grow.h", 1)]);
    let python = builder.named(FrameKind::Cpython, &[("<lambda>", "app.py", 1)]);
    builder.add(&[ints, main], StackEnd::Root, 1);
    builder.add(&[chars, main], StackEnd::Root, 2);
    builder.add(&[chars, main], StackEnd::Truncated(flamekeeper_profile::StopReason::CopyExhausted), 8);
    builder.add(&[inlined, main], StackEnd::Root, 4);
    builder.add(&[python], StackEnd::Root, 16);
    let plain = builder.symbolized();
    assert_eq!(shape(&plain.clone().with_generics(Generics::Kept).tree()), shape(&plain.tree()));
    let folded = plain.clone().with_generics(Generics::Folded);
    let rows = [
        (0, "", 0, 31),
        (1, "<lambda>", 16, 16),
        (1, "[truncated: copy_exhausted]", 0, 8),
        (2, "main", 0, 8),
        (3, "std::vector<_>::push_back(_)", 8, 8),
        (1, "main", 0, 7),
        (2, "grow<_>", 0, 4),
        (3, "std::vector<_>::push_back(_)", 4, 4),
        (2, "std::vector<_>::push_back(_)", 3, 3),
    ];
    assert_eq!(shape(&folded.tree()), expect(&rows));
    let top = |profile: &SymbolizedProfile| -> Vec<(String, u64)> {
        profile.top().iter().map(|function| (function.frame.name.to_string(), function.self_value / PERIOD)).collect()
    };
    assert_eq!(top(&folded)[..2], [("<lambda>".to_owned(), 16), ("std::vector<_>::push_back(_)".to_owned(), 15)]);
    assert_eq!(top(&folded.clone().with_generics(Generics::Folded)), top(&folded));
    assert_eq!((plain.completeness().frames, folded.completeness().frames), (6, 5));
    assert_eq!(folded.completeness().samples, 31);
    let zoomed = folded.zoom(&["main".to_owned(), "std::vector<_>::push_back(_)".to_owned()]);
    assert_eq!(zoomed.total().samples, 3);
}
