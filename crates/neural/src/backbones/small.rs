//! A residual net for 32 to 64 px pictures: a strided stem, then one basic block (He et al., CVPR 2016,
//! figure 2) a stage with 32, 64, 128 and 256 filters, each stage at half the side of the one before.

use crate::network::{Block, Layer, Network, Norm, Skip};
use kernels::{Activation, Kind, Padding};

const STAGES: [usize; 4] = [32, 64, 128, 256];

fn layer(
    name: String,
    channels: usize,
    filters: usize,
    kernel: usize,
    stride: usize,
    activation: Activation,
) -> Layer {
    Layer {
        name,
        channels,
        kind: Kind::Dense { filters },
        kernel,
        stride,
        padding: Padding::Symmetric,
        norm: Norm::Batch,
        activation,
    }
}

pub(super) fn network() -> Network {
    let stem = layer("stem".into(), 3, STAGES[0], 3, 2, Activation::Relu);
    let mut blocks = vec![Block { layers: vec![stem], skip: Skip::None, after: Activation::None }];
    let mut channels = STAGES[0];
    for (stage, filters) in STAGES.into_iter().enumerate() {
        let name = format!("stage{stage}");
        let stride = if stage == 0 { 1 } else { 2 };
        let skip = if stride == 1 && channels == filters {
            Skip::Identity
        } else {
            Skip::Projection(layer(format!("{name}.skip"), channels, filters, 1, stride, Activation::None))
        };
        let layers = vec![
            layer(format!("{name}.first"), channels, filters, 3, stride, Activation::Relu),
            layer(format!("{name}.second"), filters, filters, 3, 1, Activation::None),
        ];
        blocks.push(Block { layers, skip, after: Activation::Relu });
        channels = filters;
    }
    Network { name: "small-resnet", blocks, features: channels }
}
