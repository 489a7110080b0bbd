use super::*;
use crate::order::GRACE_NS;

const S: u64 = Timestamp::SECOND;
const MS: u64 = 1_000_000;
const LENGTH: Duration = Duration::from_secs(10);

fn moment(wall: u64, monotonic: u64) -> Moment {
    Moment { wall: Timestamp(wall), monotonic, doubt: 0 }
}

/// The first window is a partial one; then they follow each other without gap from edge to edge, though the clocks are not
/// read at one instant.
#[test]
fn windows_are_aligned() {
    let mut window = OpenWindow::at(LENGTH, &moment(103 * S, 3 * S));
    assert_eq!(window.edge(), 10 * S);
    assert_eq!(window.advance(&moment(110 * S + 2_000, 10 * S)), Some(Window::new(Timestamp(103 * S), Timestamp(110 * S))));
    assert_eq!(window.edge(), 20 * S - 2_000);
    let second = window.advance(&moment(120 * S + 5, 20 * S - 2_000 + 5));
    assert_eq!(second, Some(Window::new(Timestamp(110 * S), Timestamp(120 * S))));
    assert_eq!(window.cut(&moment(125 * S, 25 * S)).from, Timestamp(120 * S));
    // Read by a thread that was held up between the clocks: the edges stay where they are.
    let edge = window.edge();
    let late = Moment { doubt: 300 * MS, ..moment(130 * S + 250 * MS, edge) };
    assert_eq!(window.observe(&late), None);
    assert_eq!(window.advance(&late), Some(Window::new(Timestamp(120 * S), Timestamp(130 * S))));
    assert_eq!(window.edge(), edge + 10 * S);
}

/// A window without an edge goes on until it is cut.
#[test]
fn one_window_has_no_edge() {
    let mut window = OpenWindow::at(Duration::MAX, &moment(103 * S, 3 * S));
    assert!(window.edge() > 1_000_000_000 * S);
    assert_eq!(window.observe(&moment(90_103 * S, 90_003 * S)), None);
    assert_eq!(window.cut(&moment(90_104 * S, 90_004 * S)), Window::new(Timestamp(103 * S), Timestamp(90_104 * S)));
}

/// A wall clock that is set ends the window where the clocks last agreed, forth or back; the next one is aligned again.
#[test]
fn clock_steps() {
    for set in [5_000 * S, 50 * S] {
        let mut window = OpenWindow::at(LENGTH, &moment(100 * S, 0));
        assert_eq!(window.observe(&moment(104 * S, 4 * S)), None);
        assert_eq!(window.observe(&moment(set + 100 * MS, 4 * S + 100 * MS)), Some(i128::from(set) - i128::from(104 * S)));
        assert_eq!(window.edge(), 4 * S);
        assert_eq!(window.advance(&moment(set + 100 * MS, 4 * S + 100 * MS)), Some(Window::new(Timestamp(100 * S), Timestamp(104 * S))));
        assert_eq!((window.from, window.to, window.edge()), (Timestamp(set), Timestamp(set + 10 * S), 14 * S));
    }
}

/// A machine that was suspended for an hour: no window spans the hour.
#[test]
fn suspend() {
    let mut window = OpenWindow::at(LENGTH, &moment(100 * S, 0));
    window.observe(&moment(103 * S, 3 * S));
    assert!(window.observe(&moment(3_703 * S + 20 * MS, 3 * S + 20 * MS)).is_some());
    let before = window.advance(&moment(3_703 * S + 20 * MS, 3 * S + 20 * MS)).unwrap();
    assert_eq!(before, Window::new(Timestamp(100 * S), Timestamp(103 * S)));
    assert_eq!((window.from, window.to), (Timestamp(3_703 * S), Timestamp(3_710 * S)));
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A host whose wall clock is set, slewed and set by a little, and that is suspended, at random. What it really did is kept.
struct Host {
    random: Random,
    monotonic: u64,
    ahead: i128,
    /// From when on the wall clock was ahead by how much.
    history: Vec<(u64, i128)>,
}

impl Host {
    fn live(&mut self) {
        // Mostly a tenth of a second, at times a thread that is not let run for seconds.
        let before = self.monotonic;
        self.monotonic += if self.random.below(200) == 0 { self.random.below(25 * S) } else { self.random.below(120 * MS) } + 1;
        let jump = match self.random.below(300) {
            0 => i128::from(self.random.below(7_200 * S)),
            1 => -i128::from(self.random.below(3_600 * S)),
            2 => i128::from(self.random.below(400 * MS)) - i128::from(200 * MS),
            // Read errors of the two clocks, and small corrections.
            3..6 => i128::from(self.random.below(2 * MS)) - i128::from(MS),
            _ => 0,
        };
        if jump != 0 && self.ahead + jump > 0 {
            self.ahead += jump;
            let at = (self.monotonic - self.random.below(MS)).max(before + 1);
            self.history.push((at, self.ahead));
        }
    }

    fn now(&self) -> Moment {
        moment(u64::try_from(i128::from(self.monotonic) + self.ahead).unwrap(), self.monotonic)
    }

    /// The wall clock at an instant, and whether it is not sure: clocks parted within a look before or after it.
    fn wall(&self, at: u64) -> i128 {
        let before = self.history.iter().rev().find(|(from, _)| *from <= at).unwrap();
        i128::from(at) + before.1
    }
}

/// Whatever the clocks do: windows tile the monotonic clock, each is as long as its name says, and the name is right for every
/// sample but those between the two looks that found a jump; without a jump the next window begins where the last ended, and
/// all edges but those of jumps are aligned.
#[test]
fn windows_hold_under_random_clocks() {
    for seed in 0..60 {
        let mut host = Host { random: Random(seed), monotonic: 5 * S, ahead: i128::from(1_700_000_000 * S), history: vec![] };
        host.history.push((0, host.ahead));
        let mut window = OpenWindow::at(LENGTH, &host.now());
        let (mut tiled, mut unsure, mut last_look, mut last) = (host.monotonic, Vec::<(u64, u64)>::new(), host.monotonic, None::<Window>);
        let mut jumped = false;
        for _ in 0..4_000 {
            host.live();
            let now = host.now();
            if window.observe(&now).is_some() || window.parted {
                unsure.push((last_look, now.monotonic));
            }
            let limit = now.monotonic.saturating_sub(GRACE_NS);
            while limit >= window.edge() {
                let (start, edge, parted) = (window.start, window.edge(), window.parted);
                assert_eq!(start, tiled, "seed {seed}: a gap or an overlap on the monotonic clock");
                tiled = edge;
                let Some(ended) = window.advance(&now) else {
                    assert_eq!(start, edge);
                    jumped = true;
                    continue;
                };
                assert!(ended.from < ended.to && ended.duration().abs_diff(edge - start) <= 2 * JITTER_NS, "seed {seed}: {ended:?}");
                assert!(parted || ended.to.0.is_multiple_of(10 * S), "seed {seed}: {ended:?} is not aligned");
                if let Some(last) = last.filter(|_| !jumped) {
                    assert_eq!(last.to, ended.from, "seed {seed}: no jump, and yet a gap");
                }
                jumped = parted || window.from != ended.to;
                for at in [start, start + (edge - start) / 3, edge - 1] {
                    let wall = host.wall(at);
                    let slack = i128::from(2 * JITTER_NS);
                    let inside = wall >= i128::from(ended.from.0) - slack && wall < i128::from(ended.to.0) + slack;
                    assert!(
                        inside || unsure.iter().any(|(from, to)| (*from..=*to).contains(&at)),
                        "seed {seed}: {at} is not in {ended:?}: {start}..{edge} wall {wall} {:?} {:?}",
                        host.history.iter().rev().take(4).collect::<Vec<_>>(),
                        unsure.last()
                    );
                }
                last = Some(ended);
            }
            last_look = now.monotonic;
        }
    }
}

/// A window that is split goes on to the edge that it had, in pieces that follow each other on both clocks.
#[test]
fn splits() {
    let mut window = OpenWindow::at(LENGTH, &moment(103 * S, 3 * S));
    assert_eq!(window.split(5 * S), Window::new(Timestamp(103 * S), Timestamp(105 * S)));
    assert_eq!(window.observe(&moment(106 * S, 6 * S)), None);
    assert_eq!(window.split(900 * S), Window::new(Timestamp(105 * S), Timestamp(110 * S - 1)));
    assert_eq!((window.edge(), window.split(0).duration()), (10 * S, 1));
    let last = window.split(0);
    assert!(last.duration() == 1 && window.edge() > 10 * S, "no piece is empty");
    let edge = window.edge();
    assert!(window.advance(&moment(100 * S + edge, edge)).is_some_and(|piece| piece.from == last.to && piece.duration() >= 1));
    assert!(window.edge() <= 20 * S + 2);
}
