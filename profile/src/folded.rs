//! Folded text: one stack a line, frames **root first**, separated by `;`, then a space and the value.
//!
//! The format is that of Brendan Gregg's `stackcollapse` scripts, which inferno, speedscope and others read.

use std::fmt;

use crate::calltree::CallTree;

/// A line of folded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldedLine<'a> {
    /// Frame names joined by `;`, root first.
    pub stack: &'a str,
    /// The value.
    pub value: u64,
}

impl<'a> FoldedLine<'a> {
    /// The frame names, root first.
    pub fn frames(&self) -> impl Iterator<Item = &'a str> {
        self.stack.split(';')
    }
}

/// A line that is not folded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the folded text does not end with a space and a whole number")]
pub struct ParseFoldedError {
    /// The line, from 1.
    pub line: usize,
}

/// Reads folded text; empty lines are passed over.
pub fn parse_folded(text: &str) -> impl Iterator<Item = Result<FoldedLine<'_>, ParseFoldedError>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| {
        let parsed = line.trim_end().rsplit_once(' ').and_then(|(stack, value)| Some(FoldedLine { stack, value: value.parse().ok()? }));
        parsed.ok_or(ParseFoldedError { line: index + 1 })
    })
}

/// Writes every stack of a tree that has a value of its own. A `;` or line break in a name becomes `:` or a space, since the format
/// has no escape for it.
///
/// # Errors
/// Those of `out`.
pub fn write_folded(tree: &CallTree, out: &mut impl fmt::Write) -> fmt::Result {
    let mut path: Vec<String> = Vec::new();
    for node in tree.nodes().iter().skip(1) {
        path.truncate(node.depth as usize - 1);
        let frame = tree.frame(node.frame);
        path.push(frame.name.replace(';', ":").replace(['\n', '\r'], " "));
        if node.self_value > 0 {
            writeln!(out, "{} {}", path.join(";"), node.self_value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CallTreeBuilder, Frame, FrameKind};

    /// A tree written as folded text reads back with the same stacks and values.
    #[test]
    fn writes_and_reads() {
        let mut builder = CallTreeBuilder::new();
        let mut intern = |name: &str| {
            builder.intern(Frame {
                name: name.into(),
                module: "".into(),
                file: "".into(),
                line: 0,
                start_line: 0,
                kind: FrameKind::Native,
                inlined: false,
                unnamed: None,
            })
        };
        let (main, odd) = (intern("main"), intern("operator;\n x"));
        builder.add([main, odd], 4);
        builder.add([main], 2);
        let mut text = String::new();
        write_folded(&builder.finish(), &mut text).unwrap();
        assert_eq!(text, "main 2\nmain;operator:  x 4\n");
        let lines: Result<Vec<_>, _> = parse_folded(&text).collect();
        assert_eq!(lines.unwrap()[1].frames().collect::<Vec<_>>(), ["main", "operator:  x"]);
        assert_eq!(parse_folded("a;b\n").next(), Some(Err(ParseFoldedError { line: 1 })));
    }
}
