//! Backbones, losses, samplers and the trainer: the only user of burn.
#![forbid(unsafe_code)]

mod ops;
