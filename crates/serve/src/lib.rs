//! The HTTP API and the embedded search page.
//!
//! [`App`] is what is served: a model, an index, the records and pictures of its rows. [`router`] makes
//! the routes and [`serve`] answers until told to stop. CPU work runs on the app's rayon pool; the bounds
//! of [`Bounds`] hold from the start. Nothing here fetches a URL or opens a path named by a request.
//!
//! | route | answer |
//! |---|---|
//! | `GET /` | the search page; it loads nothing from elsewhere |
//! | `GET /api/info` | what is served: counts, index, model, designers, categories |
//! | `POST /api/search?k=&camera=&category=` | rows like the picture in the body |
//! | `GET /api/similar/{id}?k=&camera=&category=` | rows like a stored picture |
//! | `GET /api/browse?seed=&count=&q=&camera=&category=` | rows at random, or rows with these words |
//! | `GET /api/map` | places of rows on a plane |
//! | `GET /picture/{id}`, `GET /thumb/{id}` | a stored picture, and a small one of it |
//! | `GET /sheet/{n}` | thumbnails of 256 places of the map |
//! | `GET /report` | the run's report |
//! | `GET /healthz` | `ok` |
//!
//! Errors are `application/problem+json` (RFC 9457) with a stable `code`.
#![forbid(unsafe_code)]

mod app;
mod ask;
mod browse;
mod facet;
mod guard;
mod page;
mod picture;
mod problem;
mod search;
mod sheet;
mod state;

pub use app::{App, Bounds, PictureSource, ServeError};

use axum::Router;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use state::State;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The routes of `app`, ready to be served or nested.
///
/// # Errors
/// When the parts of `app` do not fit each other; see [`App::check`].
pub fn router(app: App) -> Result<Router, ServeError> {
    app.check()?;
    let state = Arc::new(State::new(app));
    Ok(Router::new()
        .route("/", get(page::page))
        .route("/page/{file}", get(page::file))
        .route("/api/info", get(page::info))
        .route("/api/map", get(page::map))
        .route("/report", get(page::report))
        .route("/api/search", post(search::search))
        .route("/api/similar/{id}", get(search::similar))
        .route("/api/browse", get(browse::browse))
        .route("/picture/{id}", get(picture::picture))
        .route("/thumb/{id}", get(picture::thumb))
        .route("/sheet/{n}", get(sheet::sheet))
        .route("/healthz", get(|| async { "ok" }))
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&state), guard::guard))
        .with_state(state))
}

/// Serves `app` on `listener` until `shutdown` completes; requests begun by then are answered, within the
/// time that the bounds allow.
///
/// The caller chooses the address. There is no login: whoever reaches it can search and see pictures.
///
/// # Errors
/// When the parts of `app` do not fit each other, or the listener fails.
pub async fn serve(
    app: App,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let time = app.bounds.time;
    let routes = router(app)?;
    // Answers are small and wanted at once; without delay is only an optimisation, so a failure is no matter.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let (told, begun) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener, routes).with_graceful_shutdown(async move {
        shutdown.await;
        drop(told);
    });
    // A client that takes its answer slowly, or never ends its question, must not keep the server up.
    let patience = async {
        drop(begun.await);
        tokio::time::sleep(time).await;
    };
    tokio::select! {
        ended = server => Ok(ended?),
        () = patience => Ok(()),
    }
}
