//! Thumbnails of the map, many to a file: a map of thousands of pictures takes a few requests.

use crate::ask::{self, Id, Pairs};
use crate::picture::{self, is_current};
use crate::problem::Problem;
use crate::state::State;
use axum::extract::State as Shared;
use axum::http::HeaderMap;
use axum::response::Response;
use data::{Filter, decode, resize};
use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use rayon::prelude::*;
use std::sync::Arc;

/// Side of a thumbnail, pixels.
pub(crate) const CELL: usize = 48;
/// Thumbnails a row and rows of a sheet.
pub(crate) const CELLS: usize = 16;

/// `GET /sheet/{n}`: places `256 n` to `256 n + 255` of the map, row by row, each as large as fits its cell.
/// The cell of a picture that cannot be read stays white.
pub(crate) async fn sheet(
    Shared(state): Shared<Arc<State>>,
    id: Id,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let sheets = state.app.map.len().div_ceil(CELLS * CELLS);
    let number = ask::number_below(id, sheets, |id| Problem::NoSuchSheet { id, sheets })?;
    let current = is_current(&state, pairs);
    let file = state.work(move |state| draw(state, number)).await?;
    Ok(picture::answer(file, current, &headers))
}

fn draw(state: &State, number: usize) -> Result<Vec<u8>, Problem> {
    let places = state.app.map.chunks(CELLS * CELLS).nth(number).unwrap_or_default();
    let cells: Vec<Option<data::Image>> =
        places.par_iter().map(|&(row, _)| shrink(state, row as usize)).collect();
    let side = CELL * CELLS;
    let mut pixels = vec![255; side * side * 3];
    for (place, cell) in cells.iter().enumerate().filter_map(|(place, cell)| Some((place, cell.as_ref()?))) {
        let (width, height) = (cell.width as usize, cell.height as usize);
        let left = place % CELLS * CELL + (CELL - width) / 2;
        let top = place / CELLS * CELL + (CELL - height) / 2;
        for (line, row) in cell.pixels.chunks_exact(width * 3).enumerate() {
            let start = ((top + line) * side + left) * 3;
            pixels[start..start + row.len()].copy_from_slice(row);
        }
    }
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, 80)
        .encode(&pixels, side as u32, side as u32, ExtendedColorType::Rgb8)
        .map_err(|_| Problem::Internal)?;
    Ok(file)
}

fn shrink(state: &State, row: usize) -> Option<data::Image> {
    let bytes = state.bytes(row).ok()?;
    let image = decode(&bytes, [255; 3], &state.app.bounds.picture).ok()?;
    let (width, height) = picture::within(&image, CELL as u32);
    Some(resize(&image, width, height, Filter::Bilinear))
}
