//! `deepembed serve`: the search page.

use crate::context::Context;
use crate::failure::{Code, Failure, Outcome};
use crate::models::{self, ModelName};
use crate::payload;
use crate::run_folder::RunFolder;
use data::{Dataset, Embed};
use serve::{App, Bounds};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Serve a page that searches an index.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a run that holds an index, as the demo leaves it.
    #[arg(required_unless_present = "index", conflicts_with = "index")]
    run: Option<PathBuf>,
    /// Index file, instead of a run folder.
    #[arg(long, requires = "model")]
    index: Option<PathBuf>,
    /// The model that the index was built with.
    #[arg(long)]
    model: Option<ModelName>,
    #[command(flatten)]
    listen: Listen,
}

/// Where the page is served.
#[derive(clap::Args)]
pub struct Listen {
    /// Address to listen on; only this machine can reach the default.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 7878)]
    port: u16,
}

impl Listen {
    /// Takes the port, or says who may have it.
    pub fn bind(&self) -> Outcome<TcpListener> {
        let address = SocketAddr::new(self.host, self.port);
        TcpListener::bind(address).map_err(|error| {
            let text = format!("cannot listen on {address}; give another --port (0 takes a free one)");
            Failure::new(Code::Failed, anyhow::Error::new(error).context(text))
        })
    }
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let listener = args.listen.bind()?;
    match (&args.run, &args.index, &args.model) {
        (_, Some(index), Some(model)) => {
            serve_index(context, index, models::open(model)?.into(), None, listener)
        }
        (Some(run), ..) => run_folder(context, &RunFolder::at(run), listener),
        _ => Err(Failure::message(Code::Usage, "give a run folder, or --index and --model")),
    }
}

/// Serves what a run left behind.
pub fn run_folder(context: &Context, folder: &RunFolder, listener: TcpListener) -> Outcome {
    let model = models::open(&ModelName::File(folder.model()))?;
    serve_index(context, &folder.index(), model.into(), Some(folder), listener)
}

fn serve_index(
    context: &Context,
    path: &std::path::Path,
    model: Arc<dyn Embed>,
    folder: Option<&RunFolder>,
    listener: TcpListener,
) -> Outcome {
    let opened = index::open(path)?;
    opened.provenance.accepts(&*model)?;
    let (source, records) = payload::read(opened.payload()?, opened.id_bound())?;
    let dataset: Dataset = source.open()?;
    // A pool of its own: this thread is one of the other's, and waits here for as long as the page is served.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(rayon::current_num_threads()).build();
    let app = App {
        title: dataset.name.clone(),
        model,
        index: opened.index.into(),
        records,
        picture: Box::new(move |row| dataset.bytes(row).map(Into::into).map_err(|error| error.to_string())),
        map: folder.map(map_of).unwrap_or_default(),
        report: folder.and_then(|folder| std::fs::read_to_string(folder.report()).ok()),
        pool: Arc::new(pool.map_err(|error| Failure::new(Code::Failed, error))?),
        hosts: Vec::new(),
        bounds: Bounds::default(),
    };
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    context.talk.say(format!("serving http://{address}  (Ctrl-C stops)"));
    let stop = context.stop.clone();
    let stopped = async move {
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        serve::serve(app, listener, stopped).await
    })?;
    Ok(())
}

/// Places on the map: `[row, x, y]` each.
fn map_of(folder: &RunFolder) -> Vec<(u64, [f32; 2])> {
    let text = std::fs::read_to_string(folder.map()).unwrap_or_default();
    let places: Vec<(u64, f32, f32)> = serde_json::from_str(&text).unwrap_or_default();
    places.into_iter().map(|(row, x, y)| (row, [x, y])).collect()
}
