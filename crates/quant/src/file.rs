//! A trained code as a safetensors file: the arrays, and the spec and dimension in the metadata.
//!
//! Both are in one value, as JSON: the order in which a safetensors file lists several is random, and the same code
//! must be the same bytes.

use crate::{Array, Arrays, Codec, ParseSpecError, RestoreError, Spec, Values};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Metadata key; its value is `{"spec": .., "dim": ..}`.
const HEAD: &str = "deepembed.code";
/// The largest file that is read: codebooks are megabytes.
const MAX_BYTES: u64 = 1 << 32;
/// The longest vectors, as in the index file.
const MAX_DIM: usize = 1 << 16;

/// Why a code was not written.
#[derive(Debug, Error)]
pub enum SaveError {
    /// The arrays do not make a file.
    #[error("{path}: {why}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the writer said.
        why: String,
    },
}

/// Why a file is no trained code.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no code of this program.
    #[error("{path}: {why}; write it with `deepembed codes train`", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Its spec is not understood.
    #[error("{path}: {source}", path = path.display())]
    Spec {
        /// The file.
        path: PathBuf,
        /// What is wrong with the spec.
        source: ParseSpecError,
    },
    /// Its arrays are not those of its spec.
    #[error("{path}: {source}", path = path.display())]
    Restore {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        source: RestoreError,
    },
}

/// Writes a trained code, all or nothing.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, spec: &Spec, codec: &dyn Codec) -> Result<(), SaveError> {
    let failed = |why: String| SaveError::Write { path: path.into(), why };
    let file = to_bytes(spec, codec).map_err(failed)?;
    data::write_atomic(path, |out| out.write_all(&file)).map_err(|err| failed(err.to_string()))
}

/// The bytes of a file that holds a trained code.
///
/// # Errors
/// When the arrays do not make a file, with what the writer said.
pub fn to_bytes(spec: &Spec, codec: &dyn Codec) -> Result<Vec<u8>, String> {
    let arrays: Vec<(Array, Vec<u8>)> =
        codec.arrays().into_iter().map(|array| (array.clone(), bytes(&array.values))).collect();
    let mut views = Vec::with_capacity(arrays.len());
    for (array, bytes) in &arrays {
        let kind = match array.values {
            Values::F32(_) => Dtype::F32,
            Values::U8(_) => Dtype::U8,
            Values::U32(_) => Dtype::U32,
        };
        let view = TensorView::new(kind, array.shape.clone(), bytes).map_err(|err| err.to_string())?;
        views.push((array.name.as_str(), view));
    }
    let head = json!({"spec": spec.to_string(), "dim": codec.dim()});
    let metadata = HashMap::from([(HEAD.to_owned(), head.to_string())]);
    safetensors::serialize(views, Some(metadata)).map_err(|err| err.to_string())
}

/// Reads what [`save`] wrote.
///
/// # Errors
/// When the file cannot be read, is another kind of file, or its parts contradict each other.
pub fn load(path: &Path) -> Result<(Spec, Box<dyn Codec>), LoadError> {
    let read = |source| LoadError::Read { path: path.into(), source };
    let size = std::fs::metadata(path).map_err(read)?.len();
    if size > MAX_BYTES {
        return Err(LoadError::Foreign {
            path: path.into(),
            why: format!("{size} bytes are too many for a code"),
        });
    }
    from_bytes(path, &std::fs::read(path).map_err(read)?)
}

/// Reads what [`to_bytes`] gave; `path` names the file they come from in errors.
///
/// # Errors
/// When the bytes are no code, or their parts contradict each other.
pub fn from_bytes(path: &Path, file: &[u8]) -> Result<(Spec, Box<dyn Codec>), LoadError> {
    let foreign = |why: String| LoadError::Foreign { path: path.into(), why };
    let (_, head) = SafeTensors::read_metadata(file).map_err(|err| foreign(err.to_string()))?;
    let metadata = head.metadata().clone().unwrap_or_default();
    let head = metadata.get(HEAD).ok_or_else(|| foreign(format!("{HEAD} is missing")))?;
    let head: Value = serde_json::from_str(head).map_err(|err| foreign(format!("{HEAD}: {err}")))?;
    let spec = head["spec"].as_str().ok_or_else(|| foreign(format!("{HEAD} has no spec")))?;
    let dim = head["dim"].as_u64().map(|dim| dim as usize).filter(|dim| (1..=MAX_DIM).contains(dim));
    let dim = dim.ok_or_else(|| foreign(format!("{HEAD} has no dimension")))?;
    let spec: Spec = spec.parse().map_err(|source| LoadError::Spec { path: path.into(), source })?;
    let tensors = SafeTensors::deserialize(file).map_err(|err| foreign(err.to_string()))?;
    let mut arrays = Vec::new();
    for (name, view) in tensors.iter() {
        arrays
            .push(array(name, &view).ok_or_else(|| foreign(format!("array {name} is {:?}", view.dtype())))?);
    }
    let codec = spec
        .restore(dim, &mut arrays.into_iter().collect::<Arrays>())
        .map_err(|source| LoadError::Restore { path: path.into(), source })?;
    Ok((spec, codec))
}

fn bytes(values: &Values) -> Vec<u8> {
    match values {
        Values::F32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Values::U8(values) => values.clone(),
        Values::U32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}

fn array(name: &str, view: &TensorView<'_>) -> Option<Array> {
    let words = || view.data().as_chunks().0.iter();
    let values = match view.dtype() {
        Dtype::F32 => Values::F32(words().map(|word| f32::from_le_bytes(*word)).collect()),
        Dtype::U32 => Values::U32(words().map(|word| u32::from_le_bytes(*word)).collect()),
        Dtype::U8 => Values::U8(view.data().to_vec()),
        _ => return None,
    };
    Some(Array { name: name.into(), shape: view.shape().to_vec(), values })
}
