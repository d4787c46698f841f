//! Stored pictures: as they are, and small.

use crate::ask::{self, Id, Pairs};
use crate::problem::Problem;
use crate::state::State;
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data::{Filter, decode, resize};
use image::{ExtendedColorType, ImageFormat, codecs::jpeg::JpegEncoder};
use std::sync::Arc;

/// Longer side of a small picture, pixels.
const SIDE: u32 = 256;
/// Files up to this many bytes are their own small picture.
const SMALL: usize = 24 << 10;

/// `GET /picture/{id}`: the file as it is stored.
pub(crate) async fn picture(
    Shared(state): Shared<Arc<State>>,
    id: Id,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let row = ask::row(&state, id)?;
    let current = is_current(&state, pairs);
    let bytes = state.work(move |state| state.bytes(row)).await?;
    Ok(answer(bytes, current, &headers))
}

/// `GET /thumb/{id}`: at most 256 pixels a side, or the file itself where that is small.
pub(crate) async fn thumb(
    Shared(state): Shared<Arc<State>>,
    id: Id,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let row = ask::row(&state, id)?;
    let current = is_current(&state, pairs);
    let bytes = state.work(move |state| small(state, row)).await?;
    Ok(answer(bytes, current, &headers))
}

/// Width and height of a picture whose longer side is `side` pixels.
pub(crate) fn within(picture: &data::Image, side: u32) -> (u32, u32) {
    let longer = u64::from(picture.width.max(picture.height));
    // At most `side`, so it fits.
    let scaled = |length: u32| ((u64::from(length) * u64::from(side) / longer) as u32).max(1);
    (scaled(picture.width), scaled(picture.height))
}

/// Whether the address names the rows as they are, by `v`, the version from `/api/info`: then the answer may
/// be kept for good.
pub(crate) fn is_current(state: &State, pairs: Pairs) -> bool {
    pairs.is_ok_and(|Query(pairs)| pairs.iter().any(|(key, value)| key == "v" && *value == state.version))
}

fn small(state: &State, row: usize) -> Result<Vec<u8>, Problem> {
    let bytes = state.bytes(row)?;
    if bytes.len() <= SMALL {
        return Ok(bytes);
    }
    let unreadable = |why: String| Problem::StoredPicture { id: row, why };
    // White as on paper, whatever the model lays under transparent pixels.
    let picture =
        decode(&bytes, [255; 3], &state.app.bounds.picture).map_err(|err| unreadable(err.to_string()))?;
    if picture.width.max(picture.height) <= SIDE {
        return Ok(bytes);
    }
    let (width, height) = within(&picture, SIDE);
    let picture = resize(&picture, width, height, Filter::Bilinear);
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, 85)
        .encode(&picture.pixels, picture.width, picture.height, ExtendedColorType::Rgb8)
        .map_err(|err| unreadable(err.to_string()))?;
    Ok(file)
}

pub(crate) fn answer(bytes: Vec<u8>, current: bool, asked: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", &blake3::hash(&bytes).to_hex()[..32]);
    let keep = if current { "private, max-age=31536000, immutable" } else { "private, no-cache" };
    let kept = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type(&bytes))),
        (header::CACHE_CONTROL, HeaderValue::from_static(keep)),
        (header::ETAG, HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""))),
    ];
    if kept { (StatusCode::NOT_MODIFIED, headers).into_response() } else { (headers, bytes).into_response() }
}

/// The type that the first bytes tell; a browser shows nothing of any other type.
fn media_type(bytes: &[u8]) -> &'static str {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => "image/png",
        Ok(ImageFormat::Jpeg) => "image/jpeg",
        Ok(ImageFormat::WebP) => "image/webp",
        Ok(ImageFormat::Gif) => "image/gif",
        Ok(ImageFormat::Bmp) => "image/bmp",
        _ => "application/octet-stream",
    }
}
