//! What Rust writes in brackets at the beginning of a path: types, and what they implement.

use super::brackets::{closing, is_hash, is_word, split_at_word};

/// How deep a type of a type is looked into; real ones are two or three deep.
const MAX_DEPTH: usize = 8;

/// What Rust writes in the brackets that begin a part of a path: `impl Trait for Type`, `Type as Trait`, or a type; says whether it has arguments.
pub(super) fn header(inside: &str, out: &mut String, depth: usize) -> bool {
    if let Some(implemented) = inside.strip_prefix("impl ") {
        out.push_str("<impl ");
        let parts = split_at_word(implemented, " for ");
        return two(parts.map(|parts| (parts, " for ")), implemented, out, depth);
    }
    if let Some(parts) = split_at_word(inside, " as ") {
        out.push('<');
        return two(Some((parts, " as ")), inside, out, depth);
    }
    // A type with a name of its own needs no brackets.
    let named = inside.bytes().next().is_some_and(is_word) && !inside.starts_with("dyn ") && function(inside).is_none();
    if named {
        return rust_type(inside, out, depth);
    }
    out.push('<');
    two(None, inside, out, depth)
}

fn two(parts: Option<((&str, &str), &str)>, whole: &str, out: &mut String, depth: usize) -> bool {
    let generic = match parts {
        Some(((first, second), word)) => {
            let generic = rust_type(first, out, depth);
            out.push_str(word);
            rust_type(second, out, depth) | generic
        }
        None => rust_type(whole, out, depth),
    };
    out.push('>');
    generic
}

/// A type without its arguments, and without what it points to or holds; says whether there was any of that.
fn rust_type(text: &str, out: &mut String, depth: usize) -> bool {
    for pointer in ["&mut ", "&", "*const ", "*mut "] {
        if let Some(target) = text.strip_prefix(pointer) {
            let mutable = pointer == "&" && target.starts_with('\'') && target.contains(" mut ");
            out.push_str(if mutable { "&mut " } else { pointer });
            out.push('_');
            return true;
        }
    }
    if let Some(close) = function(text) {
        out.push_str("fn(_)");
        out.push_str(if text.get(close + 1..).is_some_and(|rest| rest.starts_with(" -> ")) { " -> _" } else { "" });
        return true;
    }
    let all = text.starts_with(['[', '(']).then(|| closing(text, 0)).flatten().is_some_and(|close| close + 1 == text.len());
    if all && text.starts_with('[') {
        out.push_str(if split_at_word(text.get(1..).unwrap_or(""), ";").is_some() { "[_; _]" } else { "[_]" });
        return true;
    }
    if all {
        return tuple(text.get(1..text.len() - 1).unwrap_or(""), out);
    }
    path(text, out, depth)
}

/// Where the parameters of a function pointer end: `fn(u8) -> u8`, `unsafe extern "C" fn()`, `for<'a> fn(&'a u8)`.
fn function(text: &str) -> Option<usize> {
    let open = if text.starts_with("fn(") { 2 } else { text.find(" fn(")? + 3 };
    let before = text.get(..open)?;
    let qualified = ["fn", "unsafe ", "extern ", "for<"].iter().any(|word| before.starts_with(word));
    qualified.then(|| closing(text, open)).flatten()
}

/// A tuple of as many types.
fn tuple(inside: &str, out: &mut String) -> bool {
    out.push('(');
    let mut rest = inside;
    while let Some((_, behind)) = split_at_word(rest, ",") {
        let behind = behind.trim_start();
        out.push_str(if behind.is_empty() { "_," } else { "_, " });
        rest = behind;
    }
    out.push_str(if rest.is_empty() { ")" } else { "_)" });
    !inside.is_empty()
}

/// A path, traits that an object has, or a function pointer: what stands in brackets goes.
fn path(text: &str, out: &mut String, depth: usize) -> bool {
    let (mut at, mut open, mut generic) = (0, 0, false);
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(at) {
        let folded = match byte {
            b'<' => "<_>",
            b'(' => "(_)",
            b'[' => "[_]",
            _ => {
                at += 1;
                continue;
            }
        };
        let Some(close) = closing(text, at) else { break };
        let inside = text.get(at + 1..close).unwrap_or("");
        if at == 0 && depth < MAX_DEPTH {
            // A type that is defined in a function of an implementation.
            generic |= header(inside, out, depth + 1);
            open = close + 1;
        } else if !inside.is_empty() && !is_hash(inside) {
            out.push_str(text.get(open..at).unwrap_or(""));
            out.push_str(folded);
            (open, generic) = (close + 1, true);
        }
        at = close + 1;
    }
    out.push_str(text.get(open..).unwrap_or(""));
    generic
}
