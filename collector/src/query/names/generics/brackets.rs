//! Brackets and the words between them, in the names of functions.

/// The word that names of operators of C++ begin with.
pub(super) const OPERATOR: &str = "operator";
/// Operators that are written with signs, the longer ones first.
const SIGNS: [&str; 36] = [
    "->*", "<=>", "<<=", ">>=", "()", "[]", "->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "++", "--", "+=", "-=", "*=", "/=", "%=",
    "^=", "&=", "|=", "<", ">", "+", "-", "*", "/", "%", "^", "&", "|", ",",
];

/// The length of the word `operator` with the signs behind it; none where it is not at that place, or is a part of another word.
pub(super) fn operator(name: &str, at: usize) -> Option<usize> {
    let rest = name.get(at..)?.strip_prefix(OPERATOR)?;
    let within = at.checked_sub(1).and_then(|before| name.as_bytes().get(before)).is_some_and(|before| is_word(*before));
    if within || rest.bytes().next().is_some_and(is_word) {
        return None;
    }
    // `operator<<int>` is the operator `<` with an argument, `operator<<(` another operator.
    let ends = |signs: &&&str| {
        rest.strip_prefix(**signs).is_some_and(|rest| rest.is_empty() || rest.starts_with(['(', '<', ' ', '[', ',', ')', '>']))
    };
    Some(OPERATOR.len() + SIGNS.iter().find(ends).map_or(0, |signs| signs.len()))
}

/// Whether arguments or parameters may follow this character.
pub(super) const fn ends_name(byte: u8) -> bool {
    is_word(byte) || matches!(byte, b'>' | b')' | b']' | b'}' | b'\'')
}

/// Whether this is the hash of a crate, as some tools write it: `core[5a7fdd30a2d1bc27]::fmt::write`.
pub(super) fn is_hash(inside: &str) -> bool {
    inside.len() >= 8 && inside.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Whether this is a character of a word.
pub(super) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'~') || !byte.is_ascii()
}

/// The place of the bracket that closes the one at `open`. Signs of comparison and arrows are told from brackets as well as a look at their neighbours
/// allows.
pub(super) fn closing(text: &str, open: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut stack = Vec::new();
    let mut at = open;
    while let Some(byte) = bytes.get(at).copied() {
        if byte == b'o'
            && let Some(len) = operator(text, at)
        {
            at += len;
            continue;
        }
        match byte {
            b'<' | b'(' | b'[' | b'{' => stack.push(byte),
            b'>' if matches!(bytes.get(at.wrapping_sub(1)), Some(b'-' | b'=')) => {}
            // In parentheses it compares.
            b'>' => _ = stack.pop_if(|open| *open == b'<'),
            b')' => pop_through(&mut stack, b'(')?,
            b']' => pop_through(&mut stack, b'[')?,
            b'}' => pop_through(&mut stack, b'{')?,
            _ => {}
        }
        if stack.is_empty() {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// Closes the last bracket of a kind, and the signs of comparison that were taken for brackets in it.
fn pop_through(stack: &mut Vec<u8>, open: u8) -> Option<()> {
    while stack.pop()? != open {}
    Some(())
}

/// The parts before and behind a word that stands outside of brackets.
pub(super) fn split_at_word<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        if let Some(behind) = rest.strip_prefix(word) {
            return Some((text.get(..at)?, behind));
        }
        at = match rest.bytes().next()? {
            b'<' | b'(' | b'[' | b'{' => closing(text, at)? + 1,
            _ => at + rest.chars().next()?.len_utf8(),
        };
    }
}
