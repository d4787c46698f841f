//! Published data sets of vectors, by the names of their files.
//!
//! `sift1m:DIR` finds the base vectors, queries, learning vectors and right answers in `DIR`. Sets of several sizes
//! share their base: `sift10m` is the first ten million of `sift1b` with right answers of its own.

use super::{VectorFile, VectorFileError};
use crate::Metric;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Where the parts of a data set are.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSet {
    /// Its name, `sift1m`.
    pub name: String,
    /// Vectors to search in.
    pub base: PathBuf,
    /// How many of them, from the first on; `None` for all.
    pub rows: Option<usize>,
    /// Vectors to search with.
    pub queries: PathBuf,
    /// Vectors to train on, where the set has some.
    pub learn: Option<PathBuf>,
    /// Right answers, for [`super::GroundTruth`].
    pub truth: PathBuf,
    /// The distance that the answers were made with.
    pub metric: Metric,
    /// Whether rows and queries are to be scaled to length one first: the metric is the angle.
    pub unit: bool,
}

/// Why a data set is not there.
#[derive(Debug, Error)]
pub enum VectorSetError {
    /// Not one of the names.
    #[error(
        "`{0}` is no data set; there are {SETS}, each followed by :FOLDER, and files of ann-benchmarks (.hdf5)"
    )]
    Name(String),
    /// A file is missing.
    #[error("{set}: {folder} has no {part}: none of {names}", folder = folder.display())]
    Missing {
        /// The set.
        set: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// Which part is missing.
        part: &'static str,
        /// Its published names.
        names: String,
    },
    /// The file that holds everything cannot be read.
    #[error(transparent)]
    File(#[from] VectorFileError),
    /// A distance that vectors of numbers do not have here.
    #[error("{file}: the distance is `{distance}`; euclidean, angular and dot are known", file = file.display())]
    Distance {
        /// The file.
        file: PathBuf,
        /// What it says.
        distance: String,
    },
}

const SETS: &str = "siftsmall, sift1m, gist1m, sift1b (and sift2m, 5m, 10m, 20m, 50m, 100m, 200m, 500m) and deep1b \
                    (and deep100k, 1m, 10m, 100m)";

/// Published names of a set's parts; of several the first that is there counts.
struct Names {
    base: Vec<String>,
    queries: Vec<String>,
    learn: Vec<String>,
    truth: Vec<String>,
    rows: Option<usize>,
}

impl VectorSet {
    /// Finds the set that `text` names: `sift1m:DIR` or `FILE.hdf5`.
    ///
    /// # Errors
    /// See [`VectorSetError`].
    pub fn find(text: &str) -> Result<Self, VectorSetError> {
        if text.ends_with(".hdf5") || text.ends_with(".h5") {
            return Self::ann_benchmarks(Path::new(text));
        }
        let unknown = || VectorSetError::Name(text.to_owned());
        let (name, folder) = text.split_once(':').ok_or_else(unknown)?;
        let names = names(name).ok_or_else(unknown)?;
        let folder = Path::new(folder);
        let find = |part: &'static str, names: &[String]| {
            let found = names.iter().map(|name| folder.join(name)).find(|path| path.exists());
            found.ok_or_else(|| {
                let (set, folder, names) = (name.to_owned(), folder.to_path_buf(), names.join(", "));
                VectorSetError::Missing { set, folder, part, names }
            })
        };
        Ok(Self {
            name: name.to_owned(),
            base: find("base vectors", &names.base)?,
            rows: names.rows,
            queries: find("queries", &names.queries)?,
            // Few need it and it is the second largest: a set without is whole.
            learn: find("learning vectors", &names.learn).ok(),
            truth: find("right answers", &names.truth)?,
            metric: Metric::L2,
            unit: false,
        })
    }

    /// The four parts of one file of ann-benchmarks.
    fn ann_benchmarks(path: &Path) -> Result<Self, VectorSetError> {
        let distance = VectorFile::open(path)?.distance().unwrap_or("none").to_owned();
        let (metric, unit) = match distance.as_str() {
            "euclidean" => (Metric::L2, false),
            "angular" => (Metric::Dot, true),
            "dot" | "ip" => (Metric::Dot, false),
            _ => return Err(VectorSetError::Distance { file: path.to_path_buf(), distance }),
        };
        let part = |name: &str| {
            let mut part = path.as_os_str().to_owned();
            part.push(format!("#{name}"));
            PathBuf::from(part)
        };
        Ok(Self {
            name: path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
            base: part("train"),
            rows: None,
            queries: part("test"),
            learn: None,
            truth: path.to_path_buf(),
            metric,
            unit,
        })
    }
}

/// The files of set `name`. Sources: corpus-texmex.irisa.fr; big-ann-benchmarks.com; faiss's notes on Deep1B.
fn names(name: &str) -> Option<Names> {
    let texmex = |stem: &str| Names {
        base: vec![format!("{stem}_base.fvecs")],
        queries: vec![format!("{stem}_query.fvecs")],
        learn: vec![format!("{stem}_learn.fvecs")],
        truth: vec![format!("{stem}_groundtruth.ivecs")],
        rows: None,
    };
    match name {
        "siftsmall" => return Some(texmex("siftsmall")),
        "sift1m" => return Some(texmex("sift")),
        "gist1m" => return Some(texmex("gist")),
        _ => {}
    }
    // Sizes as their own names write them: thousands, then with the letter that faiss and big-ann use.
    let (sift, deep) = (name.strip_prefix("sift"), name.strip_prefix("deep"));
    let millions = match sift.or(deep)? {
        "100k" if deep.is_some() => 0,
        "1m" if deep.is_some() => 1,
        "2m" | "5m" | "20m" | "50m" | "200m" | "500m" if deep.is_some() => return None,
        "2m" => 2,
        "5m" => 5,
        "10m" => 10,
        "20m" => 20,
        "50m" => 50,
        "100m" => 100,
        "200m" => 200,
        "500m" => 500,
        "1b" => 1000,
        _ => return None,
    };
    let rows = match millions {
        0 => Some(100_000),
        1000 => None,
        _ => Some(millions * 1_000_000),
    };
    // The big-ann benchmarks cut their base files and give them this end.
    let cut = |base: &str| rows.map(|rows| format!("{base}.crop_nb_{rows}"));
    let mut names = if sift.is_some() {
        Names {
            base: vec!["bigann_base.bvecs".to_owned(), "base.1B.u8bin".to_owned()],
            queries: vec!["bigann_query.bvecs".to_owned(), "query.public.10K.u8bin".to_owned()],
            learn: vec!["bigann_learn.bvecs".to_owned(), "learn.100M.u8bin".to_owned()],
            truth: vec![format!("gnd/idx_{millions}M.ivecs"), format!("bigann-{millions}M")],
            rows,
        }
    } else {
        let size = match millions {
            0 => "100k".to_owned(),
            1000 => "1B".to_owned(),
            _ => format!("{millions}M"),
        };
        Names {
            base: vec!["base.fvecs".to_owned(), "base.1B.fbin".to_owned()],
            queries: vec!["deep1B_queries.fvecs".to_owned(), "query.public.10K.fbin".to_owned()],
            learn: vec!["learn.fvecs".to_owned(), "learn.350M.fbin".to_owned()],
            truth: vec![format!("deep{size}_groundtruth.ivecs"), format!("deep-{millions}M")],
            rows,
        }
    };
    let headed = names.base[1].clone();
    names.base.extend(cut(&headed));
    if rows.is_none() {
        let public: &[&str] = if sift.is_some() {
            &["GT.public.1B.ibin"]
        } else {
            &["deep_new_groundtruth.public.10K.bin", "groundtruth.public.10K.ibin"]
        };
        names.truth.extend(public.iter().map(|&name| name.to_owned()));
    }
    Some(names)
}
