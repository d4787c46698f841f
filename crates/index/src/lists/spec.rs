//! Lists in the grammar of specs.
//!
//! ```text
//! lists  := {change ","} [cells ","] code ["," refine]
//! cells  := ("IVF" count ["(" spec ")"] | "IMI2x" bits) ["_res"]
//! refine := "Refine(" code ")"
//! ```
//! `count` lists by nearest centroid. The index in brackets, any that a spec describes, finds the centroids;
//! without, all are compared. `IMI` makes a list for each pair of `2^bits` centroids of either half of the values. With `_res` codes hold what is left of a row without its centroid. Of faiss's
//! spellings, `IVF65536_HNSW32` for `IVF65536(HNSW32)`, `RFlat` for `Refine(Flat)` and the `r` of `PQ16x4fsr`
//! for `_res` are taken.

use crate::spec::{Layout, ParseSpecError, Spec, count};
use quant::codes::Code;
use std::fmt;

/// Brackets within each other, at most.
const DEPTH: usize = 4;

/// Codes, the lists they lie in, and what ranks the best of them again.
#[derive(Clone, Debug, PartialEq)]
pub struct ListsSpec {
    /// The lists; without, all codes are scanned.
    pub cells: Option<CellsSpec>,
    /// What is done to rows, and how they are then compressed.
    pub code: quant::Spec,
    /// A finer code by which the best are ranked again.
    pub refine: Option<Code>,
}

/// Lists, and what their codes hold.
#[derive(Clone, Debug, PartialEq)]
pub struct CellsSpec {
    /// How rows are put into lists.
    pub partition: Partition,
    /// Whether codes hold rows less their centroid.
    pub residual: bool,
}

/// How rows are put into lists.
#[derive(Clone, Debug, PartialEq)]
pub enum Partition {
    /// By nearest centroid.
    Nearest {
        /// Centroids, `1..=2^24`.
        count: u32,
        /// The index that finds them; without, all are compared.
        router: Option<Box<Spec>>,
    },
    /// By the nearest of `2^bits` centroids of either half of the values.
    Product {
        /// `1..=12`.
        bits: u32,
    },
}

impl Partition {
    /// Number of lists.
    #[must_use]
    pub fn lists(&self) -> usize {
        match self {
            Self::Nearest { count, .. } => *count as usize,
            Self::Product { bits } => 1 << (2 * bits),
        }
    }
}

impl CellsSpec {
    /// Most lists.
    pub const MAX: u32 = 1 << 24;

    /// Reads the word of lists; none for a word of another kind.
    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let (settings, residual) = word.strip_suffix("_res").map_or((word, false), |word| (word, true));
        let partition = match settings.strip_prefix("IMI") {
            Some(settings) => product(word, settings),
            None => nearest(word, settings.strip_prefix("IVF")?),
        };
        Some(partition.map(|partition| Self { partition, residual }))
    }
}

/// Reads a number of lists and what finds them.
fn nearest(word: &str, settings: &str) -> Result<Partition, ParseSpecError> {
    let wrong = |why: String| ParseSpecError::Composition { line: word.into(), why };
    let (cells, router) = match settings.split_once('(') {
        Some((cells, rest)) => {
            let inner =
                rest.strip_suffix(')').ok_or_else(|| wrong("the index in brackets has no end".into()))?;
            (cells, Some(inner))
        }
        None => match settings.find("_HNSW") {
            Some(at) => (&settings[..at], Some(&settings[at + 1..])),
            None => (settings, None),
        },
    };
    let count = count("the number of lists", cells)?;
    if !(1..=CellsSpec::MAX).contains(&count) {
        return Err(wrong(format!(
            "there may be 1 to {} lists; about the root of the rows, times 4, is usual",
            CellsSpec::MAX
        )));
    }
    // Comparing all centroids has one spelling.
    let router = router.map(str::parse::<Spec>).transpose()?.filter(|spec| spec.layout != Layout::Scan);
    Ok(Partition::Nearest { count, router: router.map(Box::new) })
}

/// Reads the bits of a half.
fn product(word: &str, settings: &str) -> Result<Partition, ParseSpecError> {
    let bits = count("the bits of a half", settings.strip_prefix("2x").unwrap_or_default())?;
    if (1..=12).contains(&bits) {
        return Ok(Partition::Product { bits });
    }
    let why = "a half may have 1 to 12 bits; about half the logarithm of the rows is usual".into();
    Err(ParseSpecError::Composition { line: word.into(), why })
}

/// The words between commas that stand in no brackets, and how deep brackets go.
fn words(line: &str) -> (Vec<&str>, usize) {
    let (mut words, mut start) = (Vec::new(), 0);
    let (mut depth, mut deepest) = (0usize, 0);
    for (at, letter) in line.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                words.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    words.push(&line[start..]);
    (words, deepest)
}

/// Whether distances to a code are other than those to what it stands for.
fn estimates(code: &Code) -> bool {
    match code {
        Code::RaBitQ(_) | Code::Sign(_) => true,
        Code::Pq(config) => config.symmetric,
        _ => false,
    }
}

/// Whether a word is one of lists.
fn of_lists(word: &str) -> bool {
    word.starts_with("IVF") || word.starts_with("IMI")
}

impl ListsSpec {
    pub(crate) fn parse(line: &str) -> Result<Self, ParseSpecError> {
        let wrong = |why: &str| ParseSpecError::Composition { line: line.into(), why: why.into() };
        let (mut words, depth) = words(line);
        if depth > DEPTH {
            return Err(wrong("indexes that find centroids stand in more brackets than any use needs"));
        }
        let refine = match words.last() {
            Some(&"RFlat") => Some("Flat"),
            Some(word) => word.strip_prefix("Refine(").and_then(|word| word.strip_suffix(')')),
            None => None,
        };
        let refine = refine.map(Code::parse).transpose()?;
        if refine.is_some() {
            words.pop();
        }
        let place = words.iter().position(|word| of_lists(word));
        let mut cells =
            place.map(|place| CellsSpec::parse(words.remove(place))).and_then(|cells| cells).transpose()?;
        if words.iter().any(|word| of_lists(word)) {
            return Err(wrong("rows can be put into lists once"));
        }
        if words.is_empty() {
            return Err(wrong(
                "lists need a code; write it after a comma, as in IVF1024,Flat or IVF1024,PQ16x4fs",
            ));
        }
        let mut words = words.join(",");
        if words.ends_with("x4fsr") {
            words.pop();
            match &mut cells {
                Some(cells) => cells.residual = true,
                None => {
                    return Err(wrong(
                        "without lists there is no centroid to take from a row; leave out the r",
                    ));
                }
            }
        }
        let code: quant::Spec = words.parse()?;
        let product = |cells: &CellsSpec| matches!(cells.partition, Partition::Product { .. });
        if cells.as_ref().is_some_and(|cells| cells.residual && product(cells)) && estimates(&code.code) {
            return Err(wrong("the lists of IMI need residuals whose products are exact; leave out _res"));
        }
        Ok(Self { cells, code, refine })
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Product { bits } => write!(f, "IMI2x{bits}"),
            Self::Nearest { count, router: None } => write!(f, "IVF{count}"),
            Self::Nearest { count, router: Some(router) } => write!(f, "IVF{count}({router})"),
        }
    }
}

impl fmt::Display for ListsSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.code.changes {
            write!(f, "{change},")?;
        }
        if let Some(CellsSpec { partition, residual }) = &self.cells {
            write!(f, "{partition}{},", if *residual { "_res" } else { "" })?;
        }
        self.code.code.fmt(f)?;
        match &self.refine {
            Some(code) => write!(f, ",Refine({code})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any lists.
    pub(crate) fn lists() -> impl Strategy<Value = Layout> {
        let words: Vec<&str> = Code::EXAMPLES.iter().flat_map(|words| words.iter().copied()).collect();
        let routers = vec!["HNSW16", "SQ8", "IVF64,Flat", "IVF256(HNSW8_efc100)_res,SQ8,Refine(Flat)"];
        let router = prop::sample::select(routers).prop_map(|line| Box::new(line.parse::<Spec>().unwrap()));
        let nearest = (1..=CellsSpec::MAX, prop::option::of(router))
            .prop_map(|(count, router)| Partition::Nearest { count, router });
        let partition = prop_oneof![nearest, (1..=12u32).prop_map(|bits| Partition::Product { bits })];
        let cells = prop::option::of((partition, any::<bool>()));
        let code = || prop::sample::select(words.clone()).prop_map(|word| Code::parse(word).unwrap());
        let changes = prop::sample::subsequence(vec!["Centre", "OPQ8"], 0..=2);
        (cells, changes, code(), prop::option::of(code())).prop_map(|(cells, changes, code, refine)| {
            let changes: String = changes.iter().map(|change| format!("{change},")).collect();
            let cells = cells.map(|(partition, residual)| {
                let refused = matches!(partition, Partition::Product { .. }) && estimates(&code);
                CellsSpec { partition, residual: residual && !refused }
            });
            Layout::Lists(ListsSpec { cells, code: format!("{changes}{code}").parse().unwrap(), refine })
        })
    }

    #[test]
    fn other_spellings_are_understood() {
        let printed = |line: &str| line.parse::<Spec>().unwrap().to_string();
        assert_eq!(printed("OPQ8,IVF64,PQ8x4fsr,RFlat"), "OPQ8,IVF64_res,PQ8x4fs,Refine(Flat)");
        assert_eq!(printed("IVF65536_HNSW32,Flat"), "IVF65536(HNSW32),Flat");
        assert_eq!(printed("IVF64_HNSW32_efc100_res,SQ8"), "IVF64(HNSW32_efc100)_res,SQ8");
        assert_eq!(printed("IVF4096(Flat),SQ8"), "IVF4096,SQ8");
        assert_eq!(printed("IVF4096(IVF64,Flat),SQ8,RFlat"), "IVF4096(IVF64,Flat),SQ8,Refine(Flat)");
    }

    #[test]
    fn impossible_lists_say_why() {
        let why = |line: &str| line.parse::<Spec>().unwrap_err().to_string();
        assert!(why("IVF0,Flat").contains("1 to 16777216 lists"));
        assert!(why("IMI2x13,SQ8").contains("1 to 12 bits"));
        assert!(why("IMI3x4,SQ8").contains("is no count for the bits of a half"));
        assert!(why("IMI2x4_res,RaBitQ").contains("leave out _res"));
        assert!(why("IVF64").contains("lists need a code"));
        assert!(why("IVF64,IVF8,Flat").contains("once"));
        assert!(why("PQ8x4fsr").contains("without lists"));
        assert!(why("IVF64,Flat,Refine(x)").contains("names no code"));
        assert!(why("IVF64(HNSW16,Flat").contains("has no end"));
        assert!(why("IVF64(HNSW16)x,Flat").contains("has no end"));
        assert!(why("IVF64(HNSW1),Flat").contains("2 to 512 links"));
        assert!(why("IVF9(IVF8(IVF7(IVF6(IVF5(HNSW8),SQ8),SQ8),SQ8),SQ8),SQ8").contains("more brackets"));
    }
}
