//! A trained network with its contract: what a model file holds, and the one thing that embeds.

use crate::backbones::Backbone;
use crate::network::{Form, Network, Pass, average_pool, floats};
use crate::recipe::{Recipe, Start};
use crate::weights::{Array, Bound, Precision, Weights, WeightsError};
use burn::tensor::{Device, Tensor, TensorData};
use data::{CONTRACT_FORMAT, Contract, Crop, Embed, EmbedError, Filter, Image, Metric, Preprocess};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// ImageNet weights of EfficientNet-lite0, f16; `cargo xtask weights` makes the file.
const STARTER: &[u8] = include_bytes!("../weights/efficientnet-lite0.safetensors");

/// Key of the contract in a model file's metadata.
const CONTRACT_KEY: &str = "deepembed.contract";

/// Pictures that go through the network together: few, so that their activations stay in the cache.
const TOGETHER: usize = 4;

/// Largest model file read.
const MAX_FILE: u64 = 4 << 30;

/// Why a model could not be opened.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The file could not be read.
    #[error("{path}: {source}")]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The file is far larger than any model.
    #[error("{path}: {bytes} bytes is more than a model file can have")]
    TooLarge {
        /// File.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file is not a model of ours.
    #[error("{path}: {cause}")]
    Invalid {
        /// File.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
}

/// A network ready to embed.
#[derive(Debug)]
pub struct Model {
    contract: Contract,
    hash: String,
    stored: Weights,
    network: Network,
    bound: Bound,
    has_head: bool,
}

/// The starter's arrays, without any prefix.
pub(crate) fn starter_weights() -> Weights {
    let (weights, _) = Weights::from_safetensors(STARTER).expect("the built-in weights are whole");
    weights
}

/// First weights of a recipe's network: `backbone.*` and `embed.*`.
pub(crate) fn first_weights(recipe: &Recipe, seed: u64) -> Weights {
    let network = recipe.model.backbone.network();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::MAX);
    let backbone = match recipe.model.start {
        Start::Starter => starter_weights(),
        Start::Random => network.init(&mut rng),
    };
    let mut weights = Weights::default();
    weights.extend("backbone.", &backbone);
    let (features, dim) = (network.features, recipe.model.dim);
    // Uniform with variance 1 / features: a random projection that keeps lengths.
    let bound = (3.0 / features as f32).sqrt();
    let values = (0..features * dim).map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound).collect();
    weights.insert("embed.weight", Array { shape: vec![features, dim], values });
    weights.insert("embed.bias", Array::flat(vec![0.0; dim]));
    weights
}

/// Name and shape of every array of a model with a head.
fn needs(network: &Network, dim: Option<usize>) -> Vec<(String, Vec<usize>)> {
    let prefixed = |(name, shape): (String, Vec<usize>)| (format!("backbone.{name}"), shape);
    let mut needs: Vec<_> = network.needs().into_iter().map(prefixed).collect();
    if let Some(dim) = dim {
        needs.push(("embed.weight".into(), vec![network.features, dim]));
        needs.push(("embed.bias".into(), vec![dim]));
    }
    needs
}

/// Unit length along the last axis; zeros, which a blank picture can give, stay zeros.
pub(crate) fn normalise(x: Tensor<2>) -> Tensor<2> {
    // Bounded before the root, whose slope at zero is infinite.
    let square = x.clone().powf_scalar(2.0).sum_dim(1).clamp_min(1e-12);
    x / square.sqrt()
}

impl Model {
    /// The ImageNet backbone as it is: its 1,280 pooled features, normalised.
    #[must_use]
    pub fn starter() -> Self {
        Self::starter_at(224)
    }

    /// The starter at another input side, pixels.
    #[must_use]
    pub fn starter_at(size: u32) -> Self {
        let preprocess = Preprocess {
            size,
            crop: Crop::Pad,
            filter: Filter::Bicubic,
            mean: [127.0; 3],
            std: [128.0; 3],
            background: [255; 3],
        };
        let mut stored = Weights::default();
        stored.extend("backbone.", &starter_weights());
        let network = Backbone::Lite0.network();
        let contract = Contract {
            format: CONTRACT_FORMAT,
            preprocess,
            architecture: network.name.to_owned(),
            dim: network.features,
            metric: Metric::Dot,
            normalised: true,
            training_data: None,
            recipe: None,
            metrics: None,
            licence: STARTER_LICENCE.to_owned(),
        };
        Self::new(contract, stored, Backbone::Lite0)
    }

    /// A recipe's network with random weights everywhere: what has learned nothing.
    #[must_use]
    pub fn untrained(recipe: &Recipe, seed: u64) -> Self {
        let mut random = recipe.clone();
        random.model.start = Start::Random;
        Self::new(contract(&random, None, None), first_weights(&random, seed), recipe.model.backbone)
    }

    /// A model of a recipe's network.
    pub(crate) fn trained(recipe: &Recipe, weights: Weights, data_hash: &str) -> Self {
        Self::new(contract(recipe, Some(data_hash), None), weights, recipe.model.backbone)
    }

    fn new(contract: Contract, stored: Weights, backbone: Backbone) -> Self {
        let network = backbone.network();
        let has_head = stored.get("embed.weight").is_some();
        let mut folded = Weights::default();
        folded.extend("", &network.fold(&stored.under("backbone.")));
        folded.extend("embed.", &stored.under("embed."));
        let bound = folded.bind(&Device::flex(), |_| false);
        let mut model = Self { contract, hash: String::new(), stored, network, bound, has_head };
        model.hash = blake3::hash(&model.to_bytes()).to_hex().to_string();
        model
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// When the file cannot be read, is not a model, or its arrays do not fit its architecture.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let read = |source| ModelError::Read { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(read)?.len();
        if bytes > MAX_FILE {
            return Err(ModelError::TooLarge { path: path.to_owned(), bytes });
        }
        let bytes = std::fs::read(path).map_err(read)?;
        Self::from_bytes(&bytes).map_err(|cause| ModelError::Invalid { path: path.to_owned(), cause })
    }

    /// Reads the bytes of a model file; the error says what is wrong with them.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let say = |e: WeightsError| e.to_string();
        let (stored, metadata) = Weights::from_safetensors(bytes).map_err(say)?;
        let text = metadata.get(CONTRACT_KEY).ok_or_else(|| {
            format!("no {CONTRACT_KEY} in its metadata: the file holds weights, but was not made by `deepembed train`")
        })?;
        let contract: Contract =
            serde_json::from_str(text).map_err(|e| format!("its contract cannot be read: {e}"))?;
        if contract.format != CONTRACT_FORMAT {
            return Err(format!(
                "its contract has format {}, this program reads {CONTRACT_FORMAT}; use a newer deepembed",
                contract.format
            ));
        }
        let name = serde_json::Value::String(contract.architecture.clone());
        let backbone: Backbone = serde_json::from_value(name)
            .map_err(|_| format!("architecture {} is not known to this program", contract.architecture))?;
        let network = backbone.network();
        if contract.dim == 0 {
            return Err("its contract says 0 dimensions".to_owned());
        }
        let head = stored.get("embed.weight").map(|_| contract.dim);
        stored.expect(network.name, &needs(&network, head)).map_err(say)?;
        if head.is_none() && contract.dim != network.features {
            return Err(format!(
                "its contract says {} dimensions, its features are {}",
                contract.dim, network.features
            ));
        }
        contract.preprocess.check().map_err(|e| format!("its contract: {e}"))?;
        let mut model = Self::new(contract, stored, backbone);
        // Of the file itself: a contract written anew could differ in how it prints a number.
        model.hash = blake3::hash(bytes).to_hex().to_string();
        Ok(model)
    }

    /// The model file: equal models give equal bytes.
    ///
    /// # Panics
    /// Never: a model's arrays always fit the format.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let contract = serde_json::to_string(&self.contract).expect("a contract has a JSON form");
        let metadata = BTreeMap::from([(CONTRACT_KEY.to_owned(), contract)]);
        self.stored.to_safetensors(Precision::Full, &metadata).expect("a model's arrays fit the format")
    }

    /// The same model with its measured metrics in the contract.
    #[must_use]
    pub fn with_metrics(mut self, metrics: serde_json::Value) -> Self {
        self.contract.metrics = Some(metrics);
        self.hash = blake3::hash(&self.to_bytes()).to_hex().to_string();
        self
    }

    /// Number of stored values.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.stored.parameters()
    }

    /// Name, shape and number of values of every stored array.
    pub fn arrays(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.stored.iter().map(|(name, array)| (name, array.shape.as_slice()))
    }

    /// Embeds inputs that are already prepared, `count x size x size x 3` values.
    fn embed_inputs(&self, inputs: Vec<f32>) -> Vec<f32> {
        let features = run_blocks(
            &self.network,
            &self.bound,
            inputs,
            self.contract.preprocess.size as usize,
            0..self.network.blocks.len(),
        );
        let mut x = average_pool(features);
        if self.has_head {
            let weight = self.bound.matrix("embed.weight", self.network.features, self.contract.dim);
            x = x.matmul(weight) + self.bound.flat("embed.bias").unsqueeze();
        }
        floats(normalise(x))
    }
}

/// Runs folded blocks over prepared inputs, from the picture on.
pub(crate) fn run_blocks(
    network: &Network,
    folded: &Bound,
    inputs: Vec<f32>,
    size: usize,
    blocks: Range<usize>,
) -> Tensor<4> {
    let count = inputs.len() / (size * size * 3);
    let x = Tensor::from_data(TensorData::new(inputs, [count, size, size, 3]), &Device::flex());
    network.forward(&Pass::new(folded, Form::Folded), x, blocks)
}

impl Embed for Model {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    fn model_hash(&self) -> &str {
        &self.hash
    }

    fn embed(&self, images: &[Image]) -> Result<Vec<f32>, EmbedError> {
        let preprocess = &self.contract.preprocess;
        let groups: Vec<Vec<f32>> = images
            .par_chunks(TOGETHER)
            .map(|group| self.embed_inputs(group.iter().flat_map(|image| preprocess.apply(image)).collect()))
            .collect();
        let rows = groups.concat();
        match rows.iter().position(|v| !v.is_finite()) {
            Some(at) => Err(EmbedError::NotFinite { picture: at / self.contract.dim }),
            None => Ok(rows),
        }
    }
}

const STARTER_LICENCE: &str = "Apache-2.0 (EfficientNet-lite0 ImageNet weights, Google; converted)";

fn contract(recipe: &Recipe, data_hash: Option<&str>, metrics: Option<serde_json::Value>) -> Contract {
    let licence = match recipe.model.start {
        Start::Starter => format!("yours, derived from: {STARTER_LICENCE}"),
        Start::Random => "yours: trained from random weights".to_owned(),
    };
    Contract {
        format: CONTRACT_FORMAT,
        preprocess: recipe.input.preprocess(),
        architecture: recipe.model.backbone.network().name.to_owned(),
        dim: recipe.model.dim,
        metric: Metric::Dot,
        normalised: true,
        training_data: data_hash.map(str::to_owned),
        recipe: Some(recipe.to_toml()),
        metrics,
        licence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::{Limits, decode};
    use std::collections::HashMap;

    fn golden(name: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/starter").join(name);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Decoding, resizing, padding, normalisation, SAME padding and every weight at once: `golden/starter.py`.
    #[test]
    fn the_starter_agrees_with_pytorch() {
        let features: HashMap<String, Vec<f32>> = serde_json::from_slice(&golden("features.json")).unwrap();
        assert_eq!(features.len(), 3);
        for (name, want) in features {
            let image = decode(&golden(&name), [255; 3], &Limits::default()).unwrap();
            let got = Model::starter().embed(&[image]).unwrap();
            let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let cosine: f32 = got.iter().zip(&want).map(|(a, b)| a * b).sum();
            assert!(worst < 1e-5 && cosine > 0.999_999, "{name}: {worst} {cosine}");
        }
    }

    fn untrained() -> Model {
        let recipe = Recipe::parse(Recipe::named("scratch").unwrap(), &["input.size=16".to_owned()]).unwrap();
        Model::untrained(&recipe, 3)
    }

    fn pictures(count: usize) -> Vec<Image> {
        let pixel = |i: usize, n: usize| ((i * (n + 3) * 7) % 256) as u8;
        (0..count)
            .map(|n| Image { width: 20, height: 24, pixels: (0..1440).map(|i| pixel(i, n)).collect() })
            .collect()
    }

    #[test]
    fn a_file_brings_back_the_same_model() {
        let model = untrained();
        let read = Model::from_bytes(&model.to_bytes()).unwrap();
        assert_eq!((read.model_hash(), read.contract()), (model.model_hash(), model.contract()));
        assert_eq!(read.embed(&pictures(3)).unwrap(), model.embed(&pictures(3)).unwrap());
        let marked = untrained().with_metrics(serde_json::json!({"recall@1": 0.5}));
        assert_ne!(marked.model_hash(), model.model_hash(), "the hash covers the whole file");
    }

    #[test]
    fn a_picture_embeds_alike_alone_and_in_company() {
        let model = untrained();
        let together = model.embed(&pictures(9)).unwrap();
        for (i, picture) in pictures(9).into_iter().enumerate() {
            let alone = model.embed(&[picture]).unwrap();
            let dim = model.contract().dim;
            let cosine = kernels::dot(&alone, &together[i * dim..(i + 1) * dim]);
            assert!((cosine - 1.0).abs() < 1e-5, "{i}: {cosine}");
        }
    }

    #[test]
    fn other_files_are_refused_in_words() {
        let error = Model::from_bytes(STARTER).unwrap_err();
        assert!(error.contains("was not made by `deepembed train`"), "{error}");
        let mut bytes = untrained().to_bytes();
        let cut = bytes.len() - 10;
        assert!(Model::from_bytes(&bytes[..cut]).is_err());
        let at = bytes.windows(12).position(|w| w == b"small-resnet").unwrap();
        bytes[at..at + 12].copy_from_slice(b"other-resnet");
        assert!(Model::from_bytes(&bytes).unwrap_err().contains("other-resnet is not known"));
        let error = Model::open(Path::new("/nowhere/model.safetensors")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/model.safetensors: "), "{error}");
    }
}
