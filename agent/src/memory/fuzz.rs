//! Files of procfs as anybody may have made them.

use super::parse;

/// All parsers over the same bytes: nothing is told that is not written there.
pub(crate) fn memory(bytes: &[u8]) {
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    assert!(parse::statm(bytes).is_none() || digits >= 3);
    assert!(parse::status(bytes).is_none() || digits >= 3);
    assert!(parse::rollup(bytes).is_none() || digits >= 2);
}
