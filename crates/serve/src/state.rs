//! What every request sees: the app and what is worked out from it once.

use crate::app::App;
use crate::facet::Facet;
use crate::problem::Problem;
use axum::body::Bytes;
use data::{Metric, Record};
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The app and what is worked out from it once.
pub(crate) struct State {
    pub app: App,
    pub cameras: Facet,
    pub categories: Facet,
    /// Changes when the rows do; part of picture addresses, so that they may be kept for long.
    pub version: String,
    /// Body of `/api/info`.
    pub info: Bytes,
    /// Body of `/api/map`.
    pub map: Bytes,
    /// Permits to decode and embed.
    pub working: Arc<Semaphore>,
    /// Permits to receive a body.
    pub uploads: Arc<Semaphore>,
}

/// A row as it is shown.
#[derive(Serialize)]
pub(crate) struct Item<'a> {
    pub id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    pub class: &'a str,
    pub camera: Option<&'a str>,
    pub category: Option<&'a str>,
    pub text: Option<&'a str>,
    pub path: &'a str,
}

impl State {
    pub fn new(app: App) -> Self {
        let records = &app.records;
        let cameras = Facet::new(records.iter().map(|record| record.camera.as_deref()));
        let categories = Facet::new(records.iter().map(|record| record.category.as_deref()));
        let version = version(&app);
        let info = Bytes::from(info(&app, &cameras, &categories, &version).to_string());
        let map = Bytes::from(map(&app, &cameras).to_string());
        let working = Arc::new(Semaphore::new(app.bounds.working));
        let uploads = Arc::new(Semaphore::new(app.bounds.uploads));
        Self { cameras, categories, version, info, map, working, uploads, app }
    }

    /// The row as it is shown.
    pub fn item(&self, row: usize, score: Option<f32>) -> Item<'_> {
        let Record { path, class, category, camera, text } = &self.app.records[row];
        let (camera, category, text) = (camera.as_deref(), category.as_deref(), text.as_deref());
        Item { id: row as u64, score, class, camera, category, text, path }
    }

    /// The bytes of a stored picture.
    pub fn bytes(&self, row: usize) -> Result<Vec<u8>, Problem> {
        (self.app.picture)(row).map_err(|why| Problem::StoredPicture { id: row, why })
    }

    /// Runs `work` on the app's pool, with as many others as the bounds allow. The permit stays with the
    /// work, so that a request that ran out of time still counts until its work ends.
    pub async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = Arc::clone(&self.working).acquire_owned().await.map_err(|_| Problem::Internal)?;
        let state = Arc::clone(self);
        let job = move || {
            let _permit = permit;
            state.app.pool.install(|| work(&state))
        };
        // A join fails only where the work panicked.
        tokio::task::spawn_blocking(job).await.unwrap_or(Err(Problem::Internal))
    }
}

/// How the numbers shown are called.
pub(crate) fn score_name(app: &App) -> &'static str {
    match app.index.metric() {
        Metric::Dot if app.model.contract().normalised => "cosine",
        Metric::Dot => "inner product",
        Metric::L2 => "1 / (1 + squared distance)",
    }
}

/// 16 hexadecimal digits of a hash over the model and the records.
fn version(app: &App) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(app.model.model_hash().as_bytes());
    for record in &app.records {
        hasher.update(&Record::to_lines(std::slice::from_ref(record)));
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

fn info(app: &App, cameras: &Facet, categories: &Facet, version: &str) -> serde_json::Value {
    let classes = Facet::new(app.records.iter().map(|record| Some(record.class.as_str())));
    let contract = app.model.contract();
    json!({
        "title": app.title,
        "version": version,
        "pictures": app.records.len(),
        "classes": classes.groups.len(),
        "index": app.index.spec().to_string(),
        "dim": app.index.dim(),
        "metric": app.index.metric(),
        "score": score_name(app),
        "model": {
            "hash": app.model.model_hash(),
            "architecture": contract.architecture,
            "licence": contract.licence,
        },
        "cameras": cameras.groups,
        "categories": categories.groups,
        "map": app.map.len(),
        "report": app.report.is_some(),
        "bounds": { "body": app.bounds.body, "hits": app.bounds.hits },
    })
}

/// Places with the class and camera of each, as positions in the lists of names.
fn map(app: &App, cameras: &Facet) -> serde_json::Value {
    let mut names = Vec::new();
    let mut known = HashMap::new();
    let points: Vec<_> = app
        .map
        .iter()
        .map(|&(row, [x, y])| {
            let class = app.records[row as usize].class.as_str();
            let class = *known.entry(class).or_insert_with(|| {
                names.push(class);
                names.len() - 1
            });
            json!([row, x, y, class, cameras.of(row as usize)])
        })
        .collect();
    let cameras: Vec<_> = cameras.groups.iter().map(|group| &group.name).collect();
    json!({ "classes": names, "cameras": cameras, "points": points })
}
