//! HDF5, read only, as far as data sets of vectors need it; in the layout of ann-benchmarks that is `train`, `test`,
//! `neighbors` and `distances`, with an attribute `distance` of the file.
//!
//! Read: superblocks 0 to 3; groups as symbol tables and as compact links; data sets of two axes with little-endian
//! numbers, stored contiguous, compact or in chunks (indexed by a version 1 B-tree, one chunk, implicitly, or a fixed
//! array), with the filters deflate, shuffle and Fletcher-32. That is all that h5py writes unless told otherwise.
//! The rest is refused with the way out. Metadata checksums are not compared.
//!
//! Our own instead of a crate: the C library is not built for hostile files, and of the few Rust readers none says
//! how much memory a file can make it take. Source: HDF5 File Format Specification, version 3.0.

mod chunks;
mod filters;
mod group;
mod index;
mod object;
mod types;

pub(super) use chunks::Chunks;

use super::VectorFileError;
use super::grid::{Grid, checked_dim};
use super::source::{Fields, Source};
use object::{File, Message, kind};
use types::{Space, Type};

/// The data set that is read when none is named.
const DEFAULT: &str = "train";

/// Most members of a file that are looked at to find the only data set.
const MAX_LOOKED_AT: usize = 1000;

/// A data set, and what the file says about it.
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) distance: Option<String>,
    pub(super) rows: Found,
}

/// How the rows lie.
pub(super) enum Found {
    Grid(Grid),
    Chunks(Chunks),
}

/// Data set `name` (a path through groups), or `train`, or the only one with two axes.
pub(super) fn open(source: &Source, name: Option<&str>) -> Result<Opened, VectorFileError> {
    let file = File::open(source)?;
    let root = file.messages(file.root)?;
    let distance = types::text_attribute(&file, &root, "distance")?;
    let (name, address) = match name {
        Some(name) => (name.to_owned(), group::find(&file, name)?),
        None => default(&file)?,
    };
    let messages = file.messages(address)?;
    let rows = dataset(&file, &messages, &name)?;
    Ok(Opened { name, distance, rows })
}

fn default(file: &File<'_>) -> Result<(String, u64), VectorFileError> {
    let members = group::members(file, file.root)?;
    if let Some(&address) = members.get(DEFAULT) {
        return Ok((DEFAULT.to_owned(), address));
    }
    let mut flat = Vec::new();
    for (name, &address) in members.iter().take(MAX_LOOKED_AT) {
        let messages = file.messages(address)?;
        let space = messages.iter().find(|message| message.kind == kind::SPACE);
        if space.and_then(|space| Space::parse(&space.body)).is_some_and(|space| space.sizes.len() == 2) {
            flat.push((name.clone(), address));
        }
    }
    let names: Vec<String> = members.into_keys().collect();
    match (flat.pop(), flat.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => {
            Err(file.source.no_part("there is no data set train, and several with two axes", &names))
        }
        (None, _) => Err(file.source.no_part("there is no data set train and none with two axes", &names)),
    }
}

/// The one message of a kind.
fn message<'a>(
    file: &File<'_>,
    messages: &'a [Message],
    kind: u16,
    name: &str,
    what: &str,
) -> Result<&'a Message, VectorFileError> {
    let found = messages.iter().find(|message| message.kind == kind);
    let found = found
        .ok_or_else(|| file.source.damaged(format!("{name} has no {what}: it is no data set, or damaged")))?;
    if found.is_shared() {
        let reason = format!("{name} shares its {what} with others (a named type); copy it with h5repack");
        return Err(file.source.unsupported(reason));
    }
    Ok(found)
}

fn dataset(file: &File<'_>, messages: &[Message], name: &str) -> Result<Found, VectorFileError> {
    let source = file.source;
    let space = message(file, messages, kind::SPACE, name, "size")?;
    let space =
        Space::parse(&space.body).ok_or_else(|| source.damaged(format!("the size of {name} is damaged")))?;
    let [rows, dim] = space.sizes[..] else {
        let axes = space.sizes.len();
        return Err(source.unsupported(format!("{name} has {axes} axes; vectors are a data set of 2")));
    };
    let of = message(file, messages, kind::TYPE, name, "type")?;
    let of = Type::parse(&of.body).ok_or_else(|| source.damaged(format!("the type of {name} is damaged")))?;
    let element = of.element().map_err(|why| source.unsupported(format!("{name} holds {why}")))?;
    let layout = message(file, messages, kind::LAYOUT, name, "layout")?;
    let cut = || source.damaged(format!("the layout of {name} is damaged"));
    let mut fields = Fields(&layout.body);
    let (version, class) = (fields.u8().ok_or_else(cut)?, fields.u8().ok_or_else(cut)?);
    if !(3..=5).contains(&version) {
        let reason =
            format!("version {version} of the layout of {name} is not read; write it with h5py's defaults");
        return Err(source.unsupported(reason));
    }
    let whole = |offset, space: u64| {
        let grid = Grid::checked(source, offset, rows, dim, element)?;
        if grid.end() - grid.offset > space {
            return Err(source.damaged(format!("{name} is {rows} x {dim} of {element} in {space} bytes")));
        }
        Ok(Found::Grid(grid))
    };
    match class {
        0 => {
            let size = fields.u16().ok_or_else(cut)?;
            // The values are in the message itself.
            whole(layout.at + (layout.body.len() - fields.0.len()) as u64, size.into())
        }
        1 => {
            let (address, size) = (fields.u64().ok_or_else(cut)?, fields.u64().ok_or_else(cut)?);
            if address == object::NOWHERE {
                if rows == 0 {
                    let dim = checked_dim(source, dim)?;
                    return Ok(Found::Grid(Grid { offset: 0, rows: 0, dim, element, counted: false }));
                }
                return Err(source.damaged(format!("{name} was never written: it has a size and no values")));
            }
            whole(file.place(address).ok_or_else(cut)?, size)
        }
        2 => {
            let filters = messages.iter().find(|message| message.kind == kind::FILTERS);
            let filters =
                filters.map_or(Ok(Vec::new()), |message| filters::parse(source, &message.body, name))?;
            let chunked = chunks::Chunked { name, rows, dim, element, filters, version };
            Ok(Found::Chunks(Chunks::open(file, &chunked, fields)?))
        }
        _ => {
            let reason = format!("{name} lies in other files (a virtual data set); copy it with h5repack");
            Err(source.unsupported(reason))
        }
    }
}
