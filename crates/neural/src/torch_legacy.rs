//! PyTorch's first file format (before 1.6), read without running anything.
//!
//! Such a file is four pickles (a magic number, a version, facts of the writing machine, the object)
//! followed by a pickled list of storage keys and the storages' bytes. A pickle is a program for a stack
//! machine that may call any function; here only the operations that build a dictionary of f32 tensors
//! are known, and the only things that can be "called" are the ones that make a tensor or an ordered
//! dictionary. Nothing is allocated that the file does not hold.

use crate::weights::{Array, Weights};
use std::collections::HashMap;
use thiserror::Error;

/// Why a file could not be read.
#[derive(Debug, Error)]
#[error("not a legacy PyTorch state dictionary: {reason} (byte {at})")]
pub struct TorchError {
    /// What was met.
    pub reason: String,
    /// Where.
    pub at: usize,
}

/// First object of every such file.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Deepest nesting and most objects of one pickle; a state dictionary needs far fewer.
const MOST_OBJECTS: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq)]
enum Value {
    None,
    Mark,
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
    Global(String),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Storage { key: String, float: bool },
    Tensor { key: String, float: bool, offset: usize, shape: Vec<usize>, stride: Vec<usize> },
}

/// Reads the f32 tensors of a state dictionary; integer tensors (counters) are left out.
///
/// # Errors
/// When the file is something else, is cut short, or would do anything but build tensors.
pub fn read_torch_legacy(bytes: &[u8]) -> Result<Weights, TorchError> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.pickle()? != Value::Bytes(MAGIC.to_vec()) {
        return Err(reader.error("its first object is not the format's magic number"));
    }
    if reader.pickle()? != Value::Int(1001) {
        return Err(reader.error("its version is not 1001"));
    }
    let _machine = reader.pickle()?;
    let Value::Dict(entries) = reader.pickle()? else {
        return Err(reader.error("its object is not a dictionary"));
    };
    let Value::List(keys) = reader.pickle()? else {
        return Err(reader.error("its storage keys are not a list"));
    };
    let floats: HashMap<String, bool> = entries
        .iter()
        .filter_map(|(_, value)| match value {
            Value::Tensor { key, float, .. } => Some((key.clone(), *float)),
            _ => None,
        })
        .collect();
    let mut storages = HashMap::new();
    for key in keys {
        let Value::Text(key) = key else { return Err(reader.error("a storage key is not text")) };
        let float = *floats.get(&key).unwrap_or(&true);
        storages.insert(key, reader.storage(float)?);
    }
    let mut weights = Weights::default();
    for (name, value) in entries {
        let (Value::Text(name), Value::Tensor { key, float: true, offset, shape, stride }) = (name, value)
        else {
            continue;
        };
        let storage = storages.get(&key).ok_or_else(|| reader.error("a tensor's storage is not there"))?;
        let values = gather(storage, offset, &shape, &stride)
            .ok_or_else(|| reader.error(&format!("tensor {name} reaches beyond its storage")))?;
        weights.insert(name, Array { shape, values });
    }
    Ok(weights)
}

/// The values of a strided view, row-major.
fn gather(storage: &[f32], offset: usize, shape: &[usize], stride: &[usize]) -> Option<Vec<f32>> {
    let count = shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n))?;
    if count > storage.len() || shape.len() != stride.len() {
        return None;
    }
    let mut at = vec![0usize; shape.len()];
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        let place =
            at.iter().zip(stride).try_fold(offset, |sum, (&i, &s)| sum.checked_add(i.checked_mul(s)?))?;
        values.push(*storage.get(place)?);
        for axis in (0..shape.len()).rev() {
            at[axis] += 1;
            if at[axis] < shape[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
    Some(values)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, reason: &str) -> TorchError {
        TorchError { reason: reason.to_owned(), at: self.at }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], TorchError> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| self.error("it ends too early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, TorchError> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<usize, TorchError> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")) as usize)
    }

    fn text(&mut self, length: usize) -> Result<Value, TorchError> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| self.error("a text is not UTF-8"))?;
        Ok(Value::Text(text.to_owned()))
    }

    fn line(&mut self) -> Result<String, TorchError> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&b| b == b'\n').ok_or_else(|| self.error("a name has no end"))?;
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.at += 1;
        Ok(line)
    }

    /// Count, then that many values: f32, or i64 that are stepped over.
    fn storage(&mut self, float: bool) -> Result<Vec<f32>, TorchError> {
        let count = u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes"));
        let width = if float { 4 } else { 8 };
        let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(width));
        let raw = self.take(length.ok_or_else(|| self.error("a storage is too long"))?)?;
        let values = raw.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
        Ok(if float { values.collect() } else { Vec::new() })
    }

    /// Runs one pickle to its end.
    fn pickle(&mut self) -> Result<Value, TorchError> {
        let mut machine = Machine { stack: Vec::new(), memo: HashMap::new() };
        for _ in 0..MOST_OBJECTS {
            let code = self.byte()?;
            if code == b'.' {
                return machine.pop(self);
            }
            self.operation(code, &mut machine)?;
        }
        Err(self.error("a pickle has too many operations"))
    }

    fn operation(&mut self, code: u8, machine: &mut Machine) -> Result<(), TorchError> {
        let value = match code {
            0x80 => {
                self.byte()?;
                return Ok(());
            }
            b'q' => {
                let slot = usize::from(self.byte()?);
                return machine.remember(slot, self);
            }
            b'r' => {
                let slot = self.u32()?;
                return machine.remember(slot, self);
            }
            b'h' => {
                let slot = usize::from(self.byte()?);
                machine.recall(slot, self)?
            }
            b'j' => {
                let slot = self.u32()?;
                machine.recall(slot, self)?
            }
            b'N' => Value::None,
            b'(' => Value::Mark,
            b'}' => Value::Dict(Vec::new()),
            b']' => Value::List(Vec::new()),
            b')' => Value::Tuple(Vec::new()),
            0x88 => Value::Int(1),
            0x89 => Value::Int(0),
            b'K' => Value::Int(i64::from(self.byte()?)),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.take(2)?.try_into().expect("two bytes")))),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")))),
            0x8a => {
                let length = usize::from(self.byte()?);
                Value::Bytes(self.take(length)?.to_vec())
            }
            b'X' => {
                let length = self.u32()?;
                self.text(length)?
            }
            0x8c => {
                let length = usize::from(self.byte()?);
                self.text(length)?
            }
            b'c' => Value::Global(format!("{}.{}", self.line()?, self.line()?)),
            b't' => Value::Tuple(machine.since_mark(self)?),
            0x85..=0x87 => {
                let from = machine.stack.len().checked_sub(usize::from(code - 0x84));
                Value::Tuple(machine.stack.split_off(from.ok_or_else(|| self.error("a tuple of nothing"))?))
            }
            b'a' | b'e' => {
                let items = if code == b'a' { vec![machine.pop(self)?] } else { machine.since_mark(self)? };
                let Some(Value::List(list)) = machine.stack.last_mut() else {
                    return Err(self.error("an item outside a list"));
                };
                list.extend(items);
                return Ok(());
            }
            b's' | b'u' => {
                let items = if code == b'u' {
                    machine.since_mark(self)?
                } else {
                    let value = machine.pop(self)?;
                    vec![machine.pop(self)?, value]
                };
                let Some(Value::Dict(dict)) = machine.stack.last_mut() else {
                    return Err(self.error("an entry outside a dictionary"));
                };
                dict.extend(items.as_chunks::<2>().0.iter().map(|[key, value]| (key.clone(), value.clone())));
                return Ok(());
            }
            // Sets attributes (a dictionary's version table): nothing that a tensor needs.
            b'b' => {
                machine.pop(self)?;
                return Ok(());
            }
            b'Q' => {
                let id = machine.pop(self)?;
                storage_of(&id).ok_or_else(|| self.error("a reference that is not a storage"))?
            }
            b'R' => {
                let (arguments, callee) = (machine.pop(self)?, machine.pop(self)?);
                build(&callee, arguments).map_err(|reason| self.error(&reason))?
            }
            other => return Err(self.error(&format!("operation {other:#04x} is not allowed"))),
        };
        machine.stack.push(value);
        Ok(())
    }
}

/// The stack machine of a pickle.
struct Machine {
    stack: Vec<Value>,
    memo: HashMap<usize, Value>,
}

impl Machine {
    fn pop(&mut self, reader: &Reader<'_>) -> Result<Value, TorchError> {
        self.stack.pop().ok_or_else(|| reader.error("an empty stack"))
    }

    fn since_mark(&mut self, reader: &Reader<'_>) -> Result<Vec<Value>, TorchError> {
        let mark = self.stack.iter().rposition(|v| *v == Value::Mark);
        let items = self.stack.split_off(mark.ok_or_else(|| reader.error("no mark on the stack"))? + 1);
        self.stack.pop();
        Ok(items)
    }

    /// Keeps the top for later. Only what later operations refer back to (names, keys, storages) is
    /// copied; growing containers are never read back in a state dictionary.
    fn remember(&mut self, slot: usize, reader: &Reader<'_>) -> Result<(), TorchError> {
        let top = self.stack.last().ok_or_else(|| reader.error("nothing to remember"))?;
        if !matches!(top, Value::Dict(_) | Value::List(_)) {
            self.memo.insert(slot, top.clone());
        }
        Ok(())
    }

    fn recall(&self, slot: usize, reader: &Reader<'_>) -> Result<Value, TorchError> {
        self.memo.get(&slot).cloned().ok_or_else(|| reader.error("a reference to nothing"))
    }
}

/// `('storage', torch.FloatStorage, key, device, count, None)`.
fn storage_of(id: &Value) -> Option<Value> {
    let Value::Tuple(parts) = id else { return None };
    match parts.as_slice() {
        [Value::Text(kind), Value::Global(class), Value::Text(key), ..] if kind == "storage" => {
            let float = match class.as_str() {
                "torch.FloatStorage" => true,
                "torch.LongStorage" => false,
                _ => return None,
            };
            Some(Value::Storage { key: key.clone(), float })
        }
        _ => None,
    }
}

/// The only calls: an ordered dictionary, and a tensor over a storage.
fn build(callee: &Value, arguments: Value) -> Result<Value, String> {
    let (Value::Global(name), Value::Tuple(arguments)) = (callee, arguments) else {
        return Err("a call of something that has no name".to_owned());
    };
    match name.as_str() {
        "collections.OrderedDict" => Ok(Value::Dict(Vec::new())),
        "torch._utils._rebuild_tensor_v2" => {
            let sizes = |value: &Value| match value {
                Value::Tuple(items) => items.iter().map(size).collect::<Option<Vec<usize>>>(),
                _ => None,
            };
            let [Value::Storage { key, float }, offset, shape, stride, ..] = arguments.as_slice() else {
                return Err("a tensor without a storage".to_owned());
            };
            let (Some(offset), Some(shape), Some(stride)) = (size(offset), sizes(shape), sizes(stride))
            else {
                return Err("a tensor without a shape".to_owned());
            };
            Ok(Value::Tensor { key: key.clone(), float: *float, offset, shape, stride })
        }
        "torch._utils._rebuild_parameter" => {
            arguments.into_iter().next().ok_or_else(|| "a parameter without a tensor".to_owned())
        }
        other => Err(format!("a call of {other} is not allowed")),
    }
}

fn size(value: &Value) -> Option<usize> {
    match value {
        Value::Int(int) => usize::try_from(*int).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&[b'X'][..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
    }

    /// A file with one f32 tensor `[2, 2]` named "w", stored transposed, called through `callee`.
    fn file(callee: &str) -> Vec<u8> {
        let mut out = vec![0x80, 2, 0x8a, 10];
        out.extend(MAGIC);
        out.push(b'.');
        out.extend([0x80, 2, b'M', 0xe9, 0x03, b'.']);
        out.extend([0x80, 2, b'}', b'q', 0, b'.']);
        out.extend(b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(");
        out.extend(text("w"));
        out.extend(format!("c{callee}\n((").as_bytes());
        out.extend(text("storage"));
        out.extend(b"ctorch\nFloatStorage\n");
        out.extend(text("7"));
        out.extend(text("cpu"));
        out.extend(b"K\x04NtQ");
        out.extend(b"K\x00K\x02K\x02\x86K\x01K\x02\x86\x89ccollections\nOrderedDict\n)RtRu.");
        out.extend(b"\x80\x02]");
        out.extend(text("7"));
        out.extend(b"a.");
        out.extend(4u64.to_le_bytes());
        [1.0f32, 2.0, 3.0, 4.0].iter().for_each(|v| out.extend(v.to_le_bytes()));
        out
    }

    #[test]
    fn a_strided_tensor_is_read() {
        let weights = read_torch_legacy(&file("torch._utils\n_rebuild_tensor_v2")).unwrap();
        let want = Array { shape: vec![2, 2], values: vec![1.0, 3.0, 2.0, 4.0] };
        assert_eq!(weights.get("w"), Some(&want));
    }

    #[test]
    fn nothing_else_can_be_called() {
        let error = read_torch_legacy(&file("os\nsystem")).unwrap_err().to_string();
        assert!(error.contains("os.system is not allowed"), "{error}");
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_survived() {
        let whole = file("torch._utils\n_rebuild_tensor_v2");
        for cut in 0..whole.len() {
            assert!(read_torch_legacy(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            for flip in [1, 0x40, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                let _ = read_torch_legacy(&damaged);
            }
        }
    }
}
