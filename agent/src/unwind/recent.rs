//! The last whole stack of each thread: what has not changed since is not unwound again.
//!
//! From sample to sample a thread's outer frames mostly stay. They are the same, exactly, where a step begins in the state in
//! which it began last time ([`State`]), code is mapped as it was, and every word of the stack that this step and all after it
//! read is the one that they read then. So each frame is kept with its state and with the words that its step has read; all of
//! them are compared. Comparing is cheaper than unwinding because no word's place depends on another's: the
//! processor fetches them side by side, while unwinding waits for each.
//!
//! Only whole stacks of code in objects are kept: other steps rest on more than registers and words.

use flamekeeper_profile::{LocationId, Svma};
use framehop::FrameAddress;

use crate::unwind::copy::{Reads, StackCopy};
use crate::unwind::pool::{ObjectPool, ObjectRef};
use crate::unwind::{FrameCode, MAX_FRAMES, UserFrame};
use flamekeeper_profile::Avma;

/// Threads are kept in sets of so many; the one that was not seen for the longest time makes room.
const WAYS: usize = 2;
/// Sets. A power of two.
const SETS: usize = 64;
/// Frames, words and objects of a stack that is kept: together not more than 4 MB, and a tenth of that with usual stacks.
const MAX_KEPT: usize = 256;
const MAX_WORDS: usize = 512;
const MAX_OBJECTS: usize = 32;

/// All that a step rests on, beside the words that it reads and where code is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The frame's address.
    pub(super) address: FrameAddress,
    /// Its registers: see `arch::words`.
    pub(super) regs: [u64; 3],
    /// Whether all frames before it were left by what unwind information says.
    pub(super) exact: bool,
}

impl State {
    const fn sp(&self) -> u64 {
        self.regs[1]
    }
}

/// A frame, and what its step has led to its caller by.
#[derive(Clone, Copy, Debug)]
struct Kept {
    state: State,
    object: ObjectRef,
    svma: Svma,
    /// Where its words end; they begin where those of the frame before it end.
    words: u32,
}

impl Kept {
    fn frame(&self) -> UserFrame {
        let code = FrameCode::Object(self.object, self.svma);
        UserFrame { address: Avma(self.state.address.address_for_lookup()), code, sp: Avma(self.state.sp()) }
    }
}

/// A thread's last whole stack.
#[derive(Debug, Default)]
struct Stack {
    /// The generation of its process, and its number.
    thread: (u64, u32),
    /// The version of the process's mappings.
    maps: u64,
    /// When it was used last, by the count of stacks.
    used: u64,
    /// Root first, so that what stays stays in its place.
    frames: Vec<Kept>,
    /// Addresses and words that were read, by frame.
    words: Vec<(u64, u64)>,
    objects: Vec<ObjectRef>,
    /// What the frames are in the tables of the window of this number.
    places: Vec<Option<LocationId>>,
    window: u64,
}

impl Stack {
    fn forget(&mut self) {
        self.frames.clear();
        self.words.clear();
        self.objects.clear();
        self.places.clear();
    }

    fn words_before(&self, frame: usize) -> usize {
        frame.checked_sub(1).and_then(|before| self.frames.get(before)).map_or(0, |before| before.words as usize)
    }
}

/// What became of looking for the rest of a stack.
#[derive(Clone, Copy, Debug)]
pub(super) enum Resumed {
    /// This frame's step has to be made.
    No,
    /// Frames were added up to this one, whose step has to be made.
    UpTo(State),
    /// All frames were added: the last is a root.
    Whole,
}

/// The stacks of the threads that were sampled last, and the one that is being unwound.
#[derive(Debug)]
pub(super) struct Recent {
    stacks: Box<[Stack]>,
    count: u64,
    /// That of the thread whose stack is being unwound.
    current: usize,
    /// Where in it to look, root first: the frames before this.
    cursor: usize,
    /// How many of its frames hold.
    keep: usize,
    /// Frames that were unwound now, leaf first, and their words.
    fresh: Vec<Kept>,
    fresh_words: Vec<(u64, u64)>,
    /// How many frames were not unwound again.
    reused: usize,
    /// Whether the stack that is being unwound can be kept, and when it is done, whether it was.
    whole: bool,
    thread: (u64, u32),
    maps: u64,
}

impl Recent {
    /// Knows no stack.
    pub(super) fn new() -> Self {
        Self {
            stacks: (0..SETS * WAYS).map(|_| Stack::default()).collect(),
            count: 0,
            current: 0,
            cursor: 0,
            keep: 0,
            fresh: Vec::new(),
            fresh_words: Vec::new(),
            reused: 0,
            whole: false,
            thread: (0, 0),
            maps: 0,
        }
    }

    /// The stack of a thread (the generation of its process, and its number) will be unwound, over mappings of this version.
    pub(super) fn begin(&mut self, thread: (u64, u32), maps: u64, pool: &mut ObjectPool) {
        self.count += 1;
        let mixed = (thread.0 << 32 ^ u64::from(thread.1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let first = (mixed >> 40) as usize % SETS * WAYS;
        let set = first..first + WAYS;
        let known = set.clone().find(|place| self.stacks[*place].thread == thread);
        self.current = known.or_else(|| set.min_by_key(|place| self.stacks[*place].used)).unwrap_or(first);
        let stack = &mut self.stacks[self.current];
        if known.is_some() && (stack.maps != maps || !pool.touch_all(&stack.objects)) {
            stack.forget();
        }
        self.cursor = if known.is_some() { stack.frames.len() } else { 0 };
        self.fresh.clear();
        self.fresh_words.clear();
        (self.keep, self.reused, self.whole, self.thread, self.maps) = (0, 0, true, thread, maps);
    }

    /// Looks whether the rest of the stack, from a frame on that is not among `frames` yet, is as it was, and adds what is.
    pub(super) fn resume(&mut self, state: &State, stack: &StackCopy<'_>, frames: &mut Vec<UserFrame>) -> Resumed {
        let Self { stacks, current, cursor, .. } = self;
        let known = &stacks[*current];
        while let Some(next) = cursor.checked_sub(1)
            && known.frames[next].state.sp() < state.sp()
        {
            *cursor = next;
        }
        let Some(from) = cursor.checked_sub(1) else { return Resumed::No };
        if known.frames[from].state != *state || frames.len() + from >= MAX_FRAMES {
            return Resumed::No;
        }
        let words = &known.words[..known.frames[from].words as usize];
        let Some(other) = words.iter().rposition(|(at, word)| stack.word(*at) != Some(*word)) else {
            frames.extend(known.frames[..=from].iter().rev().map(Kept::frame));
            self.keep = from + 1;
            self.reused += from + 1;
            return Resumed::Whole;
        };
        // The frame whose step has read another word now: up to it all is as it was.
        let changed = known.frames[..=from].partition_point(|frame| frame.words as usize <= other);
        *cursor = changed;
        self.reused += from - changed;
        for place in (changed + 1..=from).rev() {
            let frame = known.frames[place];
            frames.push(frame.frame());
            self.fresh_words.extend_from_slice(&known.words[known.words_before(place)..frame.words as usize]);
            self.fresh.push(Kept { words: count(&self.fresh_words), ..frame });
        }
        if changed == from { Resumed::No } else { Resumed::UpTo(known.frames[changed].state) }
    }

    /// A frame's step was made.
    pub(super) fn stepped(&mut self, state: State, code: FrameCode, reads: &Reads) {
        match (code, reads.all()) {
            (FrameCode::Object(object, svma), Some(words)) if self.fresh.len() < MAX_KEPT => {
                self.fresh_words.extend(words);
                self.fresh.push(Kept { state, object, svma, words: count(&self.fresh_words) });
            }
            _ => self.whole = false,
        }
    }

    /// The stack is unwound.
    pub(super) fn end(&mut self, root: bool, pool: &mut ObjectPool) {
        let Self { stacks, current, keep, fresh, fresh_words, .. } = self;
        let stack = &mut stacks[*current];
        pool.used_again(self.reused);
        let kept = stack.frames.get(..*keep).and_then(|kept| kept.last()).map_or(0, |last| last.words as usize);
        self.whole &= root && *keep + fresh.len() <= MAX_KEPT && kept + fresh_words.len() <= MAX_WORDS;
        if !self.whole {
            // What is kept of the thread holds on: it is compared whenever it is used.
            return;
        }
        if *keep == 0 {
            stack.forget();
        }
        stack.frames.truncate(*keep);
        stack.words.truncate(kept);
        stack.places.truncate(*keep);
        for (index, frame) in fresh.iter().enumerate().rev() {
            let begin = index.checked_sub(1).map_or(0, |before| fresh[before].words as usize);
            stack.words.extend_from_slice(&fresh_words[begin..frame.words as usize]);
            stack.frames.push(Kept { words: count(&stack.words), ..*frame });
            if !stack.objects.contains(&frame.object) {
                stack.objects.push(frame.object);
            }
        }
        stack.places.resize(stack.frames.len(), None);
        (stack.thread, stack.maps, stack.used) = (self.thread, self.maps, self.count);
        if stack.objects.len() > MAX_OBJECTS {
            stack.forget();
            self.whole = false;
        }
    }

    /// What the frames of the stack that was unwound last are in the tables of a window, as far as is known, root first; empty
    /// where the stack is not kept. To be given back by [`Self::keep_places`].
    pub(super) fn places(&mut self, window: u64) -> Vec<Option<LocationId>> {
        let stack = &mut self.stacks[self.current];
        if !self.whole {
            return Vec::new();
        }
        let mut places = std::mem::take(&mut stack.places);
        if stack.window != window {
            stack.window = window;
            places.clear();
        }
        places.resize(stack.frames.len(), None);
        places
    }

    /// Takes the places back.
    pub(super) fn keep_places(&mut self, places: Vec<Option<LocationId>>) {
        if self.whole {
            self.stacks[self.current].places = places;
        }
    }

    /// How many frames of the stack that was unwound last were not unwound again.
    #[cfg(test)]
    pub(super) const fn reused(&self) -> usize {
        self.reused
    }

    /// Bytes that all this takes, roughly.
    pub(super) fn bytes(&self) -> usize {
        let bytes = |stack: &Stack| stack.frames.capacity() * (size_of::<Kept>() + 8) + stack.words.capacity() * 16;
        self.stacks.iter().map(bytes).sum()
    }
}

/// How many words there are. Far fewer than 2^32: a step reads a few, and frames are counted.
fn count(words: &[(u64, u64)]) -> u32 {
    u32::try_from(words.len()).unwrap_or(u32::MAX)
}
