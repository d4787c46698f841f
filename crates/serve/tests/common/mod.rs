//! A small app over generated pictures, and requests to it without a network.
#![allow(dead_code, reason = "each test uses its own part")]

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use data::{Contract, Embed, EmbedError, Image, PixelEmbed, Record, Rows};
use deepembed_serve::{App, Bounds, router};
use image::{DynamicImage, ImageFormat, RgbImage};
use index::{Index, Spec};
use serde_json::Value;
use std::io::Cursor;
use std::sync::Arc;
use tower::ServiceExt;

/// Pictures of the app.
pub const PICTURES: usize = 12;

/// Picture `row`: a white square on black; a row apart, a place apart.
pub fn pixels(row: usize) -> RgbImage {
    RgbImage::from_fn(64, 64, |x, y| {
        let (left, top) = ((row % 4 * 12) as u32, (row / 4 * 16) as u32);
        let inside = (left..left + 24).contains(&x) && (top..top + 24).contains(&y);
        image::Rgb(if inside { [255; 3] } else { [10, 10, 10] })
    })
}

pub fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(picture.clone()).write_to(&mut file, format).unwrap();
    file.into_inner()
}

pub fn png(row: usize) -> Vec<u8> {
    encoded(&pixels(row), ImageFormat::Png)
}

pub fn record(row: usize) -> Record {
    Record {
        path: format!("squares/{row}.png"),
        class: ["top left", "top right", "bottom"][row % 3].to_owned(),
        category: (row < 6).then(|| "early".to_owned()),
        camera: Some(["Anna", "Berta"][row % 2].to_owned()),
        text: (row == 7).then(|| "The Seventh picture".to_owned()),
    }
}

pub fn embed(model: &dyn Embed, pictures: impl Iterator<Item = RgbImage>) -> Vec<f32> {
    let images: Vec<Image> = pictures
        .map(|picture| Image { width: picture.width(), height: picture.height(), pixels: picture.into_raw() })
        .collect();
    model.embed(&images).unwrap()
}

pub fn app() -> App {
    let model = PixelEmbed::new();
    let vectors = embed(&model, (0..PICTURES).map(pixels));
    let rows = Rows::new(&vectors, model.contract().dim).unwrap();
    let spec: Spec = "Flat".parse().unwrap();
    let index: Arc<dyn Index> =
        Arc::from(index::build(&spec, rows, model.contract().metric, 0, &index::Watch::none()).unwrap());
    App {
        title: "Squares".to_owned(),
        model: Arc::new(model),
        index,
        records: (0..PICTURES).map(record).collect(),
        picture: Box::new(|row| if row == 11 { Err("it is gone".to_owned()) } else { Ok(png(row)) }),
        map: (0..PICTURES as u64).map(|row| (row, [row as f32, -(row as f32)])).collect(),
        report: Some("<!doctype html><script>1</script>".to_owned()),
        pool: Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()),
        hosts: vec!["pictures.example".to_owned()],
        bounds: Bounds::default(),
    }
}

/// A model whose embedding is what a function says.
pub struct Odd<F>(pub PixelEmbed, pub F);

impl<F: Fn() -> Result<Vec<f32>, EmbedError> + Send + Sync> Embed for Odd<F> {
    fn contract(&self) -> &Contract {
        self.0.contract()
    }
    fn model_hash(&self) -> &str {
        self.0.model_hash()
    }
    fn embed(&self, _: &[Image]) -> Result<Vec<f32>, EmbedError> {
        (self.1)()
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The ids of hits or items, in order.
    pub fn ids(&self) -> Vec<u64> {
        let json = self.json();
        let list = json.get("hits").or_else(|| json.get("items")).and_then(Value::as_array);
        list.unwrap_or_else(|| panic!("{json}")).iter().map(|item| item["id"].as_u64().unwrap()).collect()
    }

    /// Status and code of a problem, whose form is checked.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let json = self.json();
        assert_eq!(json["status"], self.status.as_u16());
        let code = json["code"].as_str().unwrap().to_owned();
        assert_eq!(json["type"], format!("urn:deepembed:problem:{code}"));
        let detail = json["detail"].as_str().unwrap();
        assert!(!detail.is_empty() && !detail.contains('\n'), "{detail}");
        (self.status.as_u16(), code)
    }
}

pub async fn ask(routes: &Router, request: Request<Body>) -> Answer {
    let response = routes.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub async fn get(routes: &Router, path: &str) -> Answer {
    ask(routes, Request::get(path).body(Body::empty()).unwrap()).await
}

pub async fn post(routes: &Router, path: &str, body: impl Into<Body>) -> Answer {
    ask(routes, Request::post(path).body(body.into()).unwrap()).await
}

pub fn routes() -> Router {
    router(app()).unwrap()
}
