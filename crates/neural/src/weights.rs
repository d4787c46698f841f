//! Named f32 arrays: the parameters of a network, outside of any graph, and their safetensors form.

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use std::collections::{BTreeMap, HashMap};
use thiserror::Error;

/// One array, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes of its axes.
    pub shape: Vec<usize>,
    /// `shape.product()` values.
    pub values: Vec<f32>,
}

impl Array {
    /// An array of one axis.
    #[must_use]
    pub fn flat(values: Vec<f32>) -> Self {
        Self { shape: vec![values.len()], values }
    }
}

/// Parameters by name, in name order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights(BTreeMap<String, Array>);

/// Why weights could not be read or do not fit.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// Not a safetensors file.
    #[error("not a safetensors file: {0}")]
    Format(#[from] SafeTensorError),
    /// A stored type that is not read.
    #[error("array {name} holds {dtype:?}; F32 and F16 are read")]
    Dtype {
        /// Array.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
    /// An array that the network needs is not there.
    #[error("the weights lack {count} arrays that {architecture} needs, first {name}")]
    Missing {
        /// Network.
        architecture: String,
        /// First missing array.
        name: String,
        /// How many are missing.
        count: usize,
    },
    /// An array has another shape.
    #[error("array {name} is {got:?} where {architecture} needs {want:?}")]
    Shape {
        /// Network.
        architecture: String,
        /// Array.
        name: String,
        /// Needed.
        want: Vec<usize>,
        /// Found.
        got: Vec<usize>,
    },
    /// A value is not a number.
    #[error("array {name} holds a value that is not finite; the file is damaged")]
    NotFinite {
        /// Array.
        name: String,
    },
}

/// How values are stored in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Every array as f32.
    Full,
    /// Arrays of more than one axis as f16, the others (scales, biases) as f32.
    Half,
}

impl Weights {
    /// Adds or replaces an array.
    pub fn insert(&mut self, name: impl Into<String>, array: Array) {
        assert_eq!(array.shape.iter().product::<usize>(), array.values.len(), "shape of an array");
        self.0.insert(name.into(), array);
    }

    /// An array, if there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.0.get(name)
    }

    /// An array to change, if there.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Array> {
        self.0.get_mut(name)
    }

    /// All arrays by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.0.iter().map(|(name, array)| (name.as_str(), array))
    }

    /// All arrays by name, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Array)> {
        self.0.iter_mut().map(|(name, array)| (name.as_str(), array))
    }

    /// Number of values in all arrays.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.0.values().map(|array| array.values.len()).sum()
    }

    /// Adds every array of `other` under `prefix`.
    pub fn extend(&mut self, prefix: &str, other: &Self) {
        self.0.extend(other.0.iter().map(|(name, array)| (format!("{prefix}{name}"), array.clone())));
    }

    /// The arrays whose names start with `prefix`, without it.
    #[must_use]
    pub fn under(&self, prefix: &str) -> Self {
        let named = |(name, array): (&String, &Array)| {
            name.strip_prefix(prefix).map(|name| (name.to_owned(), array.clone()))
        };
        Self(self.0.iter().filter_map(named).collect())
    }

    /// Checks that every `(name, shape)` that `architecture` needs is there and finite.
    ///
    /// # Errors
    /// Names the first array that is missing, misshapen or not finite.
    pub fn expect(&self, architecture: &str, needs: &[(String, Vec<usize>)]) -> Result<(), WeightsError> {
        let missing: Vec<&String> =
            needs.iter().map(|(name, _)| name).filter(|n| !self.0.contains_key(*n)).collect();
        if let Some(name) = missing.first() {
            let (architecture, name) = (architecture.to_owned(), (*name).clone());
            return Err(WeightsError::Missing { architecture, name, count: missing.len() });
        }
        for (name, want) in needs {
            let array = &self.0[name];
            if &array.shape != want {
                let (want, got) = (want.clone(), array.shape.clone());
                return Err(WeightsError::Shape {
                    architecture: architecture.to_owned(),
                    name: name.clone(),
                    want,
                    got,
                });
            }
            if array.values.iter().any(|v| !v.is_finite()) {
                return Err(WeightsError::NotFinite { name: name.clone() });
            }
        }
        Ok(())
    }

    /// Reads a safetensors buffer and its metadata.
    ///
    /// # Errors
    /// When the buffer is not safetensors or holds a type other than F32 and F16.
    pub fn from_safetensors(bytes: &[u8]) -> Result<(Self, HashMap<String, String>), WeightsError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let mut weights = Self::default();
        for (name, view) in SafeTensors::deserialize(bytes)?.tensors() {
            let values = match view.dtype() {
                Dtype::F32 => view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
                Dtype::F16 => {
                    view.data().as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect()
                }
                dtype => return Err(WeightsError::Dtype { name, dtype }),
            };
            weights.insert(name, Array { shape: view.shape().to_vec(), values });
        }
        Ok((weights, metadata))
    }

    /// The safetensors form; equal weights and metadata give equal bytes.
    ///
    /// # Errors
    /// When the header would exceed the format's limit.
    pub fn to_safetensors(
        &self,
        precision: Precision,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Vec<u8>, WeightsError> {
        let stored: Vec<(&str, Dtype, &[usize], Vec<u8>)> = self
            .iter()
            .map(|(name, array)| {
                let half = precision == Precision::Half && array.shape.len() > 1;
                let (dtype, bytes) = if half {
                    let half = |&v: &f32| half::f16::from_f32(v).to_le_bytes();
                    (Dtype::F16, array.values.iter().flat_map(half).collect())
                } else {
                    (Dtype::F32, array.values.iter().flat_map(|v| v.to_le_bytes()).collect())
                };
                (name, dtype, array.shape.as_slice(), bytes)
            })
            .collect();
        let views = stored
            .iter()
            .map(|(name, dtype, shape, bytes)| Ok((*name, TensorView::new(*dtype, shape.to_vec(), bytes)?)))
            .collect::<Result<Vec<_>, SafeTensorError>>()?;
        let bytes = safetensors::serialize(views, None)?;
        Ok(with_metadata(&bytes, metadata))
    }

    /// Puts the arrays on `device` as leaves of a graph; those that `trainable` names carry gradients.
    #[must_use]
    pub fn bind(&self, device: &Device, trainable: impl Fn(&str) -> bool) -> Bound {
        let tensor = |(name, array): (&String, &Array)| {
            let data = TensorData::new(array.values.clone(), [array.values.len()]);
            let leaf = Tensor::<1>::from_data(data, device);
            (name.clone(), if trainable(name) { leaf.require_grad() } else { leaf })
        };
        Bound(self.0.iter().map(tensor).collect())
    }
}

/// Rewrites the header of a safetensors buffer with sorted metadata: the library keeps metadata in a
/// hash map, whose order would make equal models differ in their bytes.
fn with_metadata(bytes: &[u8], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let (length, rest) = bytes.split_at(8);
    let length = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
    let (header, data) = rest.split_at(length);
    let header = std::str::from_utf8(header).expect("a header just written").trim_end();
    let metadata = serde_json::to_string(metadata).expect("a map of strings");
    let separator = if header.len() > 2 { "," } else { "" };
    let mut header = format!("{{\"__metadata__\":{metadata}{separator}{}", &header[1..]);
    while !(8 + header.len()).is_multiple_of(8) {
        header.push(' ');
    }
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(data);
    out
}

/// Weights on a device, each a flat leaf.
#[derive(Debug)]
pub struct Bound(HashMap<String, Tensor<1>>);

impl Bound {
    /// A parameter, flat.
    ///
    /// # Panics
    /// When it is not there: [`Weights::expect`] comes first.
    #[must_use]
    pub fn flat(&self, name: &str) -> Tensor<1> {
        self.0.get(name).unwrap_or_else(|| panic!("array {name} is not bound")).clone()
    }

    /// A parameter as a matrix.
    ///
    /// # Panics
    /// When it is not there or does not hold `rows * cols` values.
    #[must_use]
    pub fn matrix(&self, name: &str, rows: usize, cols: usize) -> Tensor<2> {
        self.flat(name).reshape([rows, cols])
    }

    /// All leaves.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor<1>)> {
        self.0.iter().map(|(name, leaf)| (name.as_str(), leaf))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Weights {
        let mut weights = Weights::default();
        weights.insert("a.weight", Array { shape: vec![2, 2], values: vec![1.0, -2.5, 0.125, 3.0] });
        weights.insert("a.bias", Array::flat(vec![0.1, 0.2]));
        weights
    }

    #[test]
    fn survives_the_file_with_sorted_metadata() {
        let metadata: BTreeMap<String, String> =
            (0..20).map(|i| (format!("key{i}"), format!("value \"{i}\""))).collect();
        for precision in [Precision::Full, Precision::Half] {
            let bytes = sample().to_safetensors(precision, &metadata).unwrap();
            assert_eq!(bytes, sample().to_safetensors(precision, &metadata).unwrap());
            let (weights, read) = Weights::from_safetensors(&bytes).unwrap();
            assert_eq!(weights, sample());
            assert_eq!(read.into_iter().collect::<BTreeMap<_, _>>(), metadata);
        }
        let bytes = Weights::default().to_safetensors(Precision::Full, &metadata).unwrap();
        assert_eq!(Weights::from_safetensors(&bytes).unwrap().0, Weights::default());
    }

    #[test]
    fn names_what_does_not_fit() {
        let needs =
            |shape: &[usize]| vec![("a.weight".to_owned(), shape.to_vec()), ("b".to_owned(), vec![1])];
        let error = sample().expect("net", &needs(&[2, 2])).unwrap_err().to_string();
        assert_eq!(error, "the weights lack 1 arrays that net needs, first b");
        let error = sample().expect("net", &needs(&[4])[..1]).unwrap_err().to_string();
        assert_eq!(error, "array a.weight is [2, 2] where net needs [4]");
        let mut damaged = sample();
        damaged.get_mut("a.weight").unwrap().values[1] = f32::NAN;
        assert!(damaged.expect("net", &needs(&[2, 2])[..1]).is_err());
    }

    #[test]
    fn hostile_bytes_are_errors() {
        let bytes = sample().to_safetensors(Precision::Full, &BTreeMap::new()).unwrap();
        for cut in 0..bytes.len() {
            assert!(Weights::from_safetensors(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut huge = bytes;
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Weights::from_safetensors(&huge).is_err());
    }
}
