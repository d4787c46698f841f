//! What the head of a Parquet page says of its sizes. The Parquet crate takes memory for as many bytes as a page says
//! it unpacks to, so the head is read here first; and so is the footer, of which the crate would go through lists that
//! take no room and have no end.
//!
//! A head is a Thrift structure in the compact protocol: `PageHeader` of parquet.thrift, of which field 2 is the size
//! unpacked, 3 the size stored, and field 1 of fields 5, 7 and 8 the number of values. Source: Apache Thrift, compact
//! protocol encoding.

use std::io::{self, Read};

/// Deepest nesting of fields and lists; a footer has nine levels.
const MAX_DEPTH: usize = 16;

/// Most fields of a head.
const MAX_FIELDS: usize = 1 << 12;

/// Types of the compact protocol; the first two, true and false, are one.
const TRUTH: u8 = 2;
const NUMBER: u8 = 5;
const STRUCTURE: u8 = 12;

/// The sizes in a page's head; of a field that comes twice, the larger.
#[derive(Debug, Default, PartialEq)]
pub(super) struct PageSizes {
    pub(super) unpacked: i64,
    pub(super) stored: i64,
    pub(super) values: i64,
}

impl PageSizes {
    /// Reads the head that `input` starts with.
    ///
    /// # Errors
    /// Bytes that end or are no structure.
    pub(super) fn read(input: impl Read) -> io::Result<Self> {
        let mut head = Head { input, sizes: Self::default(), fields: 0, footer: false };
        head.structure(&mut Vec::new())?;
        Ok(head.sizes)
    }
}

/// Refuses the bytes of a footer with lists of truths, which the crate takes to have no bytes, however many they say
/// to be, and with maps. No footer has any.
///
/// # Errors
/// As said, and bytes that end or are no structure.
pub(super) fn check_footer(footer: &[u8]) -> io::Result<()> {
    let mut head = Head { input: footer, sizes: PageSizes::default(), fields: 0, footer: true };
    head.structure(&mut Vec::new())
}

struct Head<R> {
    input: R,
    sizes: PageSizes,
    fields: usize,
    /// Whether it is a footer's: of any number of fields, and with lists.
    footer: bool,
}

impl<R: Read> Head<R> {
    /// Reads a structure; `path` holds the numbers of the fields that it is in.
    fn structure(&mut self, path: &mut Vec<i16>) -> io::Result<()> {
        if path.len() >= MAX_DEPTH {
            return Err(damaged("is nested too deeply"));
        }
        let mut id = 0i16;
        loop {
            let byte = self.byte()?;
            if byte == 0 {
                return Ok(());
            }
            // The distance to the field before, or none and the number itself.
            id = match byte >> 4 {
                0 => zigzag(self.number()?) as i16,
                step => id.checked_add(step.into()).ok_or_else(|| damaged("does not end"))?,
            };
            path.push(id);
            self.value(byte & 15, path)?;
            path.pop();
        }
    }

    /// Reads the value of a field of type `kind`.
    fn value(&mut self, kind: u8, path: &mut Vec<i16>) -> io::Result<()> {
        self.fields += 1;
        if self.footer {
            return self.footer_value(kind, path);
        }
        if self.fields > MAX_FIELDS {
            return Err(damaged("does not end"));
        }
        if known(path).is_some_and(|known| known != kind.max(TRUTH)) {
            return Err(damaged("has a field of another type"));
        }
        if let 4..=6 = kind {
            // Numbers of fields and sizes have 16 and 32 bits; the crate drops what is more.
            let number = zigzag(self.number()?) as i32;
            self.note(path, number.into());
            return Ok(());
        }
        self.plain_value(kind, path)
    }

    /// Reads a value that is neither a number nor a list.
    fn plain_value(&mut self, kind: u8, path: &mut Vec<i16>) -> io::Result<()> {
        match kind {
            // A truth is in the type itself.
            1 | 2 => Ok(()),
            3 => self.skip(1),
            7 => self.skip(8),
            8 => {
                let length = self.number()?;
                self.skip(length)
            }
            STRUCTURE => self.structure(path),
            // Maps, and lists in a page's head: there are none, and the crate goes through them for as long as they
            // say to be, also beyond the file's end.
            _ => Err(damaged("holds what there is not")),
        }
    }

    /// Reads a value of a footer, in which there are lists.
    fn footer_value(&mut self, kind: u8, path: &mut Vec<i16>) -> io::Result<()> {
        match kind {
            9 | 10 => {
                let head = self.byte()?;
                let length = if head >> 4 == 15 { self.number()? } else { u64::from(head >> 4) };
                if head & 15 <= TRUTH && length > 0 || path.len() >= MAX_DEPTH {
                    return Err(damaged("holds a list that no footer has"));
                }
                // Every item takes a byte, so that a length that lies ends with the footer.
                path.push(0);
                (0..length).try_for_each(|_| self.footer_value(head & 15, path))?;
                path.pop();
                Ok(())
            }
            4..=6 => self.number().map(|_| ()),
            _ => self.plain_value(kind, path),
        }
    }

    fn note(&mut self, path: &[i16], number: i64) {
        let place = match path {
            [2] => &mut self.sizes.unpacked,
            [3] => &mut self.sizes.stored,
            [5 | 7 | 8, 1] => &mut self.sizes.values,
            _ => return,
        };
        *place = number.max(*place);
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// A number in groups of seven bits, the lowest first.
    fn number(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(number);
            }
        }
        Err(damaged("holds a number without end"))
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(length), &mut io::sink())?;
        if skipped == length { Ok(()) } else { Err(damaged("is cut short")) }
    }
}

/// The type of a field that the crate knows. It reads such a field without a look at the type that the file states,
/// so one of another type would be read differently there and here.
fn known(path: &[i16]) -> Option<u8> {
    match path {
        [1..=4] | [5, 1..=4] | [7, 1 | 2] | [8, 1..=6] => Some(NUMBER),
        [7, 3] | [8, 7] => Some(TRUTH),
        [5..=8] | [5, 5] | [8, 8] => Some(STRUCTURE),
        _ => None,
    }
}

/// Signed numbers as they are stored: 0, -1, 1, -2, ...
fn zigzag(stored: u64) -> i64 {
    (stored >> 1) as i64 ^ -((stored & 1) as i64)
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a Thrift structure {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_by_hand() {
        // Field 1 (step 1, type 5): 0. Field 2: zigzag(300) = 600 = 0b100_1011000. Field 3: 10. Field 5 (step 2,
        // structure): field 1: 7; field 5 (step 4, structure): field 1: 3 bytes of text. Then field 2 once more by its
        // number: 4.
        let head = [
            &[0x15, 0, 0x15, 0xd8, 4, 0x15, 20, 0x2c, 0x15, 14, 0x4c, 0x18, 3][..],
            b"abc",
            &[0, 0, 0x05, 4, 8, 0],
        ]
        .concat();
        assert_eq!(PageSizes::read(&head[..]).unwrap(), PageSizes { unpacked: 300, stored: 10, values: 7 });
        for cut in 0..head.len() {
            assert!(PageSizes::read(&head[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn footers_with_lists_of_truths_are_refused() {
        // Field 1: 2. Field 2: a list of two structures with a text each. Field 9: a list of numbers 1 and 2.
        let sound = [0x15, 4, 0x19, 0x2c, 0x18, 1, b'a', 0, 0x18, 1, b'b', 0, 0x79, 0x25, 2, 4];
        check_footer(&[&sound[..], &[0]].concat()).unwrap();
        let truths = [0x19, 0xf2, 0xff, 0xff, 0xff, 0xff, 0x07, 0];
        assert!(check_footer(&[&sound[..], &truths].concat()).is_err());
        assert!(check_footer(&[&sound[..], &[0x1b, 0xff, 0xff, 0x03, 0x11, 0]].concat()).is_err(), "a map");
        assert!(check_footer(&[0x19; 1000]).is_err(), "lists in lists");
        assert!(check_footer(&sound).is_err(), "no end");
        assert!(check_footer(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0, 0]).is_err(), "a list that lies");
    }

    #[test]
    fn heads_without_end_are_refused() {
        assert!(PageSizes::read(&[0x1c; 100][..]).is_err(), "structures in structures");
        assert!(PageSizes::read(&[0x99, 0x08, 0, 0][..]).is_err(), "a list");
        assert!(PageSizes::read(&[0x55, 0, 0][..]).is_err(), "field 5 as a number");
        assert!(PageSizes::read(io::repeat(0x15)).is_err(), "fields without end");
        assert!(
            PageSizes::read(&[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1][..])
                .is_err()
        );
    }
}
