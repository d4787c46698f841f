//! Measuring a model on one split of a dataset, the same way for every model.

use crate::context::Context;
use crate::failure::{Code, Failure, Outcome};
use data::{Dataset, Embed, Rows, Split};
use eval::{Options, Retrieval, Task};
use std::collections::BTreeMap;

/// The pictures of one split and what an evaluation must know of them.
pub struct Exam {
    /// Positions in the dataset; row `i` of every array here is picture `items[i]`.
    pub items: Vec<usize>,
    pub labels: Vec<u32>,
    families: Option<Vec<u32>>,
    queries: Vec<usize>,
    gallery: Vec<usize>,
    zero_shot: bool,
}

impl Exam {
    /// Takes the query and gallery pictures of a split.
    pub fn new(dataset: &Dataset, split: Split) -> Outcome<Self> {
        let wanted = |&item: &usize| dataset.items[item].is_query || dataset.items[item].is_gallery;
        let items: Vec<usize> = dataset.of(split).into_iter().filter(wanted).collect();
        if items.is_empty() {
            let text = format!(
                "{} has no {} pictures to measure; give it a split column, or import it with --split",
                dataset.name,
                split.name()
            );
            return Err(Failure::message(Code::Failed, text));
        }
        let rows = |keep: &dyn Fn(usize) -> bool| (0..items.len()).filter(|&row| keep(items[row])).collect();
        let labels: Vec<u32> = items.iter().map(|&item| dataset.items[item].label).collect();
        let trained: std::collections::BTreeSet<u32> =
            dataset.of(Split::Train).into_iter().map(|item| dataset.items[item].label).collect();
        Ok(Self {
            families: families(dataset, &items),
            queries: rows(&|item| dataset.items[item].is_query),
            gallery: rows(&|item| dataset.items[item].is_gallery),
            zero_shot: !trained.is_empty() && labels.iter().all(|label| !trained.contains(label)),
            labels,
            items,
        })
    }

    pub fn task<'a>(&'a self, rows: Rows<'a, f32>, metric: data::Metric) -> Task<'a> {
        Task {
            rows,
            metric,
            labels: &self.labels,
            families: self.families.as_deref(),
            queries: &self.queries,
            gallery: &self.gallery,
            zero_shot: self.zero_shot,
        }
    }

    /// Embeds the pictures and measures.
    pub fn measure(
        &self,
        context: &Context,
        model: &dyn Embed,
        dataset: &Dataset,
        name: &str,
    ) -> Outcome<Measured> {
        let vectors = context.embed(model, dataset, &self.items, &format!("embedding, {name}"))?;
        self.mark(context, vectors, model.contract(), name)
    }

    /// Measures vectors of the exam's pictures, in their order.
    pub fn mark(
        &self,
        context: &Context,
        vectors: Vec<f32>,
        contract: &data::Contract,
        name: &str,
    ) -> Outcome<Measured> {
        let (dim, metric) = (contract.dim, contract.metric);
        let rows = Rows::new(&vectors, dim).expect("an embedding of every picture");
        let bar = context.talk.bar(&format!("measuring, {name}"), self.queries.len());
        let options = Options { memory: context.memory, seed: context.seed, ..Options::default() };
        let retrieval = eval::retrieval(&self.task(rows, metric), &options, &|_, _| {})?;
        let first = retrieval.recall_at(1).map_or(0.0, |recall| recall.value);
        bar.finish(&format!("recall@1 {first:.4}"));
        Ok(Measured { vectors, dim, metric, retrieval })
    }

    /// Recall@1 alone, without interval or talk: what training follows.
    pub fn recall_at_1(
        &self,
        model: &dyn Embed,
        dataset: &Dataset,
        memory: usize,
    ) -> Result<f64, data::EmbedError> {
        let background = model.contract().preprocess.background;
        let mut vectors = Vec::with_capacity(self.items.len() * model.contract().dim);
        for chunk in self.items.chunks(64) {
            let images: Result<Vec<_>, _> =
                chunk.iter().map(|&item| dataset.image_over(item, background)).collect();
            vectors.extend(model.embed(&images.map_err(|e| data::EmbedError::Backend(e.to_string()))?)?);
        }
        let rows = Rows::new(&vectors, model.contract().dim).expect("an embedding of every picture");
        let options = Options { memory, recall_at: vec![1], resamples: 1, clusterings: 0, seed: 0 };
        let found = eval::retrieval(&self.task(rows, model.contract().metric), &options, &|_, _| {});
        let found = found.map_err(|e| data::EmbedError::Backend(e.to_string()))?;
        Ok(found.recall_at(1).map_or(0.0, |recall| recall.value))
    }
}

/// A model's vectors for an exam, and its marks.
pub struct Measured {
    pub vectors: Vec<f32>,
    pub dim: usize,
    pub metric: data::Metric,
    pub retrieval: Retrieval,
}

impl Measured {
    pub fn rows(&self) -> Rows<'_, f32> {
        Rows::new(&self.vectors, self.dim).expect("an embedding of every picture")
    }
}

/// Numbers of the families; a picture without one is alone in its own. None when no picture has any.
fn families(dataset: &Dataset, items: &[usize]) -> Option<Vec<u32>> {
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let mut next = 0;
    let mut fresh = || {
        next += 1;
        next - 1
    };
    let families: Vec<u32> = items
        .iter()
        .map(|&item| match dataset.items[item].family.as_deref() {
            Some(family) => *numbers.entry(family).or_insert_with(&mut fresh),
            None => fresh(),
        })
        .collect();
    (!numbers.is_empty()).then_some(families)
}
