//! The deepembed binary: one command for the whole path from pictures to search.
#![forbid(unsafe_code)]

mod amounts;
mod commands;
mod context;
mod failure;
mod measure;
mod models;
mod payload;
mod pipeline;
mod run_folder;
mod talk;
mod tensorboard;
mod truth;
mod vectors;
mod write_up;

use crate::context::Context;
use crate::failure::{Code, Failure, Outcome};
use crate::talk::Talk;
use clap::Parser;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Training takes and gives back megabytes at every step; the system's allocator returns them to the kernel each
/// time, and a seventh of the time goes into fresh pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Learn, measure, index and search image embeddings.
#[derive(Parser)]
#[command(name = "deepembed", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but results and errors.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Seed of everything random.
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    /// Threads, at most 1024; 0 takes one a core.
    #[arg(long, global = true, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Memory that building and tuning an index may take; of the evaluator, that of its tiles (256 MiB where nothing
    /// is said). MiB, or with K, M or G behind it.
    #[arg(long, global = true, value_name = "BYTES", value_parser = amounts::memory)]
    memory: Option<u64>,
}

/// Bytes of the evaluator's tiles where nothing is said.
const TILES: u64 = 256 << 20;

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failed, 2 usage, 3 goal out of reach, 4 data corrupt, 5 leak found, 130 interrupted.\n\
Results go to stdout, everything else to stderr.";

#[derive(clap::Subcommand)]
enum Command {
    Demo(commands::demo::Args),
    #[command(subcommand)]
    Data(commands::data::Args),
    #[command(subcommand)]
    Train(commands::train::Args),
    Embed(commands::embed::Args),
    Eval(commands::eval::Args),
    #[command(subcommand)]
    Index(commands::index::Args),
    Search(commands::search::Args),
    #[command(subcommand)]
    Bench(commands::bench::Args),
    #[command(subcommand)]
    Codes(commands::codes::Args),
    Report(commands::report::Args),
    Serve(commands::serve::Args),
    #[command(subcommand)]
    Model(commands::model::Args),
    Completions(commands::completions::Args),
}

fn main() -> ExitCode {
    data::vectors::hush_caught_panics();
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            Talk { json: false, quiet: false }.say(format!("error: {}", failure.line()));
            failure.code.into()
        }
    }
}

fn run(cli: &Cli) -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let heard = stop.clone();
    // The first Ctrl-C asks for a clean stop, the second does not ask.
    ctrlc::set_handler(move || {
        if heard.swap(true, Ordering::Relaxed) {
            std::process::exit(Code::Interrupted as i32);
        }
    })
    .map_err(|error| Failure::new(Code::Failed, error))?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(cli.threads.into()).build();
    let pool = pool.map_err(|error| Failure::new(Code::Failed, error))?;
    let talk = Talk { json: cli.json, quiet: cli.quiet };
    let tiles = usize::try_from(cli.memory.unwrap_or(TILES)).unwrap_or(usize::MAX);
    let context = Context { talk, seed: cli.seed, memory: tiles, cap: cli.memory, stop };
    pool.install(|| match &cli.command {
        Command::Demo(args) => commands::demo::run(&context, args),
        Command::Data(args) => commands::data::run(&context, args),
        Command::Train(args) => commands::train::run(&context, args),
        Command::Embed(args) => commands::embed::run(&context, args),
        Command::Eval(args) => commands::eval::run(&context, args),
        Command::Index(args) => commands::index::run(&context, args),
        Command::Search(args) => commands::search::run(&context, args),
        Command::Bench(args) => commands::bench::run(&context, args),
        Command::Codes(args) => commands::codes::run(&context, args),
        Command::Report(args) => commands::report::run(&context, args),
        Command::Serve(args) => commands::serve::run(&context, args),
        Command::Model(args) => commands::model::run(&context, args),
        Command::Completions(args) => commands::completions::run(&context, args),
    })
}
