//! Bodies: what of an entry does not fit its head, in places of a few sizes. Plain Rust over atomics; everything here is
//! called under the lock of the pool, but for `words`.
//!
//! Memory is pages. A page has places of one size while any of them is in use, and is anybody's again when the last is given
//! back, so no size keeps memory that another one needs.
//!
//! Contract: a body's words belong to who allocated it until it is given back, and are used under the lock of that entry's
//! partition. All links say an index plus one, and 0 where there is none, so zeroed memory is an empty pool. A crash between two
//! steps leaves nothing: the segment is made anew.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub const PAGE_BYTES: usize = 16 << 10;
pub const WORDS_A_PAGE: usize = PAGE_BYTES / 8;
/// Bodies begin at multiples of this.
const LINE_WORDS: usize = 8;
const LINES_A_PAGE: u32 = (WORDS_A_PAGE / LINE_WORDS) as u32;

/// Sizes of bodies in bytes, smallest first.
pub const CLASS_BYTES: [usize; 9] = [64, 128, 256, 512, 1024, 1600, 4096, 8192, PAGE_BYTES];
const CLASSES: usize = CLASS_BYTES.len();
/// The size of a whole page.
pub const WHOLE_PAGE: usize = CLASSES - 1;

/// Where a body is: the number of its first line, plus one. So 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Body(u32);

impl Body {
    pub fn from_bits(bits: u32) -> Option<Body> {
        (bits != 0).then_some(Body(bits))
    }

    pub fn bits(self) -> u32 {
        self.0
    }

    fn line(self) -> u32 {
        self.0 - 1
    }
}

#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct PoolHead {
    /// The first free page that was in use before.
    free: AtomicU32,
    /// Pages that were ever given out.
    touched: AtomicU32,
    pages_in_use: AtomicU32,
    /// Of those, pages that are one body each.
    whole_in_use: AtomicU32,
    bytes_in_use: AtomicU64,
    /// Of each size, the first page that has free places.
    open: [AtomicU32; CLASSES],
    /// Pages that are kept for bodies of a whole one, so that many small ones cannot take them all.
    reserved: AtomicU32,
}

impl PoolHead {
    /// Before anybody else uses the pool.
    pub fn keep_for_whole(&self, pages: usize) {
        self.reserved.store(pages as u32, Ordering::Relaxed);
    }
}

#[repr(C)]
#[derive(Debug, Default)]
pub struct Page {
    class: AtomicU32,
    in_use: AtomicU32,
    /// The first free place that was in use before, linked through its first word.
    free: AtomicU32,
    /// Places that were ever given out since the page got its size.
    touched: AtomicU32,
    /// Neighbours among the open pages of the size; `next` also links free pages.
    next: AtomicU32,
    previous: AtomicU32,
}

const _: () = {
    assert!(size_of::<Page>() == 24);
    assert!(size_of::<PoolHead>() == 64);
};

#[derive(Clone, Copy)]
pub struct Bodies<'a> {
    head: &'a PoolHead,
    pages: &'a [Page],
    words: &'a [AtomicU64],
}

impl<'a> Bodies<'a> {
    /// `words` are `WORDS_A_PAGE` for each of the pages.
    pub fn new(head: &'a PoolHead, pages: &'a [Page], words: &'a [AtomicU64]) -> Bodies<'a> {
        debug_assert_eq!(words.len(), pages.len() * WORDS_A_PAGE);
        Bodies { head, pages, words }
    }

    /// A body's words: as many as its size has. Without a lock by who knows that the body is still whose it was.
    pub fn words(&self, body: Body) -> &'a [AtomicU64] {
        let class = self.class(body);
        let first = body.line() as usize * LINE_WORDS;
        &self.words[first..first + CLASS_BYTES[class] / 8]
    }

    /// The words of a body that had this size when somebody saw it. Without a lock by who finds out afterwards whether it is still
    /// whose it was: its page may have got another size meanwhile.
    pub fn words_of_class(&self, body: Body, class: usize) -> &'a [AtomicU64] {
        let first = body.line() as usize * LINE_WORDS;
        &self.words[first..first + CLASS_BYTES[class] / 8]
    }

    /// The number of a body's size.
    pub fn class(&self, body: Body) -> usize {
        let page = &self.pages[(body.line() / LINES_A_PAGE) as usize];
        (page.class.load(Ordering::Relaxed) as usize).min(CLASSES - 1)
    }

    /// Bytes that bodies take.
    pub fn bytes_in_use(&self) -> u64 {
        self.head.bytes_in_use.load(Ordering::Relaxed)
    }

    /// Pages that they are on.
    #[cfg(test)]
    pub fn pages_in_use(&self) -> u32 {
        self.head.pages_in_use.load(Ordering::Relaxed)
    }

    /// A body with whatever it held before.
    pub fn allocate(&self, class: usize) -> Option<Body> {
        let index = match self.head.open[class].load(Ordering::Relaxed).checked_sub(1) {
            Some(index) => index,
            None => self.open_page(class)?,
        };
        let page = &self.pages[index as usize];
        let place = match page.free.load(Ordering::Relaxed).checked_sub(1) {
            Some(place) => {
                let link = &self.words[self.first_word(index, class, place)];
                page.free.store(link.load(Ordering::Relaxed) as u32, Ordering::Relaxed);
                place
            }
            None => {
                let touched = page.touched.load(Ordering::Relaxed);
                page.touched.store(touched + 1, Ordering::Relaxed);
                touched
            }
        };
        let in_use = page.in_use.load(Ordering::Relaxed) + 1;
        page.in_use.store(in_use, Ordering::Relaxed);
        if in_use == places_a_page(class) {
            self.unlist(index, class);
        }
        let bytes = self.head.bytes_in_use.load(Ordering::Relaxed) + CLASS_BYTES[class] as u64;
        self.head.bytes_in_use.store(bytes, Ordering::Relaxed);
        Some(Body((self.first_word(index, class, place) / LINE_WORDS) as u32 + 1))
    }

    pub fn give_back(&self, body: Body) {
        let index = body.line() / LINES_A_PAGE;
        let page = &self.pages[index as usize];
        let class = self.class(body);
        let place = body.line() % LINES_A_PAGE / lines(class);
        let in_use = page.in_use.load(Ordering::Relaxed);
        if in_use == places_a_page(class) {
            self.list(index, class);
        }
        page.in_use.store(in_use - 1, Ordering::Relaxed);
        let bytes = self.head.bytes_in_use.load(Ordering::Relaxed) - CLASS_BYTES[class] as u64;
        self.head.bytes_in_use.store(bytes, Ordering::Relaxed);
        if in_use == 1 {
            self.close_page(index, class);
            return;
        }
        let link = page.free.load(Ordering::Relaxed);
        self.words[self.first_word(index, class, place)].store(u64::from(link), Ordering::Relaxed);
        page.free.store(place + 1, Ordering::Relaxed);
    }

    /// A page for a size that has none with free places.
    fn open_page(&self, class: usize) -> Option<u32> {
        let in_use = self.head.pages_in_use.load(Ordering::Relaxed);
        let whole_in_use = self.head.whole_in_use.load(Ordering::Relaxed);
        let reserved = self.head.reserved.load(Ordering::Relaxed) as usize;
        if class != WHOLE_PAGE && (in_use - whole_in_use) as usize + reserved >= self.pages.len() {
            return None;
        }
        let index = match self.head.free.load(Ordering::Relaxed).checked_sub(1) {
            Some(index) => {
                let next = self.pages[index as usize].next.load(Ordering::Relaxed);
                self.head.free.store(next, Ordering::Relaxed);
                index
            }
            None => {
                let touched = self.head.touched.load(Ordering::Relaxed);
                if touched as usize >= self.pages.len() {
                    return None;
                }
                self.head.touched.store(touched + 1, Ordering::Relaxed);
                touched
            }
        };
        let page = &self.pages[index as usize];
        page.class.store(class as u32, Ordering::Relaxed);
        for number in [&page.in_use, &page.free, &page.touched] {
            number.store(0, Ordering::Relaxed);
        }
        self.head.pages_in_use.store(in_use + 1, Ordering::Relaxed);
        self.head.whole_in_use.store(whole_in_use + u32::from(class == WHOLE_PAGE), Ordering::Relaxed);
        self.list(index, class);
        Some(index)
    }

    fn close_page(&self, index: u32, class: usize) {
        self.unlist(index, class);
        let page = &self.pages[index as usize];
        page.next.store(self.head.free.load(Ordering::Relaxed), Ordering::Relaxed);
        self.head.free.store(index + 1, Ordering::Relaxed);
        let in_use = self.head.pages_in_use.load(Ordering::Relaxed);
        self.head.pages_in_use.store(in_use - 1, Ordering::Relaxed);
        let whole_in_use = self.head.whole_in_use.load(Ordering::Relaxed);
        self.head.whole_in_use.store(whole_in_use - u32::from(class == WHOLE_PAGE), Ordering::Relaxed);
    }

    /// Puts a page among the open ones of its size.
    fn list(&self, index: u32, class: usize) {
        let open = &self.head.open[class];
        let first = open.load(Ordering::Relaxed);
        let page = &self.pages[index as usize];
        page.previous.store(0, Ordering::Relaxed);
        page.next.store(first, Ordering::Relaxed);
        if let Some(first) = first.checked_sub(1) {
            self.pages[first as usize].previous.store(index + 1, Ordering::Relaxed);
        }
        open.store(index + 1, Ordering::Relaxed);
    }

    fn unlist(&self, index: u32, class: usize) {
        let page = &self.pages[index as usize];
        let (previous, next) = (page.previous.load(Ordering::Relaxed), page.next.load(Ordering::Relaxed));
        match previous.checked_sub(1) {
            Some(previous) => self.pages[previous as usize].next.store(next, Ordering::Relaxed),
            None => self.head.open[class].store(next, Ordering::Relaxed),
        }
        if let Some(next) = next.checked_sub(1) {
            self.pages[next as usize].previous.store(previous, Ordering::Relaxed);
        }
    }

    fn first_word(&self, page: u32, class: usize, place: u32) -> usize {
        page as usize * WORDS_A_PAGE + place as usize * CLASS_BYTES[class] / 8
    }
}

fn places_a_page(class: usize) -> u32 {
    (PAGE_BYTES / CLASS_BYTES[class]) as u32
}

fn lines(class: usize) -> u32 {
    (CLASS_BYTES[class] / 8 / LINE_WORDS) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_whole_lines_that_fit_a_page() {
        assert!(CLASS_BYTES.iter().all(|bytes| bytes.is_multiple_of(64) && *bytes <= PAGE_BYTES));
        assert!(CLASS_BYTES.is_sorted());
    }

    proptest! {
        /// No two bodies overlap, what is written to one stays there, and the sums are right; a pool that is empty again gives out
        /// as much of any size as a new one.
        #[test]
        fn bodies_do_not_overlap_and_nothing_is_lost(
            pages in 1usize..6,
            reserved in 0usize..6,
            steps in prop::collection::vec((0usize..CLASSES, any::<prop::sample::Index>(), 0..3u32), 1..600),
        ) {
            let head = PoolHead::default();
            let reserved = reserved.min(pages);
            head.keep_for_whole(reserved);
            let page_heads: Vec<Page> = (0..pages).map(|_| Page::default()).collect();
            let words: Vec<AtomicU64> = (0..pages * WORDS_A_PAGE).map(|_| AtomicU64::default()).collect();
            let bodies = Bodies::new(&head, &page_heads, &words);
            let mut held: BTreeMap<Body, u64> = BTreeMap::new();
            for (step, (class, which, kind)) in steps.into_iter().enumerate() {
                if kind == 0 && !held.is_empty() {
                    let body = *which.get(&held.keys().copied().collect::<Vec<_>>());
                    let written = held.remove(&body).unwrap();
                    prop_assert!(bodies.words(body).iter().all(|word| word.load(Ordering::Relaxed) == written));
                    bodies.give_back(body);
                } else if let Some(body) = bodies.allocate(class) {
                    prop_assert_eq!(bodies.class(body), class);
                    bodies.words(body).iter().for_each(|word| word.store(step as u64, Ordering::Relaxed));
                    prop_assert!(held.insert(body, step as u64).is_none());
                }
                let bytes: usize = held.keys().map(|body| CLASS_BYTES[bodies.class(*body)]).sum();
                prop_assert_eq!(bodies.bytes_in_use(), bytes as u64);
                prop_assert!(bodies.pages_in_use() as usize * PAGE_BYTES >= bytes);
                let whole = held.keys().filter(|body| bodies.class(**body) == WHOLE_PAGE).count();
                prop_assert!(bodies.pages_in_use() as usize - whole <= pages - reserved);
            }
            for (body, written) in std::mem::take(&mut held) {
                prop_assert!(bodies.words(body).iter().all(|word| word.load(Ordering::Relaxed) == written));
                bodies.give_back(body);
            }
            prop_assert_eq!((bodies.bytes_in_use(), bodies.pages_in_use()), (0, 0));
            for class in 0..CLASSES {
                let all: Vec<Body> = std::iter::from_fn(|| bodies.allocate(class)).collect();
                let pages = if class == WHOLE_PAGE { pages } else { pages - reserved };
                prop_assert_eq!(all.len(), pages * places_a_page(class) as usize);
                all.into_iter().for_each(|body| bodies.give_back(body));
            }
        }
    }
}
