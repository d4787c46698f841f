//! Which formats there are, told apart by the end of a file's name.

use super::Element;
use std::path::Path;

/// A format of vector files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `.fvecs`: records of f32.
    Fvecs,
    /// `.ivecs`: records of i32.
    Ivecs,
    /// `.bvecs`: records of u8.
    Bvecs,
    /// `.fbin`: a head and f32.
    Fbin,
    /// `.u8bin`: a head and u8.
    U8bin,
    /// `.i8bin`: a head and i8.
    I8bin,
    /// `.ibin`: a head and i32.
    Ibin,
    /// `.npy`: NumPy's.
    Npy,
    /// `.hdf5`, `.h5`: read only.
    Hdf5,
    /// `.safetensors`.
    Safetensors,
    /// `.parquet`.
    Parquet,
    /// `.arrow`, `.feather`: Arrow IPC.
    Arrow,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 12] = [
        Self::Fvecs,
        Self::Ivecs,
        Self::Bvecs,
        Self::Fbin,
        Self::U8bin,
        Self::I8bin,
        Self::Ibin,
        Self::Npy,
        Self::Hdf5,
        Self::Safetensors,
        Self::Parquet,
        Self::Arrow,
    ];

    /// All names, for messages.
    pub(super) const LIST: &str = ".fvecs, .ivecs, .bvecs, .fbin, .u8bin, .i8bin, .ibin, .npy, .hdf5, .safetensors, .parquet and .arrow";

    /// Its name: the end of its files' names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fvecs => "fvecs",
            Self::Ivecs => "ivecs",
            Self::Bvecs => "bvecs",
            Self::Fbin => "fbin",
            Self::U8bin => "u8bin",
            Self::I8bin => "i8bin",
            Self::Ibin => "ibin",
            Self::Npy => "npy",
            Self::Hdf5 => "hdf5",
            Self::Safetensors => "safetensors",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }

    /// The format of a file of this name. A `.crop_nb_N` that the big-ann benchmarks append is looked through.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.split_once(".crop_nb_").map_or(name.as_str(), |(name, _)| name);
        name.rsplit_once('.')?.1.parse().ok()
    }

    /// The one kind of value it stores; `None` when a file states its own.
    #[must_use]
    pub fn element(self) -> Option<Element> {
        match self {
            Self::Fvecs | Self::Fbin => Some(Element::F32),
            Self::Ivecs | Self::Ibin => Some(Element::I32),
            Self::Bvecs | Self::U8bin => Some(Element::U8),
            Self::I8bin => Some(Element::I8),
            Self::Npy | Self::Hdf5 | Self::Safetensors | Self::Parquet | Self::Arrow => None,
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Format {
    type Err = FormatNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "h5" => Ok(Self::Hdf5),
            "feather" => Ok(Self::Arrow),
            _ => Self::ALL
                .into_iter()
                .find(|format| format.name() == text)
                .ok_or_else(|| FormatNameError(text.into())),
        }
    }
}

/// A word that names no [`Format`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no format of vectors; there are {list}", list = Format::LIST)]
pub struct FormatNameError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_in_their_format() {
        for format in Format::ALL {
            assert_eq!(Format::of(Path::new(&format!("a.b/c.{format}"))), Some(format));
            assert!(Format::LIST.contains(format.name()));
        }
        assert_eq!(Format::of(Path::new("base.1B.u8bin.crop_nb_10000000")), Some(Format::U8bin));
        assert_eq!(Format::of(Path::new("A.NPY")), Some(Format::Npy));
        assert_eq!(Format::of(Path::new("x.h5")), Some(Format::Hdf5));
        assert_eq!((Format::of(Path::new("npy")), Format::of(Path::new("x.bin"))), (None, None));
    }
}
