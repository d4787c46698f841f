//! Errors as `application/problem+json` (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use data::DecodeError;
use serde_json::json;
use thiserror::Error;

/// Why a request was not answered. The message goes to whoever asked.
#[derive(Debug, Error)]
pub(crate) enum Problem {
    #[error("there is nothing at {0}")]
    NoRoute(String),
    #[error("{method} is not understood at {path}")]
    NoMethod { method: Method, path: String },
    #[error(
        "this server does not answer to the name `{0}`; use its address, or start it with that name allowed"
    )]
    Host(String),
    #[error("the part after `?` cannot be read: {0}")]
    Query(String),
    #[error("`{key}` is not a parameter here; known are {known}")]
    UnknownParameter { key: String, known: String },
    #[error("`{key}={value}` must be a whole number from {low} to {high}")]
    BadNumber { key: &'static str, value: String, low: u64, high: u64 },
    #[error("no picture has the {facet} `{value}`; see /api/info for those there are")]
    NoSuchGroup { facet: &'static str, value: String },
    #[error("`{0}` is not a number from 0")]
    BadId(String),
    #[error("there is no picture {id} among {pictures}, counted from 0")]
    NoSuchPicture { id: u64, pictures: usize },
    #[error("there is no sheet {id} of the map, which has {sheets}, counted from 0")]
    NoSuchSheet { id: u64, sheets: usize },
    #[error("the body is larger than {limit} bytes; send a smaller picture")]
    BodyTooLarge { limit: usize },
    #[error("the body broke off: {0}")]
    BrokenBody(String),
    #[error("{0}")]
    Decode(#[from] DecodeError),
    #[error("too many uploads at once; try again in a moment")]
    Busy,
    #[error("no answer within {0} seconds; try again, or with a smaller picture")]
    TooSlow(u64),
    #[error("the stored picture {id} cannot be read: {why}")]
    StoredPicture { id: usize, why: String },
    #[error("the picture could not be embedded: {0}")]
    Embed(#[from] data::EmbedError),
    #[error("the search failed: {0}")]
    Search(String),
    #[error("there is no report; make one with an evaluation and serve again")]
    NoReport,
    #[error("the server failed while answering; its log says more")]
    Internal,
}

impl Problem {
    /// Status and stable code.
    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoRoute(_) => (StatusCode::NOT_FOUND, "no-such-route"),
            Self::NoMethod { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
            Self::Host(_) => (StatusCode::MISDIRECTED_REQUEST, "unknown-host"),
            Self::Query(_) => (StatusCode::BAD_REQUEST, "bad-query"),
            Self::UnknownParameter { .. } => (StatusCode::BAD_REQUEST, "unknown-parameter"),
            Self::BadNumber { .. } => (StatusCode::BAD_REQUEST, "bad-number"),
            Self::NoSuchGroup { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "no-such-group"),
            Self::BadId(_) => (StatusCode::BAD_REQUEST, "bad-id"),
            Self::NoSuchPicture { .. } => (StatusCode::NOT_FOUND, "no-such-picture"),
            Self::NoSuchSheet { .. } => (StatusCode::NOT_FOUND, "no-such-sheet"),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
            Self::BrokenBody(_) => (StatusCode::BAD_REQUEST, "broken-body"),
            Self::Decode(DecodeError::Format) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-a-picture"),
            Self::Decode(DecodeError::TooLarge { .. }) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "picture-too-large")
            }
            Self::Decode(DecodeError::Empty { .. } | DecodeError::Damaged(_)) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "picture-damaged")
            }
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::TooSlow(_) => (StatusCode::GATEWAY_TIMEOUT, "too-slow"),
            Self::StoredPicture { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "stored-picture"),
            Self::Embed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "embedding-failed"),
            Self::Search(_) => (StatusCode::INTERNAL_SERVER_ERROR, "search-failed"),
            Self::NoReport => (StatusCode::NOT_FOUND, "no-report"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code) = self.kind();
        let body = json!({
            "type": format!("urn:deepembed:problem:{code}"),
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "code": code,
            "detail": self.to_string(),
        });
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(self, Self::Busy) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

pub(crate) async fn no_route(uri: Uri) -> Problem {
    Problem::NoRoute(uri.path().to_owned())
}

pub(crate) async fn no_method(method: Method, uri: Uri) -> Problem {
    Problem::NoMethod { method, path: uri.path().to_owned() }
}
