//! Which rows of a file: counts as people write them (`10M`) and ranges (`5K..10K`).

use std::ops::Range;

/// Some rows of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowSlice {
    /// All of them.
    #[default]
    All,
    /// This many from the start, or all where there are fewer.
    First(usize),
    /// From one row to before another; both must be there.
    Range {
        /// First row.
        start: usize,
        /// Row after the last; without, the file's end.
        end: Option<usize>,
    },
}

/// Why words name no rows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SliceError {
    /// Not a count.
    #[error(
        "`{0}` is no count; write digits and, if you like, K, M or G for a thousand, million or thousand million"
    )]
    Count(String),
    /// Not a range.
    #[error("`{0}` is no range of rows; write FIRST..END, as in 0..10K or 5M..")]
    Range(String),
    /// Rows that are not there.
    #[error("rows {start}..{end} asked for, there are {len}")]
    Beyond {
        /// First row asked for.
        start: usize,
        /// Row after the last asked for.
        end: usize,
        /// Rows there are.
        len: usize,
    },
}

/// A count such as `7`, `10K`, `10M` or `1G`; the letters are powers of a thousand, as data sets' names use them.
///
/// # Errors
/// [`SliceError::Count`].
pub fn parse_count(text: &str) -> Result<usize, SliceError> {
    let wrong = || SliceError::Count(text.to_owned());
    let (digits, times) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
        Some((at, 'g' | 'G' | 'b' | 'B')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    digits.parse::<usize>().ok().and_then(|count| count.checked_mul(times)).ok_or_else(wrong)
}

impl std::str::FromStr for RowSlice {
    type Err = SliceError;

    /// Reads a range: `A..B`, `A..`, `..B`.
    fn from_str(text: &str) -> Result<Self, SliceError> {
        let wrong = || SliceError::Range(text.to_owned());
        let (start, end) = text.split_once("..").ok_or_else(wrong)?;
        let bound = |text: &str| parse_count(text).map_err(|_| wrong());
        let start = if start.is_empty() { 0 } else { bound(start)? };
        let end = if end.is_empty() { None } else { Some(bound(end)?) };
        if end.is_some_and(|end| end < start) {
            return Err(wrong());
        }
        Ok(Self::Range { start, end })
    }
}

impl RowSlice {
    /// The rows of a file of `len`.
    ///
    /// # Errors
    /// [`SliceError::Beyond`] when a range leaves the file.
    pub fn of(self, len: usize) -> Result<Range<usize>, SliceError> {
        match self {
            Self::All => Ok(0..len),
            Self::First(count) => Ok(0..count.min(len)),
            Self::Range { start, end } => {
                let end = end.unwrap_or(len.max(start));
                if end > len { Err(SliceError::Beyond { start, end, len }) } else { Ok(start..end) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_ranges_are_read() {
        assert_eq!(parse_count("10M"), Ok(10_000_000));
        assert_eq!(parse_count("7"), Ok(7));
        assert_eq!(parse_count("1g"), Ok(1_000_000_000));
        assert_eq!("5K..1M".parse::<RowSlice>().unwrap().of(2_000_000), Ok(5_000..1_000_000));
        assert_eq!("3..".parse::<RowSlice>().unwrap().of(5), Ok(3..5));
        assert_eq!("..2".parse::<RowSlice>().unwrap().of(5), Ok(0..2));
        assert_eq!(RowSlice::First(9).of(5), Ok(0..5));
        assert_eq!(
            "1..9".parse::<RowSlice>().unwrap().of(5),
            Err(SliceError::Beyond { start: 1, end: 9, len: 5 })
        );
        assert_eq!(
            "7..".parse::<RowSlice>().unwrap().of(5),
            Err(SliceError::Beyond { start: 7, end: 7, len: 5 })
        );
        for bad in ["", "K", "-1", "+1", "1.5M", "99999999999999999999", "18446744073709551G", "1é"] {
            assert_eq!(parse_count(bad), Err(SliceError::Count(bad.to_owned())), "{bad}");
        }
        for bad in ["", "5", "5..3", "a..b", "1..2..3"] {
            assert!(bad.parse::<RowSlice>().is_err(), "{bad}");
        }
    }
}
