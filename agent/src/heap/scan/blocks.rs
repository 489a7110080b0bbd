//! Sampled blocks by address, and what points into them. Functions of numbers and bytes: nothing is read here.

use std::collections::{BTreeMap, HashMap};

use super::Holder;

/// A sampled block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) address: u64,
    pub(super) size: u64,
    pub(super) number: u64,
}

/// Where pointers to one block lie.
type Places = HashMap<u32, u64, foldhash::fast::RandomState>;

/// Sampled blocks, and the places that point into each.
#[derive(Debug, Default)]
pub(super) struct Pointers {
    /// By address; they do not overlap.
    blocks: Vec<Block>,
    /// Of each block: how many pointers lie in each place.
    places: Vec<Places>,
    /// The places, by number.
    known: Vec<Holder>,
    numbers: HashMap<Holder, u32, foldhash::fast::RandomState>,
}

impl Pointers {
    pub(super) fn new(mut blocks: Vec<Block>) -> Self {
        blocks.retain(|block| block.size > 0 && block.address.checked_add(block.size).is_some());
        blocks.sort_unstable_by_key(|block| block.address);
        // A table that lies may have blocks that overlap: the first stays.
        blocks.dedup_by(|next, before| next.address < before.address + before.size);
        let places = blocks.iter().map(|_| Places::default()).collect();
        Self { blocks, places, ..Self::default() }
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The block that an address lies in, at its beginning or inside.
    pub(super) fn at(&self, address: u64) -> Option<usize> {
        let place = self.blocks.partition_point(|block| block.address <= address).checked_sub(1)?;
        let block = self.blocks.get(place)?;
        (address - block.address < block.size).then_some(place)
    }

    /// Looks at the words of a piece of memory that begins at an address; `holder` says what a place is. A block's pointers into itself hold
    /// nothing.
    pub(super) fn look(&mut self, start: u64, bytes: &[u8], mut holder: impl FnMut(u64) -> Holder) {
        let (Some(first), Some(last)) = (self.blocks.first(), self.blocks.last()) else { return };
        let range = first.address..last.address + last.size;
        for (index, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let word = u64::from_ne_bytes(*word);
            if !range.contains(&word) {
                continue;
            }
            let Some(target) = self.at(word) else { continue };
            let place = start + 8 * index as u64;
            let holder = match self.at(place) {
                Some(own) if own == target => continue,
                Some(other) => Holder::Block(self.blocks.get(other).map_or(0, |block| block.number)),
                None => holder(place),
            };
            let number = self.number(holder);
            if let Some(places) = self.places.get_mut(target) {
                *places.entry(number).or_default() += 1;
            }
        }
    }

    fn number(&mut self, holder: Holder) -> u32 {
        if let Some(number) = self.numbers.get(&holder) {
            return *number;
        }
        // As many as there are variables, threads and blocks: far below.
        let number = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        self.known.push(holder.clone());
        self.numbers.insert(holder, number);
        number
    }

    /// What holds each block, in the order of [`Self::blocks`]: pointers by place. Those in blocks that nothing holds, or only such blocks, hold
    /// nothing either: what is left empty is not reachable as far as is known.
    pub(super) fn held(&self) -> Vec<BTreeMap<Holder, u64>> {
        let index: HashMap<u64, usize> = self.blocks.iter().enumerate().map(|(place, block)| (block.number, place)).collect();
        let mut reachable = vec![false; self.blocks.len()];
        let mut held: Vec<Vec<usize>> = vec![Vec::new(); self.blocks.len()];
        let mut waiting = Vec::new();
        for (block, places) in self.places.iter().enumerate() {
            for number in places.keys() {
                match self.known.get(*number as usize) {
                    Some(Holder::Block(by)) => {
                        if let Some(by) = index.get(by).and_then(|by| held.get_mut(*by)) {
                            by.push(block);
                        }
                    }
                    Some(_) => waiting.push(block),
                    None => {}
                }
            }
        }
        while let Some(block) = waiting.pop() {
            if !std::mem::replace(&mut reachable[block], true) {
                waiting.extend(held[block].iter().copied());
            }
        }
        let of = |(block, places): (usize, &Places)| {
            let live = places.iter().filter_map(|(number, count)| Some((self.known.get(*number as usize)?.clone(), *count)));
            let holds = |holder: &Holder| match holder {
                Holder::Block(by) => index.get(by).is_some_and(|by| reachable[*by]),
                _ => true,
            };
            if reachable[block] { live.filter(|(holder, _)| holds(holder)).collect() } else { BTreeMap::new() }
        };
        self.places.iter().enumerate().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pointers to the beginning and inside of blocks hold them; those in blocks that nothing holds do not, however long their chain or
    /// circle is.
    #[test]
    fn chains_are_followed() {
        let block = |number: u64| Block { address: 0x1000 * number, size: 0x100, number };
        let mut pointers = Pointers::new((1..=6).map(block).collect());
        assert_eq!([0xfff, 0x1000, 0x10ff, 0x1100, 0x60ff].map(|address| pointers.at(address)), [None, Some(0), Some(0), None, Some(5)]);
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
        let registry = Holder::Variable("registry".into(), "/bin/a".into());
        // The registry holds 1, which holds 2; 3 and 4 hold each other, and 4 holds 2; 5 points into itself; 6 is on a stack.
        pointers.look(0x9000, &words(&[7, 0x1000, 0x1000, 0x7000]), |_| registry.clone());
        pointers.look(0x1000, &words(&[0x2080]), |_| unreachable!());
        pointers.look(0x3000, &words(&[0x4000]), |_| unreachable!());
        pointers.look(0x4000, &words(&[0x3000, 0x2000]), |_| unreachable!());
        pointers.look(0x5000, &words(&[0x5008]), |_| unreachable!());
        pointers.look(0xa000, &words(&[0x60ff]), |_| Holder::Stack("main".into()));
        let held: Vec<Vec<_>> = pointers.held().into_iter().map(|held| held.into_iter().collect()).collect();
        let none = Vec::new();
        let expected =
            [vec![(registry, 2)], vec![(Holder::Block(1), 1)], none.clone(), none.clone(), none, vec![(Holder::Stack("main".into()), 1)]];
        assert_eq!(held, expected);
    }

    /// Blocks that overlap, or wrap, are lies of a table.
    #[test]
    fn lies_are_left_out() {
        let block = |address, size| Block { address, size, number: address };
        let pointers = Pointers::new(vec![block(0x1000, 0x2000), block(0x2000, 0x10), block(u64::MAX - 8, 0x100), block(0x4000, 0)]);
        assert_eq!(pointers.blocks(), [block(0x1000, 0x2000)]);
    }
}
