//! The arrays in which a trained code is saved.

use std::collections::BTreeMap;
use thiserror::Error;

/// A named array, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its name within the code.
    pub name: String,
    /// Lengths of its axes.
    pub shape: Vec<usize>,
    /// Its values, as many as the shape says.
    pub values: Values,
}

/// The values of an [`Array`].
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// Bytes.
    U8(Vec<u8>),
    /// 32-bit whole numbers.
    U32(Vec<u32>),
}

impl Array {
    /// An array of floats.
    ///
    /// # Panics
    /// When the shape holds another number of values.
    #[must_use]
    pub fn f32(name: &str, shape: &[usize], values: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}: shape {shape:?}");
        Self { name: name.into(), shape: shape.to_vec(), values: Values::F32(values) }
    }

    /// An array of bytes.
    ///
    /// # Panics
    /// When the shape holds another number of values.
    #[must_use]
    pub fn u8(name: &str, shape: &[usize], values: Vec<u8>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}: shape {shape:?}");
        Self { name: name.into(), shape: shape.to_vec(), values: Values::U8(values) }
    }

    /// An array of whole numbers.
    ///
    /// # Panics
    /// When the shape holds another number of values.
    #[must_use]
    pub fn u32(name: &str, shape: &[usize], values: Vec<u32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}: shape {shape:?}");
        Self { name: name.into(), shape: shape.to_vec(), values: Values::U32(values) }
    }
}

/// Arrays to be taken by name.
#[derive(Clone, Debug, Default)]
pub struct Arrays(BTreeMap<String, Array>);

/// Why saved arrays are not the code that their spec names.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RestoreError {
    /// An array is not there.
    #[error("array {0} is missing")]
    Missing(String),
    /// An array has another shape or type.
    #[error("array {name} is {got}, the spec wants {want}")]
    Shape {
        /// Its name.
        name: String,
        /// What it is.
        got: String,
        /// What it should be.
        want: String,
    },
    /// A value cannot be.
    #[error("array {name}: {why}")]
    Value {
        /// The array's name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

impl FromIterator<Array> for Arrays {
    fn from_iter<I: IntoIterator<Item = Array>>(arrays: I) -> Self {
        Self(arrays.into_iter().map(|array| (array.name.clone(), array)).collect())
    }
}

impl Arrays {
    /// Those whose name starts with `prefix`, by the rest of their names.
    #[must_use]
    pub fn split_off(&mut self, prefix: &str) -> Self {
        let names: Vec<String> = self.0.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        let taken = names.into_iter().filter_map(|name| self.0.remove(&name));
        taken.map(|array| Array { name: array.name[prefix.len()..].into(), ..array }).collect()
    }

    /// The floats called `name`, all finite, of this shape.
    ///
    /// # Errors
    /// When they are not.
    pub fn f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, RestoreError> {
        let Values::F32(values) = self.take(name, shape, "f32", |v| matches!(v, Values::F32(_)))? else {
            return Err(RestoreError::Missing(name.into()));
        };
        if values.iter().all(|v| v.is_finite()) {
            return Ok(values);
        }
        Err(RestoreError::Value { name: name.into(), why: "holds a value that is not finite".into() })
    }

    /// The bytes called `name`, of this shape.
    ///
    /// # Errors
    /// When they are not.
    pub fn u8(&mut self, name: &str, shape: &[usize]) -> Result<Vec<u8>, RestoreError> {
        let Values::U8(values) = self.take(name, shape, "u8", |v| matches!(v, Values::U8(_)))? else {
            return Err(RestoreError::Missing(name.into()));
        };
        Ok(values)
    }

    /// The whole numbers called `name`, of this shape.
    ///
    /// # Errors
    /// When they are not.
    pub fn u32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<u32>, RestoreError> {
        let Values::U32(values) = self.take(name, shape, "u32", |v| matches!(v, Values::U32(_)))? else {
            return Err(RestoreError::Missing(name.into()));
        };
        Ok(values)
    }

    /// The shape of the array called `name`, where its code fixes only some of it.
    ///
    /// # Errors
    /// When there is no such array.
    pub fn shape(&self, name: &str) -> Result<&[usize], RestoreError> {
        self.0.get(name).map(|array| array.shape.as_slice()).ok_or_else(|| RestoreError::Missing(name.into()))
    }

    fn take(
        &mut self,
        name: &str,
        shape: &[usize],
        kind: &str,
        is_kind: impl Fn(&Values) -> bool,
    ) -> Result<Values, RestoreError> {
        let array = self.0.remove(name).ok_or_else(|| RestoreError::Missing(name.into()))?;
        if array.shape == shape && is_kind(&array.values) {
            return Ok(array.values);
        }
        let got = match array.values {
            Values::F32(_) => "f32",
            Values::U8(_) => "u8",
            Values::U32(_) => "u32",
        };
        Err(RestoreError::Shape {
            name: name.into(),
            got: format!("{got} {:?}", array.shape),
            want: format!("{kind} {shape:?}"),
        })
    }
}
