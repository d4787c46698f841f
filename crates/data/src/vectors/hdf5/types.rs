//! Types, sizes, and attributes that hold text.

use super::super::source::Fields;
use super::super::{Element, VectorFileError};
use super::object::{File, Message, kind};

/// Longest text of an attribute, bytes.
const MAX_TEXT: u64 = 1 << 16;

/// The sizes of a data set's axes; none for a single value.
pub(super) struct Space {
    pub(super) sizes: Vec<u64>,
}

impl Space {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let (version, axes, _flags) = (fields.u8()?, fields.u8()?, fields.u8()?);
        match version {
            1 => fields.bytes(5)?,
            2 => fields.bytes(1)?,
            _ => return None,
        };
        let sizes = (0..axes).map(|_| fields.u64()).collect::<Option<_>>()?;
        Some(Self { sizes })
    }
}

/// A type: its class, the class's bits, its size in bytes, and what else stands in the message.
pub(super) struct Type {
    class: u8,
    bits: u32,
    size: u32,
    properties: Vec<u8>,
}

impl Type {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let class = fields.u8()? & 15;
        let bits = fields.uint(3)? as u32;
        let size = fields.u32()?;
        Some(Self { class, bits, size, properties: fields.0.to_vec() })
    }

    /// The kind of number, or what it is instead.
    pub(super) fn element(&self) -> Result<Element, String> {
        let big = self.bits & 1 != 0 && self.size > 1;
        if self.class <= 1 && big {
            return Err("big-endian numbers; write them with astype('<f4')".to_owned());
        }
        // Bit offset 0, and as many bits as the bytes have; for floats also IEEE's exponent and mantissa.
        let mut whole = vec![0, 0];
        whole.extend(((u64::from(self.size) * 8) as u16).to_le_bytes());
        let float = |exponent: u8, mantissa: u8, bias: u32| {
            let mut want = whole.clone();
            want.extend([mantissa, exponent, 0, mantissa]);
            want.extend(bias.to_le_bytes());
            self.properties.starts_with(&want) && self.bits & 0x40 == 0
        };
        let signed = self.bits & 8 != 0;
        match (self.class, self.size) {
            (0, 1 | 4 | 8) if self.properties.starts_with(&whole) => match (self.size, signed) {
                (1, false) => Ok(Element::U8),
                (1, true) => Ok(Element::I8),
                (4, false) => Ok(Element::U32),
                (4, true) => Ok(Element::I32),
                (_, true) => Ok(Element::I64),
                (_, false) => Err("u64 numbers; write them with astype('<i8')".to_owned()),
            },
            (1, 2) if float(5, 10, 15) => Ok(Element::F16),
            (1, 4) if float(8, 23, 127) => Ok(Element::F32),
            (1, 8) if float(11, 52, 1023) => Ok(Element::F64),
            (class, size) => Err(format!(
                "values of HDF5's type class {class}, {size} bytes each; write f2, f4, f8, u1, i1, i4, u4 or i8"
            )),
        }
    }
}

/// The text of attribute `name` among an object's messages; `None` when there is no such attribute or it is no text.
pub(super) fn text_attribute(
    file: &File<'_>,
    messages: &[Message],
    name: &str,
) -> Result<Option<String>, VectorFileError> {
    for message in messages.iter().filter(|message| message.kind == kind::ATTRIBUTE && !message.is_shared()) {
        let Some((found, of, value)) = attribute(&message.body) else {
            return Err(file.source.damaged("an attribute of the file is damaged"));
        };
        if found == name {
            return text(file, &of, value);
        }
    }
    Ok(None)
}

/// Name, type and bytes of an attribute.
fn attribute(body: &[u8]) -> Option<(String, Type, &[u8])> {
    let mut fields = Fields(body);
    let (version, _flags) = (fields.u8()?, fields.u8()?);
    let sizes = [fields.u16()?, fields.u16()?, fields.u16()?].map(usize::from);
    if version == 3 {
        fields.bytes(1)?;
    }
    // Version 1 pads each part to 8 bytes.
    let padded = |size: usize| if version == 1 { size.next_multiple_of(8) } else { size };
    let name = &fields.bytes(padded(sizes[0]))?[..sizes[0]];
    let name = name.split(|&byte| byte == 0).next()?;
    let of = Type::parse(fields.bytes(padded(sizes[1]))?)?;
    fields.bytes(padded(sizes[2]))?;
    Some((String::from_utf8_lossy(name).into_owned(), of, fields.0))
}

fn text(file: &File<'_>, of: &Type, value: &[u8]) -> Result<Option<String>, VectorFileError> {
    let damaged = || file.source.damaged("an attribute of the file is damaged");
    let bytes = match of.class {
        3 => value.get(..of.size as usize).ok_or_else(damaged)?.to_vec(),
        9 if of.bits & 15 == 1 => {
            let mut fields = Fields(value);
            let (Some(len), Some(heap), Some(index)) = (fields.u32(), fields.u64(), fields.u32()) else {
                return Err(damaged());
            };
            let mut object = heap_object(file, heap, index)?;
            object.truncate(len as usize);
            object
        }
        _ => return Ok(None),
    };
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    Ok(Some(String::from_utf8_lossy(&bytes[..end]).into_owned()))
}

/// Object `index` of the global heap collection at `address`.
fn heap_object(file: &File<'_>, address: u64, index: u32) -> Result<Vec<u8>, VectorFileError> {
    let damaged = || file.source.damaged(format!("the heap at byte {address} is damaged"));
    let head = file.bytes(address, 16, "a heap")?;
    if !head.starts_with(b"GCOL") {
        return Err(damaged());
    }
    let size = Fields(&head[8..]).u64().ok_or_else(damaged)?;
    let mut at = 16;
    // Objects have numbers of 16 bits.
    for _ in 0..1 << 16 {
        if at + 16 > size {
            break;
        }
        let object = file.bytes(address.saturating_add(at), 16, "a heap")?;
        let mut fields = Fields(&object);
        let (Some(number), Some(_), Some(len)) = (fields.u16(), fields.bytes(6), fields.u64()) else {
            return Err(damaged());
        };
        if number == 0 {
            break;
        }
        if u32::from(number) == index {
            return file.bytes(address.saturating_add(at + 16), len.min(MAX_TEXT), "a heap");
        }
        let step = len.checked_next_multiple_of(8).and_then(|len| len.checked_add(16));
        at = step
            .and_then(|step| at.checked_add(step))
            .filter(|&at| at < u64::MAX - 16)
            .ok_or_else(damaged)?;
    }
    Err(damaged())
}
