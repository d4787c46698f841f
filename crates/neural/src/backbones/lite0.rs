//! EfficientNet-lite0: EfficientNet-B0 without squeeze-and-excitation, ReLU6 for swish, stem and head
//! not scaled. Sources: Tan and Le, ICML 2019, table 1; the EfficientNet-lite release notes (2020).

use crate::network::{Block, Layer, Network, Norm, Skip};
use kernels::{Activation, Kind, Padding};

/// `(repeats, kernel, stride, expansion, filters)` of each stage.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];

const STEM: usize = 32;
const HEAD: usize = 1280;

fn layer(
    name: String,
    channels: usize,
    kind: Kind,
    kernel: usize,
    stride: usize,
    activation: Activation,
) -> Layer {
    Layer { name, channels, kind, kernel, stride, padding: Padding::Same, norm: Norm::Affine, activation }
}

fn single(layer: Layer) -> Block {
    Block { layers: vec![layer], skip: Skip::None, after: Activation::None }
}

pub(super) fn network() -> Network {
    let dense = |filters| Kind::Dense { filters };
    let mut blocks = vec![single(layer("stem".into(), 3, dense(STEM), 3, 2, Activation::Relu6))];
    let mut channels = STEM;
    for (repeats, kernel, first_stride, expansion, filters) in STAGES {
        for repeat in 0..repeats {
            let name = format!("block{}", blocks.len() - 1);
            let stride = if repeat == 0 { first_stride } else { 1 };
            let wide = channels * expansion;
            let mut layers = Vec::new();
            if expansion > 1 {
                layers.push(layer(format!("{name}.expand"), channels, dense(wide), 1, 1, Activation::Relu6));
            }
            layers.push(layer(
                format!("{name}.depthwise"),
                wide,
                Kind::Depthwise,
                kernel,
                stride,
                Activation::Relu6,
            ));
            layers.push(layer(format!("{name}.project"), wide, dense(filters), 1, 1, Activation::None));
            let skip = if stride == 1 && channels == filters { Skip::Identity } else { Skip::None };
            blocks.push(Block { layers, skip, after: Activation::None });
            channels = filters;
        }
    }
    blocks.push(single(layer("head".into(), channels, dense(HEAD), 1, 1, Activation::Relu6)));
    Network { name: "efficientnet-lite0", blocks, features: HEAD }
}

#[cfg(test)]
mod tests {
    #[test]
    fn has_the_published_size() {
        let network = super::network();
        assert_eq!(network.blocks.len(), 18);
        // 4,652,008 parameters with the classifier's 1,281,000: 3,371,008 without, two of which a
        // normalised filter (its scale and bias) count the same here.
        let parameters: usize =
            network.needs().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(parameters, 3_371_008);
    }
}
