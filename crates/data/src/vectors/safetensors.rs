//! Safetensors: u64 length of a JSON header, the header (`name -> {dtype, shape, data_offsets}`), then all tensors.

use super::grid::Grid;
use super::source::Source;
use super::{Element, VectorFileError};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Longest header read, bytes; the format's own limit.
const MAX_HEADER: u64 = 100_000_000;

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// Tensor `name`, or the only one with two axes.
pub(super) fn open(source: &Source, name: Option<&str>) -> Result<(Grid, String), VectorFileError> {
    let length = source.take(0, 8, "the head")?;
    let length = u64::from_le_bytes(length.try_into().expect("8 bytes"));
    if length > MAX_HEADER {
        return Err(source.damaged(format!("a header of {length} bytes; the most is {MAX_HEADER}")));
    }
    let start = 8 + length;
    let tensors = tensors(source, &source.take(8, length, "the header")?)?;
    let end = start.saturating_add(tensors.values().map(|tensor| tensor.data_offsets.1).max().unwrap_or(0));
    source.require(0, end, "the last tensor")?;
    if end != source.len() {
        return Err(source.damaged(format!("{} bytes follow the last tensor", source.len() - end)));
    }
    let name = choose(source, &tensors, name)?;
    let Tensor { dtype, shape, data_offsets: (from, to) } = &tensors[&name];
    let element = match dtype.as_str() {
        "F16" => Element::F16,
        "F32" => Element::F32,
        "F64" => Element::F64,
        "U8" => Element::U8,
        "I8" => Element::I8,
        "I32" => Element::I32,
        "U32" => Element::U32,
        "I64" => Element::I64,
        _ => return Err(source.unsupported(format!("tensor {name} has values of {dtype}; store it as F32"))),
    };
    let [rows, dim] = shape[..] else {
        let reason = format!("tensor {name} has {} axes; vectors are a tensor of 2", shape.len());
        return Err(source.unsupported(reason));
    };
    let wrong = || {
        source.damaged(format!("tensor {name} lies at {from}..{to}, which is not {rows} x {dim} of {dtype}"))
    };
    let offset = start.checked_add(*from).ok_or_else(wrong)?;
    let grid = Grid::checked(source, offset, rows, dim, element)?;
    if start.checked_add(*to) != Some(grid.end()) {
        return Err(wrong());
    }
    Ok((grid, name))
}

fn tensors(source: &Source, header: &[u8]) -> Result<BTreeMap<String, Tensor>, VectorFileError> {
    let wrong = |error: serde_json::Error| source.damaged(format!("the header: {error}"));
    // Texts of values, which may be metadata of any shape: parsed they would take many times the header's bytes.
    let all: BTreeMap<String, &RawValue> = serde_json::from_slice(header).map_err(wrong)?;
    let tensors = all.into_iter().filter(|(name, _)| name != "__metadata__");
    tensors.map(|(name, value)| Ok((name, serde_json::from_str(value.get()).map_err(wrong)?))).collect()
}

fn choose(
    source: &Source,
    tensors: &BTreeMap<String, Tensor>,
    name: Option<&str>,
) -> Result<String, VectorFileError> {
    let names: Vec<String> = tensors.keys().cloned().collect();
    if let Some(name) = name {
        if tensors.contains_key(name) {
            return Ok(name.to_owned());
        }
        return Err(source.no_part(format!("there is no tensor {name}"), &names));
    }
    let mut flat = tensors.iter().filter(|(_, tensor)| tensor.shape.len() == 2);
    match (flat.next(), flat.next()) {
        (Some((name, _)), None) => Ok(name.clone()),
        (None, _) => Err(source.no_part("there is no tensor with two axes", &names)),
        _ => Err(source.no_part("there are several tensors with two axes; name one", &names)),
    }
}

/// A head for one tensor, padded with spaces so that it has the same length for every number of rows.
pub(super) fn head(name: &str, element: Element, rows: u64, dim: usize) -> Vec<u8> {
    let dtype = element.name().to_uppercase();
    // 20 digits hold any u64: the header is measured with the longest and filled up with spaces.
    let text = |rows: u64, bytes: u64| {
        let tensor = serde_json::json!({"dtype": dtype, "shape": [rows, dim], "data_offsets": [0, bytes]});
        serde_json::json!({ name: tensor }).to_string()
    };
    let longest = text(u64::MAX, u64::MAX).len().next_multiple_of(8);
    let mut header = text(rows, rows.saturating_mul((dim * element.size()) as u64)).into_bytes();
    header.resize(longest, b' ');
    let mut head = (longest as u64).to_le_bytes().to_vec();
    head.extend(header);
    head
}
