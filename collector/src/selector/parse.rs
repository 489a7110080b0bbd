//! Reads the text of a selector.

use regex::RegexBuilder;

use super::{Condition, Matcher, Pattern, Selector};

/// What a selector may cost at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectorLimits {
    /// Bytes of the text.
    pub bytes: usize,
    /// Conditions.
    pub matchers: usize,
    /// Bytes of one compiled regular expression, and as many again for its cache.
    pub regex_bytes: usize,
}

impl Default for SelectorLimits {
    fn default() -> Self {
        Self { bytes: 8 << 10, matchers: 32, regex_bytes: 1 << 20 }
    }
}

/// What is wrong with a selector. Positions count characters, from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSelectorError {
    /// Something else stands where a part of a selector should.
    #[error(
        "the selector has {found} at character {position} where {expected} was expected; write it like {{service=\"api\", host=~\"web-.*\"}}"
    )]
    Expected {
        /// Where.
        position: usize,
        /// What should stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A backslash in a value is followed by a character that has no such form.
    #[error(
        "the selector has the unknown escape \\{found} at character {position}; known are \\\\ \\\" \\n \\r \\t, and a backslash itself is written \\\\"
    )]
    Escape {
        /// Where the backslash is.
        position: usize,
        /// What follows it.
        found: char,
    },
    /// A regular expression that cannot be used.
    #[error("the regular expression at character {position} of the selector cannot be used: {reason}")]
    Regex {
        /// Where its value starts.
        position: usize,
        /// The engine's words.
        reason: String,
    },
    /// The text is too long.
    #[error("the selector is {len} bytes long; at most {limit} are allowed")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// There are too many conditions.
    #[error("the selector has more than {limit} conditions; join values of one label with =~\"a|b\"")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

/// Reads a selector; its braces and a last comma may be absent.
pub(super) fn selector(text: &str, limits: SelectorLimits) -> Result<Selector, ParseSelectorError> {
    if text.len() > limits.bytes {
        return Err(ParseSelectorError::TooLong { len: text.len(), limit: limits.bytes });
    }
    let mut cursor = Cursor { text, offset: 0 };
    cursor.skip_space();
    let braced = cursor.take("{");
    let mut matchers = Vec::new();
    loop {
        cursor.skip_space();
        if cursor.at_end() || (braced && cursor.rest().starts_with('}')) {
            break;
        }
        if matchers.len() == limits.matchers {
            return Err(ParseSelectorError::TooMany { limit: limits.matchers });
        }
        matchers.push(matcher(&mut cursor, limits)?);
        cursor.skip_space();
        if !cursor.take(",") {
            break;
        }
    }
    if braced && !cursor.take("}") {
        return Err(cursor.expected(if matchers.is_empty() { "a label name or }" } else { ", or }" }));
    }
    cursor.skip_space();
    if cursor.at_end() { Ok(Selector { matchers }) } else { Err(cursor.expected(if braced { "the end" } else { ", or the end" })) }
}

fn matcher(cursor: &mut Cursor<'_>, limits: SelectorLimits) -> Result<Matcher, ParseSelectorError> {
    let label = cursor.label()?.to_owned();
    cursor.skip_space();
    // The longer operators first: `=` is a prefix of `=~`.
    let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| cursor.take(operator));
    let operator = operator.ok_or_else(|| cursor.expected("one of = != =~ !~"))?;
    cursor.skip_space();
    let position = cursor.position(cursor.offset);
    let value = cursor.quoted()?;
    let condition = match operator {
        "=" => Condition::Equal(value),
        "!=" => Condition::NotEqual(value),
        "=~" => Condition::Match(pattern(value, position, limits)?),
        _ => Condition::NotMatch(pattern(value, position, limits)?),
    };
    Ok(Matcher { label, condition })
}

/// Compiles an expression that must match a whole value.
///
/// It is compiled as written first, so that `a)|(b` cannot break out of the anchored group, and so that an error is
/// about what was written. The line break ends a comment of an expression in `(?x)` mode, which would swallow the anchor;
/// outside of that mode it would be a part of the value, so it is only there where the plain form does not compile.
fn pattern(text: String, position: usize, limits: SelectorLimits) -> Result<Pattern, ParseSelectorError> {
    let compile =
        |expression: &str| RegexBuilder::new(expression).size_limit(limits.regex_bytes).dfa_size_limit(limits.regex_bytes).build();
    let anchored = compile(&text)
        .and_then(|_| compile(&format!(r"\A(?:{text})\z")).or_else(|error| compile(&format!("\\A(?:{text}\n)\\z")).map_err(|_| error)));
    match anchored {
        Ok(regex) => Ok(Pattern { text, regex }),
        Err(regex::Error::CompiledTooBig(limit)) => {
            Err(ParseSelectorError::Regex { position, reason: format!("it needs more than {limit} bytes; make it simpler") })
        }
        Err(error) => Err(ParseSelectorError::Regex { position, reason: last_line(&error) }),
    }
}

/// The line of the engine's error that says what is wrong; the others draw where.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

struct Cursor<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    fn at_end(&self) -> bool {
        self.rest().is_empty()
    }

    fn take(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        if there {
            self.offset += token.len();
        }
        there
    }

    fn skip_space(&mut self) {
        self.offset += self.rest().len() - self.rest().trim_start().len();
    }

    fn position(&self, offset: usize) -> usize {
        self.text.get(..offset).unwrap_or_default().chars().count() + 1
    }

    fn expected(&self, expected: &'static str) -> ParseSelectorError {
        let found = match self.rest().chars().next() {
            None => "its end".to_owned(),
            Some(character) => format!("{character:?}"),
        };
        ParseSelectorError::Expected { position: self.position(self.offset), expected, found }
    }

    fn label(&mut self) -> Result<&'a str, ParseSelectorError> {
        let rest = self.rest();
        let inside = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-' | '/');
        let len = rest.find(|character| !inside(character)).unwrap_or(rest.len());
        let label = &rest[..len];
        if !label.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            return Err(self.expected("a label name"));
        }
        self.offset += len;
        Ok(label)
    }

    fn quoted(&mut self) -> Result<String, ParseSelectorError> {
        if !self.take("\"") {
            return Err(self.expected("a value in double quotes"));
        }
        let start = self.offset;
        let mut value = String::new();
        let mut characters = self.rest().char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => {
                    self.offset = start + index + 1;
                    return Ok(value);
                }
                '\\' => value.push(match characters.next() {
                    Some((_, character @ ('\\' | '"'))) => character,
                    Some((_, 'n')) => '\n',
                    Some((_, 'r')) => '\r',
                    Some((_, 't')) => '\t',
                    Some((_, found)) => return Err(ParseSelectorError::Escape { position: self.position(start + index), found }),
                    None => break,
                }),
                other => value.push(other),
            }
        }
        self.offset = self.text.len();
        Err(self.expected("a closing double quote"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong is said with its place and what belongs there.
    #[test]
    fn errors_name_place_and_expectation() {
        for (text, position, what) in [
            ("{", 2, "a label name or }"),
            ("{service", 9, "one of = != =~ !~"),
            ("{service=api}", 10, "a value in double quotes"),
            ("{service=\"api\"", 15, ", or }"),
            ("{service=\"api\" host=\"a\"}", 16, ", or }"),
            ("service=\"api\" host=\"a\"", 15, ", or the end"),
            ("{service=\"api\"} x", 17, "the end"),
            ("{é=\"1\"}", 2, "a label name"),
            ("{a=\"é\", \"b\"}", 9, "a label name"),
            ("{a=\"é", 6, "a closing double quote"),
            ("{a=\"\\", 6, "a closing double quote"),
            ("{a==\"b\"}", 4, "a value in double quotes"),
            ("{,}", 2, "a label name"),
        ] {
            match text.parse::<Selector>() {
                Err(ParseSelectorError::Expected { position: at, expected, .. }) => assert_eq!((at, expected), (position, what), "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        let message = "{service=api}".parse::<Selector>().unwrap_err().to_string();
        assert!(message.starts_with("the selector has 'a' at character 10 where a value in double quotes was expected"), "{message}");
        assert_eq!("{a=\"\\d\"}".parse::<Selector>(), Err(ParseSelectorError::Escape { position: 5, found: 'd' }));
    }

    /// Expressions that are wrong, or that would take much memory, are refused.
    #[test]
    fn expressions_are_bounded() {
        for text in ["a=~\"(\"", "a=~\"a)|(b\"", "a=~\"(?:.{1000}){1000}\"", "a=~\"\\\\pL{900000}\"", "a=~\"*\""] {
            assert!(matches!(text.parse::<Selector>(), Err(ParseSelectorError::Regex { position: 4, .. })), "{text}");
        }
        let deep = format!("a=~\"{}{}\"", "(".repeat(3000), ")".repeat(3000));
        assert!(matches!(deep.parse::<Selector>(), Err(ParseSelectorError::Regex { .. })));
        let long = format!("a=\"{}\"", "x".repeat(9000));
        assert!(matches!(long.parse::<Selector>(), Err(ParseSelectorError::TooLong { limit: 8192, .. })));
        let many = "a=\"\",".repeat(33);
        assert_eq!(many.parse::<Selector>(), Err(ParseSelectorError::TooMany { limit: 32 }));
    }

    /// No cut of a valid text makes the parser panic.
    #[test]
    fn cuts_never_panic() {
        let text = "{ service=\"a\\\"é\\n\" , host=~\"w.*\", pid!~\"🔥\" } ";
        let ends = (0..=text.len()).filter(|end| text.is_char_boundary(*end));
        for end in ends {
            for start in (0..=end).filter(|start| text.is_char_boundary(*start)) {
                drop(text[start..end].parse::<Selector>());
            }
        }
    }
}
