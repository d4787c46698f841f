//! Serves the built-in emoji by their raw pixels, with a map of their mean colours: everything but a
//! trained model. `cargo run -p deepembed-serve --example emoji [ADDRESS]`
#![allow(clippy::print_stderr, reason = "an example talks to whoever runs it")]

use data::{Dataset, Embed, PixelEmbed, Record};
use deepembed_serve::{App, Bounds, serve};
use index::Spec;
use rayon::prelude::*;
use std::error::Error;
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    let app = emoji()?;
    eprintln!("http://{}/", listener.local_addr()?);
    serve(app, listener, async { drop(tokio::signal::ctrl_c().await) }).await?;
    Ok(())
}

fn emoji() -> Result<App, Box<dyn Error>> {
    let dataset = Dataset::emoji()?;
    let model = PixelEmbed::new();
    let pool = Arc::new(rayon::ThreadPoolBuilder::new().build()?);
    let images =
        (0..dataset.len()).into_par_iter().map(|item| dataset.image(item)).collect::<Result<Vec<_>, _>>()?;
    let vectors = model.embed(&images)?;
    let rows = data::Rows::new(&vectors, model.contract().dim)?;
    let spec: Spec = "HNSW16".parse()?;
    let index =
        pool.install(|| index::build(&spec, rows, model.contract().metric, 1, &index::Watch::none()))?;
    let map = images.iter().zip(0..).map(|(image, row)| (row, place(&image.pixels))).collect();
    let records = (0..dataset.len()).map(|item| Record::of(&dataset, item)).collect();
    Ok(App {
        title: "Emoji".to_owned(),
        model: Arc::new(model),
        index: Arc::from(index),
        records,
        picture: Box::new(move |row| match dataset.bytes(row) {
            Ok(bytes) => Ok(bytes.into_owned()),
            Err(err) => Err(err.to_string()),
        }),
        map,
        report: Some("<!doctype html><title>Report</title><p>No model was trained.".to_owned()),
        pool,
        hosts: vec![],
        bounds: Bounds::default(),
    })
}

/// Mean colour as a place: blue against yellow, and red against green.
fn place(pixels: &[u8]) -> [f32; 2] {
    let ink = pixels.chunks_exact(3).filter(|pixel| pixel.iter().any(|&value| value < 240));
    let (sum, count) = ink.fold(([0.0; 3], 1.0), |(sum, count), pixel| {
        ([0, 1, 2].map(|c| sum[c] + f32::from(pixel[c])), count + 1.0)
    });
    let [red, green, blue] = sum.map(|value| value / count);
    [red + green - 2.0 * blue, red - green + 0.1 * (red + green + blue)]
}
