//! A flamegraph as one SVG file, drawn by inferno.

use std::fmt::Write as _;
use std::io;

use flamekeeper_profile::{CallTree, Frame, FrameKind};
use inferno::flamegraph::{self, Options, Palette, color::MultiPalette};

use crate::query::{PrunedTree, SymbolizedProfile};

/// The SVG could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the flamegraph could not be drawn as SVG: {0}")]
pub struct SvgError(#[from] io::Error);

/// The flamegraph with a title, without what is narrower than `min_share` (0 to 1) of it. What was left out shows as empty
/// space above its caller, and the subtitle says what the profile does not hold.
///
/// # Errors
/// [`SvgError`] when inferno refuses, which it does for no input that this function makes.
pub fn svg(profile: &SymbolizedProfile, title: &str, min_share: f64) -> Result<Vec<u8>, SvgError> {
    let tree = profile.tree();
    let (unit, factor) = shown_unit(profile.unit());
    let mut options = Options::default();
    options.title = printable(title);
    options.subtitle = Some(subtitle(profile));
    unit.clone_into(&mut options.count_name);
    options.factor = factor;
    options.colors = Palette::Multi(MultiPalette::Java);
    options.hash = true; // Equal names have equal colours, in every picture.
    if tree.total() == 0 {
        return Ok(empty(&options.title, &subtitle(profile)).into_bytes());
    }
    let lines = lines(&tree, min_share);
    let mut out = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut out)?;
    Ok(out)
}

/// What values are shown in, and the factor that leads there. Inferno shows whole numbers only.
fn shown_unit(unit: &str) -> (&str, f64) {
    if unit == "nanoseconds" { ("ms", 1e-6) } else { (unit, 1.0) }
}

fn subtitle(profile: &SymbolizedProfile) -> String {
    let completeness = profile.completeness();
    let seconds = std::time::Duration::from_nanos(profile.window().duration()).as_secs_f64();
    let mut text = format!("{} {}, {} samples in {seconds:.1} s", profile.profile_type(), profile.unit(), completeness.samples);
    // Writing to a String cannot fail.
    for (count, what) in [
        (completeness.ledger.lost_total(), "lost"),
        (completeness.truncated_total(), "with a truncated stack"),
        (completeness.unnamed, "in functions without a name"),
    ] {
        if count > 0 {
            _ = write!(text, ", {count} {what}");
        }
    }
    printable(&text)
}

/// Lines of the pruned tree as inferno reads them; a value that was cut counts for the function that called what was cut.
fn lines(tree: &CallTree, min_share: f64) -> Vec<String> {
    let mut path: Vec<String> = Vec::new();
    let mut lines = Vec::new();
    for node in PrunedTree::of(tree, min_share).nodes {
        if node.depth > 0 {
            path.truncate(node.depth as usize - 1);
            path.push(frame_name(tree.frame(node.frame)));
        }
        let value = node.self_value.saturating_add(node.cut);
        if value > 0 && node.depth > 0 {
            lines.push(format!("{} {value}", path.join(";")));
        } else if value > 0 {
            // Inferno has no line for the root alone.
            lines.push(format!("[narrow] {value}"));
        }
    }
    lines
}

/// A name that inferno reads as one frame. It splits at `;`, takes a number after a space at a line's end for a second
/// value, passes over lines that start with `# `, and lets control characters through, which XML does not hold.
fn frame_name(frame: &Frame) -> String {
    let mut name = printable(&frame.name).replace(';', ":");
    if name.starts_with('#') {
        name.insert(0, '\u{200b}');
    }
    // What inferno's palette knows: kernel and inlined functions have colours of their own. It does not show the marks. They
    // also keep a number at a name's end from being one.
    let mark = match (frame.kind, frame.inlined) {
        (FrameKind::Kernel, _) => "_[k]",
        (_, true) => "_[i]",
        (FrameKind::Jit | FrameKind::Jvm | FrameKind::V8js, false) => "_[j]",
        _ if name.rsplit(' ').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit())) => "\u{200b}",
        _ => "",
    };
    name.push_str(mark);
    name
}

/// Without characters that XML 1.0 does not allow, and without line breaks.
fn printable(text: &str) -> String {
    let shown = |character: char| match character {
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        other if other.is_control() => ' ',
        other => other,
    };
    let text: String = text.chars().map(shown).collect();
    text.trim().to_owned()
}

/// What inferno refuses to draw: nothing.
fn empty(title: &str, subtitle: &str) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<?xml version=\"1.0\" standalone=\"no\"?>\n<svg version=\"1.1\" width=\"1200\" height=\"90\" xmlns=\"http://www.w3.org/2000/svg\">\
         <g font-family=\"monospace\" font-size=\"14\" text-anchor=\"middle\"><text x=\"600\" y=\"24\">{}</text>\
         <text x=\"600\" y=\"46\">{}</text><text x=\"600\" y=\"72\">no samples in this selection</text></g></svg>\n",
        escape(title),
        escape(subtitle)
    )
}
