//! A book of names: which function is at an address of generated code, and since when.
//!
//! A book is a row of pages, each made once and never changed, so that it is handed from the thread that reads to the
//! thread that samples, and from a process to its forked child, by counting references. Within a page no two codes overlap:
//! where they did, the one written last holds; and a later page holds over an earlier one. Pages are merged when one grows
//! past half of the one before, so a book of n codes has about log n pages and every code is copied about log n times.

use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a name that are kept.
pub(crate) const MAX_NAME: usize = 512;

/// Memory that all books share.
#[derive(Debug)]
pub(crate) struct Memory {
    used: AtomicUsize,
    limit: usize,
}

impl Memory {
    /// An allowance of so many bytes.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Takes so many.
    pub(crate) fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives back what was taken.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether so much more is too much.
    pub(crate) fn is_short_of(&self, bytes: usize) -> bool {
        self.used.load(Ordering::Relaxed).saturating_add(bytes) > self.limit
    }

    /// Bytes that live pages hold.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// A part of a page's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Text {
    at: u32,
    length: u16,
}

/// Code in `[start, end)`.
#[derive(Clone, Copy, Debug)]
struct Code {
    start: u64,
    end: u64,
    /// Where the code begins of which this is what is left: line offsets count from there.
    base: u64,
    /// When it was put there, in nanoseconds of the monotonic clock; 0: not known, before any sample.
    since: u64,
    name: Text,
    first_line: u32,
    lines: u32,
}

/// The first byte of a line's code, counted from its code's base.
#[derive(Clone, Copy, Debug)]
struct LineAt {
    offset: u32,
    line: u32,
    file: Text,
}

/// Names that were read together.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// By address, none overlapping another.
    codes: Vec<Code>,
    lines: Vec<LineAt>,
    text: String,
    charge: Option<(Arc<Memory>, usize)>,
}

impl Drop for Page {
    fn drop(&mut self) {
        if let Some((memory, bytes)) = &self.charge {
            memory.give_back(*bytes);
        }
    }
}

/// What a book says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    /// The function.
    pub(crate) name: &'a str,
    /// Source file; empty where it is not known.
    pub(crate) file: &'a str,
    /// Line; 0 where it is not known.
    pub(crate) line: u32,
}

/// What is told of a code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewCode<'a> {
    /// First address.
    pub(crate) start: u64,
    /// Length in bytes; what would overflow is cut.
    pub(crate) size: u64,
    /// When it was put there; 0: not known.
    pub(crate) since: u64,
    /// Its name, cleaned here.
    pub(crate) name: &'a [u8],
}

/// A page in the making.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    codes: Vec<Code>,
    lines: Vec<LineAt>,
    text: String,
}

impl Draft {
    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.codes.len() * size_of::<Code>() + self.lines.len() * size_of::<LineAt>() + self.text.len()
    }

    /// Whether nothing was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Adds a code, over what was there.
    pub(crate) fn add(&mut self, new: NewCode<'_>) {
        let name = self.push_text(new.name);
        let code = Code {
            start: new.start,
            end: new.start.saturating_add(new.size),
            base: new.start,
            since: new.since,
            name,
            first_line: u32::try_from(self.lines.len()).unwrap_or(u32::MAX),
            lines: 0,
        };
        self.codes.push(code);
    }

    /// Adds a line to the code that was added last. Lines come by ascending offset from its start.
    pub(crate) fn add_line(&mut self, offset: u32, line: u32, file: &[u8]) {
        let previous = self.lines.last().map(|line| line.file).filter(|text| self.get(*text).as_bytes() == file);
        let file = previous.unwrap_or_else(|| self.push_text(file));
        if let Some(code) = self.codes.last_mut() {
            code.lines += 1;
            self.lines.push(LineAt { offset, line, file });
        }
    }

    /// The name of the code that was added last over an address, among the newest.
    pub(crate) fn name_at(&self, address: u64) -> Option<&str> {
        const NEWEST: usize = 4096;
        let code = self.codes.iter().rev().take(NEWEST).find(|code| (code.start..code.end).contains(&address))?;
        Some(self.get(code.name))
    }

    fn get(&self, text: Text) -> &str {
        slice(&self.text, text)
    }

    /// Appends a text without control characters, cut to [`MAX_NAME`].
    fn push_text(&mut self, bytes: &[u8]) -> Text {
        let at = self.text.len();
        let clean = String::from_utf8_lossy(bytes.get(..MAX_NAME).unwrap_or(bytes));
        self.text.extend(clean.chars().map(|character| if character.is_control() { '?' } else { character }));
        Text { at: u32::try_from(at).unwrap_or(u32::MAX), length: u16::try_from(self.text.len() - at).unwrap_or_default() }
    }

    /// Copies all codes of a page. What is left of one code in several pieces keeps one name and one set of lines.
    fn copy(&mut self, page: &Page) {
        let mut copied: HashMap<u32, Code, foldhash::fast::RandomState> = HashMap::default();
        for code in &page.codes {
            if let Some(known) = copied.get(&code.name.at) {
                self.codes.push(Code { start: code.start, end: code.end, ..*known });
                continue;
            }
            let name = self.push_text(slice(&page.text, code.name).as_bytes());
            let first_line = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
            self.codes.push(Code { name, first_line, lines: 0, ..*code });
            for line in page.lines_of(code) {
                self.add_line(line.offset, line.line, slice(&page.text, line.file).as_bytes());
            }
            copied.extend(self.codes.last().map(|copy| (code.name.at, *copy)));
        }
    }

    fn finish(mut self, memory: &Arc<Memory>) -> Page {
        let mut codes = disjoint(&self.codes);
        codes.shrink_to_fit();
        self.lines.shrink_to_fit();
        self.text.shrink_to_fit();
        let mut page = Page { codes, lines: self.lines, text: self.text, charge: None };
        let bytes = page.bytes();
        memory.take(bytes);
        page.charge = Some((Arc::clone(memory), bytes));
        page
    }
}

fn slice(text: &str, part: Text) -> &str {
    text.get(part.at as usize..part.at as usize + usize::from(part.length)).unwrap_or_default()
}

/// Codes in the order in which they were written, made to not overlap: the later ones hold.
fn disjoint(written: &[Code]) -> Vec<Code> {
    let mut by_start: Vec<usize> = (0..written.len()).collect();
    by_start.sort_by_key(|index| written[*index].start);
    let mut edges: Vec<u64> = written.iter().flat_map(|code| [code.start, code.end]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut begun = by_start.into_iter().peekable();
    let mut over: BinaryHeap<usize> = BinaryHeap::new();
    let mut out: Vec<(usize, Code)> = Vec::new();
    for pair in edges.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        while let Some(index) = begun.next_if(|index| written[*index].start <= from) {
            over.push(index);
        }
        while over.peek().is_some_and(|index| written[*index].end <= from) {
            over.pop();
        }
        let Some(index) = over.peek().copied() else { continue };
        match out.last_mut() {
            Some((last, code)) if *last == index && code.end == from => code.end = to,
            _ => out.push((index, Code { start: from, end: to, ..written[index] })),
        }
    }
    out.into_iter().map(|(_, code)| code).collect()
}

impl Page {
    fn bytes(&self) -> usize {
        self.codes.len() * size_of::<Code>() + self.lines.len() * size_of::<LineAt>() + self.text.len()
    }

    fn code_at(&self, address: u64) -> Option<&Code> {
        let code = self.codes.get(self.codes.partition_point(|code| code.end <= address))?;
        (code.start <= address).then_some(code)
    }

    fn lines_of(&self, code: &Code) -> &[LineAt] {
        let first = code.first_line as usize;
        self.lines.get(first..first.saturating_add(code.lines as usize)).unwrap_or_default()
    }

    fn found(&self, code: &Code, address: u64) -> Found<'_> {
        let lines = self.lines_of(code);
        let after = lines.partition_point(|line| u64::from(line.offset) <= address - code.base);
        let line = after.checked_sub(1).and_then(|index| lines.get(index));
        let file = line.map_or("", |line| slice(&self.text, line.file));
        Found { name: slice(&self.text, code.name), file, line: line.map_or(0, |line| line.line) }
    }

    /// Two pages as one, the later one over the earlier.
    fn merge(earlier: &Self, later: &Self, memory: &Arc<Memory>) -> Self {
        let mut draft = Draft::default();
        draft.copy(earlier);
        draft.copy(later);
        let page = draft.finish(memory);
        // Names that are covered by others whole are still in the text: copy once more what is left, when it is much less.
        if page.codes.len() * 2 > earlier.codes.len() + later.codes.len() {
            return page;
        }
        let mut draft = Draft::default();
        draft.copy(&page);
        draft.finish(memory)
    }
}

/// Names of one process's generated code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    /// Oldest first.
    pages: Vec<Arc<Page>>,
}

impl Book {
    /// Binds a draft in, over all that is there.
    pub(crate) fn bind(&mut self, draft: Draft, memory: &Arc<Memory>) {
        let mut page = draft.finish(memory);
        while let Some(last) = self.pages.pop_if(|last| last.codes.len() < page.codes.len() * 2) {
            page = Page::merge(&last, &page, memory);
        }
        self.pages.push(Arc::new(page));
    }

    /// Merges all pages, so that names of code that was replaced are let go.
    pub(crate) fn compact(&mut self, memory: &Arc<Memory>) {
        while let (Some(later), Some(earlier)) = (self.pages.pop(), self.pages.pop()) {
            self.pages.push(Arc::new(Page::merge(&earlier, &later, memory)));
        }
    }

    /// What is at an address that was sampled at a time: the code that was put there last before it. A code whose time is
    /// not known was there before.
    pub(crate) fn find(&self, address: u64, at: u64) -> Option<Found<'_>> {
        let covering = self.pages.iter().rev().filter_map(|page| Some((page, page.code_at(address)?)));
        let (page, code) = covering.into_iter().find(|(_, code)| code.since <= at)?;
        Some(page.found(code, address))
    }

    /// Bytes of all pages.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.iter().map(|page| page.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(codes: &[(u64, u64, u64, &str)]) -> Draft {
        let mut draft = Draft::default();
        for (start, size, since, name) in codes {
            draft.add(NewCode { start: *start, size: *size, since: *since, name: name.as_bytes() });
        }
        draft
    }

    fn name(book: &Book, address: u64) -> Option<&str> {
        book.find(address, u64::MAX).map(|found| found.name)
    }

    /// The last code written over an address holds, wherever it starts, within a page and across pages.
    #[test]
    fn last_code_wins() {
        let memory = Arc::new(Memory::new(usize::MAX));
        let mut book = Book::default();
        book.bind(
            draft(&[(0x1000, 0x100, 0, "old"), (0x1000, 0x100, 0, "new"), (0x2000, 0x1000, 0, "big"), (0x2100, 0x10, 0, "small")]),
            &memory,
        );
        assert_eq!(
            [0x1050, 0x2105, 0x2500, 0xfff, 0x1100].map(|at| name(&book, at)),
            [Some("new"), Some("small"), Some("big"), None, None]
        );
        book.bind(draft(&[(0x1080, 0x10, 0, "newest")]), &memory);
        assert_eq!((name(&book, 0x1085), name(&book, 0x1050)), (Some("newest"), Some("new")));
    }

    /// Against a plain table of addresses, over many random pages; memory is given back.
    #[test]
    fn random_pages_say_what_was_written_last() {
        let memory = Arc::new(Memory::new(usize::MAX));
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let (mut book, mut truth) = (Book::default(), vec![None; 256]);
        for round in 0..200 {
            let names: Vec<String> = (0..=random(9)).map(|index| format!("{round}.{index}")).collect();
            let codes: Vec<_> = names.iter().map(|name| (random(240), random(16) + 1, 0, name.as_str())).collect();
            for (start, size, _, name) in &codes {
                truth[usize::try_from(*start).unwrap()..usize::try_from(start + size).unwrap()].fill(Some((*name).to_owned()));
            }
            book.bind(draft(&codes), &memory);
            for (address, truth) in truth.iter().enumerate() {
                assert_eq!(name(&book, address as u64), truth.as_deref(), "round {round}, address {address}");
            }
        }
        assert!(book.pages.len() < 12, "{} pages", book.pages.len());
        assert!(book.bytes() < 256 << 10, "{} bytes for 256 addresses", book.bytes());
        assert_eq!(memory.used(), book.bytes());
        drop(book);
        assert_eq!(memory.used(), 0);
    }

    /// A sample finds the code of its own time, and none where only a later one is known.
    #[test]
    fn names_have_their_time() {
        let memory = Arc::new(Memory::new(usize::MAX));
        let mut book = Book::default();
        book.bind(draft(&[(0x1000, 0x100, 10, "first"), (0x3000, 0x100, 10, "other"), (0x4000, 1, 1, "x"), (0x5000, 1, 1, "y")]), &memory);
        book.bind(draft(&[(0x1000, 0x100, 20, "second")]), &memory);
        let at = |time| book.find(0x1010, time).map(|found| found.name);
        assert_eq!([5, 15, 25].map(at), [None, Some("first"), Some("second")]);
    }

    /// Lines belong to the addresses from their own to the next, also where a piece of the code was covered.
    #[test]
    fn lines_are_found() {
        let memory = Arc::new(Memory::new(usize::MAX));
        let mut one = draft(&[(0x1000, 0x100, 0, "f")]);
        one.add_line(0x10, 7, b"a.js");
        one.add_line(0x20, 9, b"a.js");
        one.add(NewCode { start: 0x1018, size: 4, since: 0, name: b"hole" });
        let mut book = Book::default();
        book.bind(one, &memory);
        book.bind(draft(&[(0x9000, 1, 0, "another"), (0x9100, 1, 0, "more")]), &memory);
        let line = |address| book.find(address, 0).map(|found| (found.name, found.file, found.line));
        assert_eq!(line(0x100f), Some(("f", "", 0)));
        assert_eq!(line(0x1010), Some(("f", "a.js", 7)));
        assert_eq!(line(0x1018), Some(("hole", "", 0)));
        assert_eq!(line(0x1030), Some(("f", "a.js", 9)));
    }

    /// Names are text without control characters and of bounded length; numbers at the edge do not panic.
    #[test]
    fn hostile_names_are_tamed() {
        let memory = Arc::new(Memory::new(usize::MAX));
        let mut draft = Draft::default();
        draft.add(NewCode { start: u64::MAX - 0xffff, size: u64::MAX, since: 0, name: &[0xff; 5000] });
        draft.add(NewCode { start: 0x10, size: 1, since: 0, name: b"a\x07b" });
        let mut book = Book::default();
        book.bind(draft, &memory);
        assert!(name(&book, 0xffff_ffff_ffff_0001).is_some_and(|name| name.chars().count() == MAX_NAME));
        assert_eq!(name(&book, 0x10), Some("a?b"));
    }
}
