//! An answer as anybody may have made it.

use flamekeeper_profile::Tables;

use super::board::Board;
use super::resolve::Nobody;
use super::target::plain_profile;

/// A heap profile, as pprof or text. What was understood can be carried into a window, and against itself nothing was allocated.
pub(crate) fn heap_profile(bytes: &[u8]) {
    let Ok(profile) = plain_profile(bytes, &mut Nobody) else { return };
    let live = profile.total().inuse_space;
    let mut again = profile.clone();
    again.since(&profile);
    assert_eq!((again.total().alloc_space, again.total().inuse_space), (0, live));
    let board = Board::default();
    board.note(0, flamekeeper_profile::Labels::new(), again, u64::MAX);
    let mut tables = Tables::new();
    for series in board.close(0, &mut tables) {
        assert!(series.values.iter().all(|(stack, value)| *value > 0 && tables.stack(*stack).is_some()));
    }
}
