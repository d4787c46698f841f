//! Measurements of this workspace against its peers, in the same run on the same machine.
#![forbid(unsafe_code)]

mod embed_speed;
mod timing;
mod train_speed;

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
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::TrainSpeed(args) => args.run(),
        Command::EmbedSpeed(args) => args.run(),
    }
}
