//! Which rows of a scan may be found.

use std::ops::BitAnd;

/// A word with a bit for each row of a block.
pub(crate) trait Word: Copy + BitAnd<Output = Self> {
    /// Rows of a block.
    const ROWS: usize;
    /// The word with the lowest `count` bits set, all where there are not as many.
    fn lowest(count: usize) -> Self;
}

macro_rules! word {
    ($word:ty) => {
        impl Word for $word {
            const ROWS: usize = Self::BITS as usize;

            #[inline(always)]
            fn lowest(count: usize) -> Self {
                if count < Self::ROWS { (1 << count) - 1 } else { Self::MAX }
            }
        }
    };
}

word!(u32);
word!(u64);

/// The first rows of some blocks, and of them those whose bit is set: row `r` has bit `r % ROWS` of word
/// `r / ROWS`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live<'a, W> {
    rows: usize,
    words: Option<&'a [W]>,
}

impl<'a, W: Word> Live<'a, W> {
    /// All of `rows`.
    pub(crate) fn all(rows: usize) -> Self {
        Self { rows, words: None }
    }

    /// Only rows whose bit is set in `words`, of which there is one a block at least.
    pub(crate) fn only(self, words: &'a [W]) -> Self {
        assert!(words.len() >= self.blocks(), "one word a block of {} rows", W::ROWS);
        Self { words: Some(words), ..self }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn blocks(&self) -> usize {
        self.rows.div_ceil(W::ROWS)
    }

    /// The rows of `block` that may be found.
    #[inline(always)]
    pub(crate) fn of(&self, block: usize) -> W {
        let whole = W::lowest(self.rows - block * W::ROWS);
        self.words.map_or(whole, |words| words[block] & whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_past_the_end_are_not_live() {
        let live = Live::<u32>::all(40);
        assert_eq!((live.blocks(), live.of(0), live.of(1)), (2, u32::MAX, 0xff));
        let live = live.only(&[5, 0x8181]);
        assert_eq!((live.of(0), live.of(1)), (5, 0x81));
        assert_eq!(Live::<u64>::all(64).of(0), u64::MAX);
    }
}
