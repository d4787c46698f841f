//! Measurements of this workspace against its peers, in the same run on the same machine.
#![forbid(unsafe_code)]

mod codes;
mod embed_speed;
mod kmeans;
mod peer;
mod timing;
mod train_speed;
mod vectors;

use clap::Parser;

/// As in the program that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure this workspace, alone or against its peers.
#[derive(Parser)]
#[command(name = "deepembed-bench", version)]
enum Command {
    TrainSpeed(train_speed::Args),
    EmbedSpeed(embed_speed::Args),
    Codes(codes::Args),
    Kmeans(kmeans::Args),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::TrainSpeed(args) => args.run(),
        Command::EmbedSpeed(args) => args.run(),
        Command::Codes(args) => args.run(),
        Command::Kmeans(args) => args.run(),
    }
}
