//! What the page is made of, and what it is told once.

use crate::ask::Id;
use crate::problem::Problem;
use crate::state::State;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

const PAGE: &str = include_str!("page/index.html");

/// Files that the page loads: name, type, text.
const FILES: [(&str, &str, &str); 6] = [
    ("style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("theme.js", "text/javascript; charset=utf-8", include_str!("page/theme.js")),
    ("app.js", "text/javascript; charset=utf-8", include_str!("page/app.js")),
    ("cards.js", "text/javascript; charset=utf-8", include_str!("page/cards.js")),
    ("draw.js", "text/javascript; charset=utf-8", include_str!("page/draw.js")),
    ("map.js", "text/javascript; charset=utf-8", include_str!("page/map.js")),
];

/// The report brings its own styles, script and pictures. The sandbox gives it an origin of its own, so
/// that it can ask nothing of this server.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
     img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts";

/// `GET /`.
pub(crate) async fn page(headers: HeaderMap) -> Response {
    fixed("text/html; charset=utf-8", Bytes::from_static(PAGE.as_bytes()), &headers)
}

/// `GET /page/{file}`.
pub(crate) async fn file(name: Id, headers: HeaderMap) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|err| Problem::NoRoute(err.body_text()))?;
    let found = FILES.iter().find(|(known, ..)| *known == name);
    let (_, kind, text) = found.ok_or_else(|| Problem::NoRoute(format!("/page/{name}")))?;
    Ok(fixed(kind, Bytes::from_static(text.as_bytes()), &headers))
}

/// `GET /api/info`.
pub(crate) async fn info(Shared(state): Shared<Arc<State>>, headers: HeaderMap) -> Response {
    fixed("application/json", state.info.clone(), &headers)
}

/// `GET /api/map`.
pub(crate) async fn map(Shared(state): Shared<Arc<State>>, headers: HeaderMap) -> Response {
    fixed("application/json", state.map.clone(), &headers)
}

/// `GET /report`.
pub(crate) async fn report(Shared(state): Shared<Arc<State>>) -> Result<Response, Problem> {
    let html = state.app.report.clone().ok_or(Problem::NoReport)?;
    let policy = (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(REPORT_POLICY));
    Ok(([policy], axum::response::Html(html)).into_response())
}

/// Bytes that stay the same while the server runs; a browser asks again each time and is told so.
fn fixed(kind: &'static str, bytes: Bytes, asked: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", &blake3::hash(&bytes).to_hex()[..32]);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::ETAG, HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""))),
    ];
    if asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, bytes).into_response()
}
