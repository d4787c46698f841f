//! Rows like a picture: one that is sent, or one that is stored.

use crate::ask::{self, Ask, Id, Pairs};
use crate::problem::Problem;
use crate::state::{Item, State, score_name};
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use data::{Hits, Rows, decode};
use index::{Filter, Index, Request};
use serde::Serialize;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

#[derive(Serialize)]
struct Answer<'a> {
    /// The stored picture that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<Item<'a>>,
    /// How the scores are called; higher is better.
    score: &'static str,
    milliseconds: Milliseconds,
    hits: Vec<Item<'a>>,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Milliseconds {
    decode: f64,
    embed: f64,
    search: f64,
}

/// `POST /api/search`: the body is a picture.
pub(crate) async fn search(
    Shared(state): Shared<Arc<State>>,
    pairs: Pairs,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let ask = Ask::search(&state, pairs)?;
    let _upload = state.uploads.try_acquire().map_err(|_| Problem::Busy)?;
    let picture = receive(body, &headers, state.app.bounds.body).await?;
    state.work(move |state| answer(state, &ask, &picture, None)).await
}

/// `GET /api/similar/{id}`: rows like a stored picture, without itself.
pub(crate) async fn similar(
    Shared(state): Shared<Arc<State>>,
    id: Id,
    pairs: Pairs,
) -> Result<Response, Problem> {
    let row = ask::row(&state, id)?;
    let ask = Ask::search(&state, pairs)?;
    state.work(move |state| answer(state, &ask, &state.bytes(row)?, Some(row))).await
}

/// The whole body, unless it is longer than `limit` bytes.
async fn receive(body: Body, headers: &HeaderMap, limit: usize) -> Result<Bytes, Problem> {
    let stated =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if stated.is_some_and(|stated| stated > limit as u64) {
        return Err(Problem::BodyTooLarge { limit });
    }
    axum::body::to_bytes(body, limit).await.map_err(|err| {
        // A body that states no length is cut off at the limit; the reason is wrapped once or twice.
        let mut cause: Option<&dyn std::error::Error> = Some(&err);
        while let Some(inner) = cause {
            if inner.to_string().contains("length limit exceeded") {
                return Problem::BodyTooLarge { limit };
            }
            cause = inner.source();
        }
        Problem::BrokenBody(err.to_string())
    })
}

fn answer(state: &State, ask: &Ask, picture: &[u8], itself: Option<usize>) -> Result<Response, Problem> {
    let app = &state.app;
    let start = Instant::now();
    let image =
        decode(picture, app.model.contract().preprocess.background, &app.bounds.picture).map_err(|err| {
            match itself {
                Some(id) => Problem::StoredPicture { id, why: err.to_string() },
                None => Problem::Decode(err),
            }
        })?;
    let decoded = Instant::now();
    let query = app.model.embed(&[image])?;
    let embedded = Instant::now();
    let hits = nearest(state, ask, &query, itself)?;
    let milliseconds = Milliseconds {
        decode: between(start, decoded),
        embed: between(decoded, embedded),
        search: between(embedded, Instant::now()),
    };
    let metric = app.index.metric();
    let shown = |hit: &data::Hit| state.item(hit.id as usize, Some(metric.score(hit.distance)));
    let answer = Answer {
        query: itself.map(|row| state.item(row, None)),
        score: score_name(app),
        milliseconds,
        hits: hits.of(0).iter().map(shown).collect(),
    };
    Ok(axum::Json(answer).into_response())
}

fn nearest(state: &State, ask: &Ask, query: &[f32], itself: Option<usize>) -> Result<Hits, Problem> {
    let index: &dyn Index = &*state.app.index;
    let failed = |err: &dyn std::error::Error| Problem::Search(err.to_string());
    let (got, want) = (query.len(), index.dim());
    if got != want {
        return Err(Problem::Search(format!(
            "the model gave {got} values for one picture, the index has {want}"
        )));
    }
    let rows = Rows::new(query, want).map_err(|err| failed(&err))?;
    let wanted = |id: u64| Some(id as usize) != itself && ask.passes(state, id as usize);
    let filter = if ask.wants_all() && itself.is_none() { Filter::All } else { Filter::When(&wanted) };
    let k = NonZeroUsize::new(ask.rows).ok_or(Problem::Internal)?;
    let mut hits = Hits::default();
    index.search(rows, &Request { filter, ..Request::top(k) }, &mut hits).map_err(|err| failed(&err))?;
    Ok(hits)
}

fn between(start: Instant, end: Instant) -> f64 {
    // Microseconds are as fine as a clock is worth.
    (end.duration_since(start).as_secs_f64() * 1e6).round() / 1e3
}
