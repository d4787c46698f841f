//! Transforms before a code: a codec like any other.

use crate::{
    Array, Arrays, Codec, Frame, RestoreError, Scanner, Scorer, Slab, Spec, TrainError, Training, Transform,
};
use data::{Metric, Rows};
use rayon::prelude::*;

/// Rows that one task transforms at once.
const CHUNK: usize = 256;

/// Transforms, then a code.
pub struct Chain {
    transforms: Vec<Box<dyn Transform>>,
    code: Box<dyn Codec>,
}

impl Chain {
    pub(crate) fn train(
        spec: &Spec,
        rows: Rows<'_, f32>,
        training: &Training<'_>,
    ) -> Result<Self, TrainError> {
        let mut transforms: Vec<Box<dyn Transform>> = Vec::new();
        let mut image: Option<Vec<f32>> = None;
        let mut dim = rows.dim();
        for change in &spec.changes {
            let transform = change.train(view(image.as_deref().unwrap_or(rows.as_slice()), dim), training)?;
            let before = image.take();
            image = Some(apply_all(&*transform, view(before.as_deref().unwrap_or(rows.as_slice()), dim)));
            dim = transform.dim_out();
            transforms.push(transform);
        }
        let code = spec.code.train(view(image.as_deref().unwrap_or(rows.as_slice()), dim), training)?;
        Ok(Self { transforms, code })
    }

    pub(crate) fn restore(spec: &Spec, dim: usize, arrays: &mut Arrays) -> Result<Self, RestoreError> {
        let mut transforms: Vec<Box<dyn Transform>> = Vec::new();
        let mut dim = dim;
        for (i, change) in spec.changes.iter().enumerate() {
            let transform = change.restore(dim, &mut arrays.split_off(&format!("transform{i}.")))?;
            dim = transform.dim_out();
            transforms.push(transform);
        }
        Ok(Self { transforms, code: spec.code.restore(dim, &mut arrays.split_off("code."))? })
    }

    /// What rows become before they are encoded.
    fn image(&self, rows: Rows<'_, f32>) -> Vec<f32> {
        self.transforms.iter().fold(rows.as_slice().to_vec(), |rows, transform| {
            let rows = view(&rows, transform.dim_in());
            let mut out = vec![0.0; rows.len() * transform.dim_out()];
            transform.apply(rows, &mut out);
            out
        })
    }

    /// What a query becomes, and the frame of its distances.
    fn query(&self, query: &[f32], metric: Metric) -> (Vec<f32>, Frame) {
        let start = (query.to_vec(), Frame { metric, offset: 0.0 });
        self.transforms.iter().fold(start, |(query, frame), transform| {
            let mut out = vec![0.0; transform.dim_out()];
            let next = transform.query(&query, frame.metric, &mut out);
            (out, Frame { offset: frame.offset + next.offset, ..next })
        })
    }
}

fn view(rows: &[f32], dim: usize) -> Rows<'_, f32> {
    Rows::new(rows, dim).expect("transforms give whole rows")
}

/// The images of `rows`, on the caller's rayon pool.
pub(crate) fn apply_all(transform: &dyn Transform, rows: Rows<'_, f32>) -> Vec<f32> {
    let mut out = vec![0.0; rows.len() * transform.dim_out()];
    out.par_chunks_mut(CHUNK * transform.dim_out()).enumerate().for_each(|(i, out)| {
        let end = (i * CHUNK + CHUNK).min(rows.len());
        transform.apply(rows.slice(i * CHUNK..end), out);
    });
    out
}

impl Codec for Chain {
    fn dim(&self) -> usize {
        self.transforms.first().map_or(self.code.dim(), |first| first.dim_in())
    }

    fn code_len(&self) -> usize {
        self.code.code_len()
    }

    fn encode(&self, rows: Rows<'_, f32>, codes: &mut [u8]) {
        self.code.encode(view(&self.image(rows), self.code.dim()), codes);
    }

    fn decode(&self, codes: &[u8], rows: &mut [f32]) {
        let n = codes.len() / self.code.code_len();
        let mut image = vec![0.0; n * self.code.dim()];
        self.code.decode(codes, &mut image);
        for transform in self.transforms.iter().rev() {
            let mut before = vec![0.0; n * transform.dim_in()];
            transform.reverse(view(&image, transform.dim_out()), &mut before);
            image = before;
        }
        rows.copy_from_slice(&image);
    }

    fn scorer<'a>(&'a self, query: &[f32], metric: Metric) -> Box<dyn Scorer + 'a> {
        let (query, frame) = self.query(query, metric);
        Box::new(ChainScorer { inner: self.code.scorer(&query, frame.metric), offset: frame.offset })
    }

    fn pack(&self, codes: Vec<u8>) -> Vec<u8> {
        self.code.pack(codes)
    }

    fn packed_len(&self, rows: usize) -> usize {
        self.code.packed_len(rows)
    }

    fn queries_a_pass(&self) -> usize {
        self.code.queries_a_pass()
    }

    fn scanner<'a>(&'a self, queries: Rows<'_, f32>, metric: Metric, k: usize) -> Box<dyn Scanner + 'a> {
        let mut images = Vec::with_capacity(queries.len() * self.code.dim());
        let mut offsets = Vec::with_capacity(queries.len());
        let mut inner = metric;
        for query in queries.iter() {
            let (image, frame) = self.query(query, metric);
            images.extend(image);
            offsets.push(frame.offset);
            // How a metric changes depends on the transforms alone, not on the query.
            inner = frame.metric;
        }
        let scanner = self.code.scanner(view(&images, self.code.dim()), inner, k);
        Box::new(ChainScanner { inner: scanner, offsets })
    }

    fn arrays(&self) -> Vec<Array> {
        let named = |prefix: String, arrays: Vec<Array>| {
            arrays.into_iter().map(move |array| Array { name: format!("{prefix}{}", array.name), ..array })
        };
        let transforms = self.transforms.iter().enumerate();
        let mut all: Vec<Array> = transforms
            .flat_map(|(i, transform)| named(format!("transform{i}."), transform.arrays()))
            .collect();
        all.extend(named("code.".into(), self.code.arrays()));
        all
    }
}

struct ChainScorer<'a> {
    inner: Box<dyn Scorer + 'a>,
    offset: f32,
}

impl Scorer for ChainScorer<'_> {
    fn score(&mut self, codes: &[u8], distances: &mut [f32]) {
        self.inner.score(codes, distances);
        distances.iter_mut().for_each(|distance| *distance += self.offset);
    }
}

struct ChainScanner<'a> {
    inner: Box<dyn Scanner + 'a>,
    /// One a query.
    offsets: Vec<f32>,
}

impl Scanner for ChainScanner<'_> {
    fn scan(&mut self, slab: &Slab<'_>, which: &[u32]) {
        self.inner.scan(slab, which);
    }

    fn expect(&mut self, query: usize, held: usize, limit: f32) {
        let offset = self.offsets[query];
        // Sums are rounded: what ties with the limit stays.
        let slack = f32::EPSILON * (limit.abs() + offset.abs());
        self.inner.expect(query, held, limit - offset + slack);
    }

    fn finish(self: Box<Self>) -> Vec<Vec<(f32, u64)>> {
        let mut lists = self.inner.finish();
        for (list, offset) in lists.iter_mut().zip(&self.offsets) {
            list.iter_mut().for_each(|(distance, _)| *distance += offset);
        }
        lists
    }
}
