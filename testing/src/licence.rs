//! Licence expressions (SPDX, annex D), evaluated against a list of what is allowed.

use std::iter::Peekable;
use std::vec::IntoIter;

/// Licences that a dependency of Flamekeeper may have, with the condition that it is of the user's choosing in an `OR`.
/// CDDL-1.0 is inferno's: file-level copyleft, which the program as a whole may link.
pub const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDDL-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// A text that is no licence expression.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAnExpression;

/// Whether the expression can be satisfied with allowed licences only. The old form `A/B` means `A OR B`.
///
/// # Errors
/// [`NotAnExpression`] when the text cannot be parsed: then the licence has to be looked up and added by hand.
pub fn is_allowed(expression: &str, allowed: &[&str]) -> Result<bool, NotAnExpression> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
    let mut parser = Parser { words: words.into_iter().peekable(), allowed };
    let value = parser.or()?;
    if parser.words.next().is_some() { Err(NotAnExpression) } else { Ok(value) }
}

struct Parser<'a> {
    words: Peekable<IntoIter<String>>,
    allowed: &'a [&'a str],
}

impl Parser<'_> {
    fn or(&mut self) -> Result<bool, NotAnExpression> {
        let mut value = self.and()?;
        while self.words.next_if(|word| word == "OR").is_some() {
            value |= self.and()?;
        }
        Ok(value)
    }

    fn and(&mut self) -> Result<bool, NotAnExpression> {
        let mut value = self.term()?;
        while self.words.next_if(|word| word == "AND").is_some() {
            value &= self.term()?;
        }
        Ok(value)
    }

    fn term(&mut self) -> Result<bool, NotAnExpression> {
        let word = self.words.next().ok_or(NotAnExpression)?;
        if word == "(" {
            let value = self.or()?;
            return if self.words.next().as_deref() == Some(")") { Ok(value) } else { Err(NotAnExpression) };
        }
        if matches!(word.as_str(), ")" | "OR" | "AND" | "WITH") {
            return Err(NotAnExpression);
        }
        let licence = if self.words.next_if(|word| word == "WITH").is_some() {
            format!("{word} WITH {}", self.words.next().ok_or(NotAnExpression)?)
        } else {
            word
        };
        Ok(self.allowed.contains(&licence.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `OR` needs one side, `AND` both, `AND` binds tighter, and a `WITH` belongs to its licence.
    #[test]
    fn expressions_are_evaluated() {
        let allowed = ["MIT", "Apache-2.0 WITH LLVM-exception"];
        let check = |text: &str| is_allowed(text, &allowed);
        assert_eq!(check("MIT"), Ok(true));
        assert_eq!(check("GPL-2.0-only OR MIT"), Ok(true));
        assert_eq!(check("GPL-2.0-only/MIT"), Ok(true));
        assert_eq!(check("GPL-2.0-only AND MIT"), Ok(false));
        assert_eq!(check("MIT OR MIT AND GPL-2.0-only"), Ok(true));
        assert_eq!(check("(MIT OR GPL-2.0-only) AND GPL-2.0-only"), Ok(false));
        assert_eq!(check("Apache-2.0 WITH LLVM-exception"), Ok(true));
        assert_eq!(check("Apache-2.0"), Ok(false));
        for wrong in ["", "(MIT", "MIT MIT", "OR MIT", "MIT WITH"] {
            assert_eq!(check(wrong), Err(NotAnExpression), "{wrong:?}");
        }
    }
}
