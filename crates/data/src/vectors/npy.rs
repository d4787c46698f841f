//! NumPy's arrays: `\x93NUMPY`, the version, the header's length (u16 in version 1, u32 in 2 and 3), a Python
//! dictionary of `descr`, `fortran_order` and `shape`, then the values. Source: NEP 1 and numpy.lib.format.

use super::grid::Grid;
use super::source::{Fields, Source};
use super::{Element, VectorFileError};

const MAGIC: &[u8] = b"\x93NUMPY";

/// Longest header read, bytes; NumPy itself stops at 10,000.
const MAX_HEADER: u64 = 1 << 16;

pub(super) fn open(source: &Source) -> Result<Grid, VectorFileError> {
    let head = source.take(0, 12.min(source.len()), "the head")?;
    let mut fields = Fields(&head);
    if fields.bytes(MAGIC.len()) != Some(MAGIC) {
        return Err(source.damaged("it does not start as a .npy file does"));
    }
    let short =
        || source.take(0, 12, "the head").err().unwrap_or_else(|| source.damaged("the head is cut short"));
    let (major, _minor) = (fields.u8().ok_or_else(short)?, fields.u8().ok_or_else(short)?);
    let (length, start) = match major {
        1 => (fields.u16().map(u64::from), 10),
        2 | 3 => (fields.u32().map(u64::from), 12),
        _ => {
            return Err(
                source.unsupported(format!("version {major} of .npy is not known; save it as version 1"))
            );
        }
    };
    let length = length.ok_or_else(short)?;
    if length > MAX_HEADER {
        return Err(source.damaged(format!("a header of {length} bytes; NumPy writes at most {MAX_HEADER}")));
    }
    let text = source.take(start, length, "the header")?;
    let text = std::str::from_utf8(&text).map_err(|_| source.damaged("the header is not text"))?;
    let header = Header::parse(text).map_err(|reason| source.damaged(format!("the header: {reason}")))?;
    let element = element(source, &header.descr)?;
    let [rows, dim] = header.shape[..] else {
        let reason =
            format!("{} axes; vectors are an array of 2: save a.reshape(rows, -1)", header.shape.len());
        return Err(source.unsupported(reason));
    };
    if header.fortran && rows > 1 && dim > 1 {
        let reason = "columns lie side by side (Fortran order); save numpy.ascontiguousarray(a)";
        return Err(source.unsupported(reason));
    }
    let grid = Grid::checked(source, start + length, rows, dim, element)?;
    if grid.end() != source.len() {
        let left = source.len() - grid.end();
        return Err(source.damaged(format!("{left} bytes follow the {rows} x {dim} values of {element}")));
    }
    Ok(grid)
}

fn element(source: &Source, descr: &str) -> Result<Element, VectorFileError> {
    let (order, kind) = descr.split_at_checked(1).unwrap_or(("", descr));
    let found = match kind {
        "f2" => Element::F16,
        "f4" => Element::F32,
        "f8" => Element::F64,
        "u1" => Element::U8,
        "i1" => Element::I8,
        "i4" => Element::I32,
        "u4" => Element::U32,
        "i8" => Element::I64,
        _ => {
            let reason =
                format!("values are `{descr}`; save a.astype('<f4') or one of f2, f8, u1, i1, i4, u4, i8");
            return Err(source.unsupported(reason));
        }
    };
    match order {
        "<" => Ok(found),
        "|" if found.size() == 1 => Ok(found),
        ">" if found.size() == 1 => Ok(found),
        ">" => {
            Err(source.unsupported(format!("values are big-endian (`{descr}`); save a.astype('<{kind}')")))
        }
        _ => Err(source
            .unsupported(format!("the byte order of `{descr}` is not stated; save a.astype('<{kind}')"))),
    }
}

/// The dictionary.
#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<u64>,
}

impl Header {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    fn parse(text: &str) -> Result<Self, String> {
        let mut rest = Words(text);
        rest.expect('{')?;
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        while !rest.accept('}') {
            let key = rest.quoted()?;
            rest.expect(':')?;
            match key.as_str() {
                "descr" => descr = Some(rest.quoted().map_err(|_| "descr is no plain type".to_owned())?),
                "fortran_order" => fortran = Some(rest.truth()?),
                "shape" => shape = Some(rest.shape()?),
                _ => return Err(format!("unknown key `{key}`")),
            }
            if !rest.accept(',') {
                rest.expect('}')?;
                break;
            }
        }
        if !rest.0.trim().is_empty() {
            return Err("words after the dictionary".to_owned());
        }
        match (descr, fortran, shape) {
            (Some(descr), Some(fortran), Some(shape)) => Ok(Self { descr, fortran, shape }),
            _ => Err("descr, fortran_order or shape is missing".to_owned()),
        }
    }
}

/// What is left of the dictionary's text.
struct Words<'a>(&'a str);

impl Words<'_> {
    fn accept(&mut self, mark: char) -> bool {
        self.0 = self.0.trim_start();
        self.0.strip_prefix(mark).map(|rest| self.0 = rest).is_some()
    }

    fn expect(&mut self, mark: char) -> Result<(), String> {
        if self.accept(mark) { Ok(()) } else { Err(format!("`{mark}` is missing")) }
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mark = if self.accept('\'') {
            '\''
        } else {
            self.expect('"').map_err(|_| "a quoted word is missing".to_owned())?;
            '"'
        };
        let (word, rest) = self.0.split_once(mark).ok_or("a quote is not closed")?;
        self.0 = rest;
        Ok(word.to_owned())
    }

    fn truth(&mut self) -> Result<bool, String> {
        self.0 = self.0.trim_start();
        for (word, value) in [("False", false), ("True", true)] {
            if let Some(rest) = self.0.strip_prefix(word) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err("fortran_order is neither True nor False".to_owned())
    }

    fn shape(&mut self) -> Result<Vec<u64>, String> {
        self.expect('(')?;
        let mut shape = Vec::new();
        while !self.accept(')') {
            self.0 = self.0.trim_start();
            let digits = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
            shape.push(self.0[..digits].parse().map_err(|_| "shape holds something that is no size")?);
            // Python 2 wrote long numbers with an L.
            self.0 = self.0[digits..].trim_start_matches('L');
            if !self.accept(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(shape)
    }
}

/// A version 1 head for `rows x dim`, padded so that it has the same length for every number of rows.
pub(super) fn head(element: Element, rows: u64, dim: usize) -> Vec<u8> {
    let kind = match element {
        Element::F16 => "<f2",
        Element::F32 => "<f4",
        Element::F64 => "<f8",
        Element::U8 => "|u1",
        Element::I8 => "|i1",
        Element::I32 => "<i4",
        Element::U32 => "<u4",
        Element::I64 => "<i8",
    };
    let mut text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    // The longest text there is (20 digits, 7 digits) is 92 bytes: with magic and newline it fits 128, a multiple
    // of 64 as NumPy wants.
    text.extend(std::iter::repeat_n(' ', 128 - 10 - 1 - text.len()));
    text.push('\n');
    let mut head = [MAGIC, &[1, 0]].concat();
    head.extend((text.len() as u16).to_le_bytes());
    head.extend(text.as_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_by_hand() {
        let header = Header::parse("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n");
        let want = Header { descr: "<f4".into(), fortran: false, shape: vec![3, 4] };
        assert_eq!(header.unwrap(), want);
        let header = Header::parse("{\"shape\":(3L,),\"fortran_order\":True,\"descr\":\"|u1\"}").unwrap();
        assert_eq!(header, Header { descr: "|u1".into(), fortran: true, shape: vec![3] });
        for bad in [
            "",
            "{}",
            "{'descr': '<f4'}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, -4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)} more",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (3, 4)}",
        ] {
            assert!(Header::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn heads_have_one_length() {
        for rows in [0, 7, u64::MAX] {
            let head = head(Element::F32, rows, super::super::MAX_DIM);
            assert_eq!(head.len(), 128);
            assert!(head.ends_with(b"\n"));
        }
    }
}
