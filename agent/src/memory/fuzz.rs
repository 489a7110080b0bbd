//! Files of procfs as anybody may have made them.

use super::{cgroup, parse};

/// All parsers over the same bytes: nothing is told that is not written there.
pub(crate) fn memory(bytes: &[u8]) {
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    assert!(parse::statm(bytes).is_none() || digits >= 3);
    assert!(parse::status(bytes).is_none() || digits >= 3);
    assert!(parse::limit(bytes).is_none() || digits >= 1);
    assert!(parse::pressure(bytes).is_none() || digits >= 1);
    let [kills] = parse::counters(bytes, [b"oom_kill"]);
    assert!(kills.is_none() || digits >= 1);
    if let Some(path) = cgroup::path(bytes) {
        assert!(path.starts_with('/') && !path.contains("/../"));
    }
    assert!(parse::rollup(bytes).is_none() || digits >= 2);
}
