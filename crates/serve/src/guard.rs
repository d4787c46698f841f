//! What holds for every request: the names answered to, the time allowed, the headers that keep pages of
//! other sites out.

use crate::problem::Problem;
use crate::state::State;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;

/// What a browser may load for our pages: our own files only, and pictures that the page itself made.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Answers within the time allowed, to names that are ours, with the headers above.
pub(crate) async fn guard(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let bounds = &state.app.bounds;
    let mut response = match check_host(request.headers(), request.uri(), &state.app.hosts) {
        Err(problem) => problem.into_response(),
        Ok(()) => tokio::time::timeout(bounds.time, next.run(request))
            .await
            .unwrap_or_else(|_| Problem::TooSlow(bounds.time.as_secs()).into_response()),
    };
    for (name, value) in HEADERS {
        // A route may have set a policy of its own.
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// A browser sends the name it was given. A name that is neither `localhost`, an address nor one of ours
/// is another site's name that was pointed here (DNS rebinding).
fn check_host(headers: &HeaderMap, uri: &Uri, ours: &[String]) -> Result<(), Problem> {
    let name = match headers.get(header::HOST) {
        Some(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        // Only programs leave it out; browsers cannot.
        None => uri.host().unwrap_or("localhost").to_owned(),
    };
    let authority: Authority = name.parse().map_err(|_| Problem::Host(name.clone()))?;
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    let same = |known: &str| host.eq_ignore_ascii_case(known);
    if address || same("localhost") || ours.iter().any(|known| same(known)) {
        return Ok(());
    }
    Err(Problem::Host(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_names_are_answered_to() {
        let ours = ["pictures.example".to_owned()];
        let ask = |host: &str| {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap())]);
            check_host(&headers, &Uri::from_static("/"), &ours).is_ok()
        };
        for good in
            ["localhost", "LocalHost:80", "127.0.0.1:8080", "[::1]:9", "10.0.0.7", "Pictures.example:1"]
        {
            assert!(ask(good), "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b"] {
            assert!(!ask(bad), "{bad}");
        }
        assert!(check_host(&HeaderMap::new(), &Uri::from_static("/"), &[]).is_ok());
    }
}
