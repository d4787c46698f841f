//! A column of vectors in Arrow's memory layout, which Arrow and Parquet files share: lists of numbers, all of one
//! length and none missing.

use super::file::Shape;
use super::grid::checked_dim;
use super::source::Source;
use super::writer::PART;
use super::{Element, VectorFileError};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, RecordBatch, make_array};
use arrow_buffer::Buffer;
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, FieldRef, Schema};
use std::io;
use std::sync::Arc;

/// Which column holds the vectors, and what the schema says about it.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) number: usize,
    pub(super) element: Element,
    /// Values a row, where the type states them.
    pub(super) dim: Option<usize>,
}

impl Column {
    /// Column `name`, or the only one of lists of numbers.
    pub(super) fn find(
        source: &Source,
        schema: &Schema,
        name: Option<&str>,
    ) -> Result<Self, VectorFileError> {
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let fields = || schema.fields().iter().enumerate();
        if let Some(name) = name {
            let Some((number, field)) = fields().find(|(_, field)| field.name() == name) else {
                return Err(source.no_part(format!("there is no column {name}"), &names));
            };
            return Self::of(source, number, field)?.ok_or_else(|| {
                let of = short(field.data_type());
                source.unsupported(format!(
                    "column {name} holds {of}; vectors are lists of f16, f32, f64, u8, i8, i32, u32 or i64"
                ))
            });
        }
        let mut found = Vec::new();
        for (number, field) in fields() {
            found.extend(Self::of(source, number, field)?);
        }
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(_), false) => {
                Err(source.no_part("there are several columns of lists of numbers; name one", &names))
            }
            (None, _) => Err(source.no_part("there is no column of lists of numbers", &names)),
        }
    }

    fn of(source: &Source, number: usize, field: &Field) -> Result<Option<Self>, VectorFileError> {
        let (item, dim) = match field.data_type() {
            DataType::FixedSizeList(item, dim) => {
                (item, Some(checked_dim(source, u64::try_from(*dim).unwrap_or(0))?))
            }
            DataType::List(item) | DataType::LargeList(item) => (item, None),
            _ => return Ok(None),
        };
        let name = field.name().clone();
        Ok(element(item.data_type()).map(|element| Self { name, number, element, dim }))
    }

    /// Values a row of `array`, which has rows.
    pub(super) fn dim_of(&self, source: &Source, array: &ArrayRef) -> Result<usize, VectorFileError> {
        if let Some(dim) = self.dim {
            return Ok(dim);
        }
        let len = match array.data_type() {
            DataType::LargeList(_) => array.as_list::<i64>().value_length(0).try_into().unwrap_or(0),
            _ => array.as_list::<i32>().value_length(0).try_into().unwrap_or(0),
        };
        checked_dim(source, len)
    }

    /// The values of `array`, whose first row is row `first` of the file, as stored.
    pub(super) fn bytes(
        &self,
        source: &Source,
        shape: Shape,
        first: usize,
        array: &ArrayRef,
    ) -> Result<Vec<u8>, VectorFileError> {
        let none = |row: usize, what: &str| {
            source.damaged(format!("row {} of column {}: {what}", first + row, self.name))
        };
        if let Some(row) = (0..array.len()).find(|&row| array.is_null(row)) {
            return Err(none(row, "there is no vector; drop such rows"));
        }
        let lengths: Box<dyn Fn(usize) -> u64>;
        let (values, start) = match array.data_type() {
            DataType::FixedSizeList(..) => {
                let list = array.as_fixed_size_list();
                let dim = list.value_length() as u64;
                lengths = Box::new(move |_| dim);
                (list.values(), list.value_offset_at(0))
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                lengths = Box::new(|row| list.value_length(row) as u64);
                (list.values(), list.value_offsets()[0] as usize)
            }
            _ => {
                let list = array.as_list::<i32>();
                lengths = Box::new(|row| list.value_length(row) as u64);
                (list.values(), list.value_offsets()[0] as usize)
            }
        };
        if let Some(row) = (0..array.len()).find(|&row| lengths(row) != shape.dim as u64) {
            let what = format!("a vector of {} values, row 0 has {}", lengths(row), shape.dim);
            return Err(none(row, &what));
        }
        let values = values.slice(start, array.len() * shape.dim);
        if values.logical_null_count() > 0 {
            let at = (0..values.len()).find(|&at| values.is_null(at)).unwrap_or(0);
            return Err(none(at / shape.dim, "a value is missing; drop such rows"));
        }
        let data = values.to_data();
        let size = shape.element.size();
        let place = data.offset() * size;
        let stored = data.buffers()[0].as_slice().get(place..place + values.len() * size);
        Ok(stored.ok_or_else(|| none(0, "its values are cut short"))?.to_vec())
    }
}

/// The kind of value of lists' items.
fn element(of: &DataType) -> Option<Element> {
    Element::ALL.into_iter().find(|&element| data_type(element) == *of)
}

fn data_type(element: Element) -> DataType {
    match element {
        Element::F16 => DataType::Float16,
        Element::F32 => DataType::Float32,
        Element::F64 => DataType::Float64,
        Element::U8 => DataType::UInt8,
        Element::I8 => DataType::Int8,
        Element::I32 => DataType::Int32,
        Element::U32 => DataType::UInt32,
        Element::I64 => DataType::Int64,
    }
}

/// A type's name in messages, without all that may be in it.
fn short(of: &DataType) -> String {
    let name = of.to_string();
    name.chars().take(40).collect()
}

/// The schema of files that are written: one column of lists of a fixed length.
pub(super) fn schema(element: Element, dim: usize) -> Schema {
    let list = DataType::FixedSizeList(item(element), dim as i32);
    Schema::new(vec![Field::new(PART, list, false)])
}

fn item(element: Element) -> FieldRef {
    Arc::new(Field::new("item", data_type(element), false))
}

/// Stored values as a batch of that schema.
pub(super) fn batch(
    schema: &Arc<Schema>,
    element: Element,
    dim: usize,
    rows: &[u8],
) -> io::Result<RecordBatch> {
    let values = ArrayData::builder(data_type(element)).len(rows.len() / element.size());
    let values = make_array(values.add_buffer(Buffer::from(rows)).build().map_err(io::Error::other)?);
    let list =
        FixedSizeListArray::try_new(item(element), dim as i32, values, None).map_err(io::Error::other)?;
    RecordBatch::try_new(schema.clone(), vec![Arc::new(list)]).map_err(io::Error::other)
}
