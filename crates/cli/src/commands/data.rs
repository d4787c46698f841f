//! `deepembed data check|import|convert|info`: look at pictures before anything is learned from them; turn files of
//! vectors into each other.

use crate::context::{Context, Source};
use crate::failure::{Code, Failure, Outcome};
use crate::pipeline;
use data::vectors::{
    ConvertError, Element, Format, Rounding, RowSlice, Select, VectorFile, VectorWriter, copy_rows,
    parse_count,
};
use data::{DataReport, ImportOptions};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Check or import pictures; look into and convert files of vectors.
#[derive(clap::Subcommand)]
pub enum Args {
    /// Count pictures and classes; find unreadable and duplicate pictures and leaks between splits.
    Check {
        /// A folder of class folders, a CSV file, a folder with manifest.csv, a .tar, or builtin:emoji.
        data: Source,
    },
    /// Write a folder with a manifest: splits and content hashes fixed once and for all.
    Import {
        /// A folder of class folders, a CSV file or a .tar.
        from: PathBuf,
        /// New folder.
        to: PathBuf,
        /// Copy the pictures; without, the manifest points to where they are.
        #[arg(long)]
        copy: bool,
        /// Shares of classes for train, validation and test, where no splits are stated.
        #[arg(long, value_name = "TRAIN,VALIDATION,TEST", value_delimiter = ',', default_values_t = [0.6, 0.1, 0.3])]
        split: Vec<f64>,
    },
    /// Write rows of a file of vectors as another file; the ends of the names say the formats.
    #[command(after_help = CONVERT_EXAMPLES)]
    Convert(Convert),
    /// Say what is in a file of vectors.
    Info {
        /// The file; FILE#NAME chooses a part of an .hdf5, .safetensors, .parquet or .arrow file.
        file: PathBuf,
    },
}

const CONVERT_EXAMPLES: &str = "Examples:\n  \
    deepembed data convert sift_base.fvecs sift.npy\n  \
    deepembed data convert bigann_base.bvecs ten.u8bin --first 10M\n  \
    deepembed data convert glove-100-angular.hdf5 queries.fvecs --tensor test\n\n\
    Formats: fvecs, ivecs, bvecs, fbin, u8bin, i8bin, ibin, npy, safetensors, parquet, arrow; hdf5 is only read.";

/// Rows of one file into another.
#[derive(clap::Args)]
pub struct Convert {
    /// File to read; FILE#NAME chooses a part of an .hdf5, .safetensors, .parquet or .arrow file.
    from: PathBuf,
    /// File to write.
    to: PathBuf,
    /// Only this many rows from the start: 1000, 10K, 10M, 1G.
    #[arg(long, value_name = "N", value_parser = parse_count, conflicts_with = "rows")]
    first: Option<usize>,
    /// Only these rows: 0..10K, 5M.. and so on.
    #[arg(long, value_name = "A..B")]
    rows: Option<RowSlice>,
    /// Kind of the values written: f16, f32, f64, u8, i8, i32, u32, i64; without, what the format or the old file has.
    #[arg(long = "as", value_name = "KIND")]
    element: Option<Element>,
    /// Round values that the new kind does not hold exactly; without, they are refused.
    #[arg(long)]
    round: bool,
    /// Tensor of a .safetensors file, or data set of an .hdf5 file.
    #[arg(long, value_name = "NAME", conflicts_with = "column")]
    tensor: Option<String>,
    /// Column of a .parquet or .arrow file.
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    match args {
        Args::Check { data } => check(context, data),
        Args::Convert(args) => convert(context, args),
        Args::Info { file } => info(context, file),
        Args::Import { from, to, copy, split } => {
            let Ok(shares) = <[f64; 3]>::try_from(split.as_slice()) else {
                return Err(Failure::message(Code::Usage, "--split takes three shares, as in 0.6,0.1,0.3"));
            };
            let options = ImportOptions { copy: *copy, seed: context.seed, shares };
            let dataset = data::import(from, to, &options)?;
            let hash = dataset.manifest_hash()?;
            let text = format!(
                "{} pictures of {} classes in {}",
                dataset.len(),
                dataset.classes.len(),
                to.display()
            );
            let value =
                json!({"pictures": dataset.len(), "classes": dataset.classes.len(), "manifest_hash": hash});
            Ok(context.talk.result(&value, text)?)
        }
    }
}

/// Opens a file of vectors; a part may be named in the path or by itself.
fn open(path: &Path, part: Option<&String>) -> Outcome<VectorFile> {
    let file = match part {
        Some(part) => VectorFile::open_with(path, &Select { part: Some(part.clone()), ..Select::default() }),
        None => VectorFile::open(path),
    };
    Ok(file?)
}

fn convert(context: &Context, args: &Convert) -> Outcome {
    let file = open(&args.from, args.tensor.as_ref().or(args.column.as_ref()))?;
    if same_file(&args.from, &args.to) {
        let text = format!("{} would be written over itself; give another name", args.to.display());
        return Err(Failure::message(Code::Usage, text));
    }
    let slice = args.first.map_or(args.rows.unwrap_or_default(), RowSlice::First);
    let rows = slice
        .of(file.len())
        .map_err(|error| Failure::message(Code::Usage, format!("{}: {error}", args.from.display())))?;
    let fixed = Format::of(&args.to).and_then(Format::element);
    let element = args.element.or(fixed).unwrap_or(file.element());
    let rounding = if args.round { Rounding::Nearest } else { Rounding::Exact };
    let mut to = VectorWriter::create(&args.to, element, file.dim())?;
    let bar = context.talk.bar("converting", rows.len());
    let count = rows.len();
    copy_rows(&file, rows, &mut to, rounding, &mut |done| {
        bar.set(done, count, "");
        !context.stopped()
    })
    .map_err(|error| match error {
        ConvertError::Misfit { .. } => {
            let (from, to) = (args.from.display(), args.to.display());
            let hint = if args.round { "" } else { " (--round, --as)" };
            Failure::message(Code::Failed, format!("{from} to {to}: {error}{hint}"))
        }
        error => error.into(),
    })?;
    to.finish()?;
    bar.finish(&format!("{count} rows"));
    let text = format!("{count} x {} vectors of {element} in {}", file.dim(), args.to.display());
    let value = json!({"rows": count, "dim": file.dim(), "element": element.name(), "vectors": args.to});
    Ok(context.talk.result(&value, text)?)
}

/// Whether both names lead to one file that exists.
fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn info(context: &Context, path: &Path) -> Outcome {
    let file = open(path, None)?;
    let part = file.part().map(|part| format!(", {part}")).unwrap_or_default();
    let distance = file.distance().map(|distance| format!(", distance {distance}")).unwrap_or_default();
    let text = format!(
        "{}: {}{part}, {} x {} values of {}{distance}, {} bytes",
        path.display(),
        file.format(),
        file.len(),
        file.dim(),
        file.element(),
        file.file_bytes()
    );
    let value = json!({
        "format": file.format().name(),
        "part": file.part(),
        "rows": file.len(),
        "dim": file.dim(),
        "element": file.element().name(),
        "distance": file.distance(),
        "bytes": file.file_bytes(),
    });
    Ok(context.talk.result(&value, text)?)
}

fn check(context: &Context, source: &Source) -> Outcome {
    let dataset = match source {
        Source::Emoji => data::Dataset::emoji()?,
        Source::Path(path) => data::Dataset::open(path)?,
    };
    let bar = context.talk.bar("checking", dataset.len());
    let report = data::check(&dataset, &|_, _| {});
    bar.finish(&format!("{} pictures", report.pictures));
    let mut value = serde_json::to_value(&report).expect("a report has a JSON form");
    value["leaks"] = serde_json::to_value(report.leaks()).expect("leaks have a JSON form");
    value["warnings"] = json!(report.warnings());
    context.talk.result(&value, text(&report))?;
    pipeline::sound(&report)
}

fn text(report: &DataReport) -> String {
    let mut lines =
        vec![format!("{}: {} pictures of {} classes", report.name, report.pictures, report.classes.len())];
    for split in &report.splits {
        lines.push(format!(
            "  {:10} {} pictures of {} classes",
            split.split.name(),
            split.pictures,
            split.classes
        ));
    }
    for (camera, pictures) in &report.cameras {
        lines.push(format!("  from {camera}: {pictures} pictures"));
    }
    lines.push(format!("identical files: {} groups", report.duplicates.len()));
    lines.push(format!("near duplicates: {} pairs", report.near_duplicates.len()));
    lines.extend(report.unreadable.iter().map(|bad| format!("UNREADABLE {}: {}", bad.path, bad.reason)));
    lines.extend(report.leaks().iter().map(|leak| format!("LEAK {leak}")));
    lines.extend(report.warnings().iter().map(|warning| format!("note: {warning}")));
    lines.push(if report.is_ok() { "ok".to_owned() } else { "not ok".to_owned() });
    lines.join("\n")
}
