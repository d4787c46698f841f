//! An index is a sentence: one line says how it is made.
//!
//! ```text
//! spec   := "Flat" | graph {"," change} ["," code] ["," refine] | "SymQG" degree ["_efc" beam] | lists
//! graph  := "HNSW" links ["_efc" beam] | "NSW" links ["_efc" beam] | "KNNG" degree | "EFANNA" degree ["_T" trees]
//!         | "NSG" degree ["_efc" beam] | "Vamana" degree ["_a" factor] ["_efc" beam]
//! lists  := {change ","} [cells ","] code ["," refine]
//! cells  := ("IVF" count ["(" spec ")"] | "IMI2x" bits) ["_res"]
//! refine := "Refine(" code ")"
//! ```
//! `links` are the links a node makes when it is inserted (`M`); `beam` is the width of the search
//! that finds them (`efConstruction`); `degree` is the number of neighbours that a node has; `factor` is how much
//! shorter a path has to be to hide a link. `count` lists take the rows
//! whose nearest centroid is theirs; the index in brackets finds centroids, where otherwise all are compared; `IMI` makes a list for
//! each pair of `2^bits` centroids of either half of the values; with
//! `_res` codes hold what is left of a row without its centroid. Changes and codes are those of [`quant::Spec`].
//! Of faiss's spellings, `HNSW32,Flat`, `IVF65536_HNSW32`, `RFlat` for `Refine(Flat)` and the `r` of `PQ16x4fsr`
//! for `_res` are taken.

use crate::graph::GraphSpec;
pub use crate::lists::spec::{CellsSpec, ListsSpec, Partition};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// How an index is made; printing and parsing give it back.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// How the rows are arranged and visited.
    pub layout: Layout,
}

/// How rows are arranged and visited.
#[derive(Clone, Debug, PartialEq)]
pub enum Layout {
    /// Every row is compared with every query: exact.
    Scan,
    /// A graph of near neighbours.
    Graph(GraphSpec),
    /// A graph whose nodes hold their neighbours' codes.
    Symqg(SymqgSpec),
    /// Codes in lists, of which a search visits some; or in a single one.
    Lists(ListsSpec),
}

/// The shape of a SymphonyQG graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SymqgSpec {
    degree: u32,
    construction: u32,
}

/// The shape of an HNSW graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HnswSpec {
    links: u32,
    construction: u32,
}

/// Why a line is not a spec.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseSpecError {
    /// A word is no code and no change of rows, or its settings are not possible.
    #[error(transparent)]
    Code(#[from] quant::ParseSpecError),
    /// Words that do not go together.
    #[error("{line}: {why}")]
    Composition {
        /// The line.
        line: String,
        /// What is wrong and what would do.
        why: String,
    },
    /// A count is missing or is no whole number.
    #[error("\"{text}\" is no count for {what}; write one as in HNSW16_efc400")]
    Count {
        /// What the number is.
        what: &'static str,
        /// What was read.
        text: String,
    },
    /// A node with these many links makes no graph.
    #[error("HNSW{0}: a node needs 2 to {max} links; 16 or 32 suit most data", max = HnswSpec::MAX_LINKS)]
    Links(u32),
    /// The construction beam cannot offer the links, or is absurd.
    #[error("HNSW{links}_efc{construction}: the construction beam must hold at least the {links} links \
             and at most {max} rows", max = HnswSpec::MAX_CONSTRUCTION)]
    Construction {
        /// Links asked for.
        links: u32,
        /// The beam asked for.
        construction: u32,
    },
    /// Neighbours are compared in blocks of 32.
    #[error("SymQG{0}: a node has a multiple of 32 neighbours, at most {max}; 32 suits most data",
            max = SymqgSpec::MAX_DEGREE)]
    Degree(u32),
    /// The construction beam cannot offer the neighbours, or is absurd.
    #[error("SymQG{degree}_efc{construction}: the construction beam must hold at least the {degree} \
             neighbours and at most {max} rows", max = HnswSpec::MAX_CONSTRUCTION)]
    Beam {
        /// Neighbours asked for.
        degree: u32,
        /// The beam asked for.
        construction: u32,
    },
}

impl Spec {
    /// One spec of each kind, for tests that must hold for all of them.
    pub const EXAMPLES: [&'static str; 20] = [
        "Flat",
        "HNSW16",
        "HNSW8_efc100",
        "HNSW12,SQ8,Refine(Flat)",
        "NSW16_efc100",
        "KNNG24",
        "EFANNA24_T4",
        "NSG24",
        "NSG20,LVQ4x8",
        "Vamana24_a1.2",
        "Vamana20_a1.1_efc60,RaBitQ5,Refine(F16)",
        "SymQG32",
        "SymQG64_efc100",
        "SQ8",
        "IVF16,Flat",
        "IVF8_res,SQ4,Refine(F16)",
        "IVF64(HNSW8),SQ4,Refine(Flat)",
        "IVF32(IVF4,Flat)_res,SQ8",
        "IMI2x4,SQ4,Refine(Flat)",
        "IMI2x3_res,SQ8",
    ];

    /// The exact scan.
    pub const FLAT: Self = Self { layout: Layout::Scan };
}

impl HnswSpec {
    /// The construction beam where the line names none. Part of the grammar: it never changes.
    pub const CONSTRUCTION: u32 = 200;
    /// Most links a node may make.
    pub const MAX_LINKS: u32 = 512;
    /// Widest construction beam.
    pub const MAX_CONSTRUCTION: u32 = 65_536;

    /// A graph whose nodes make `links` links, found by a search of width `construction`.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn new(links: u32, construction: u32) -> Result<Self, ParseSpecError> {
        if !(2..=Self::MAX_LINKS).contains(&links) {
            return Err(ParseSpecError::Links(links));
        }
        if !(links..=Self::MAX_CONSTRUCTION).contains(&construction) {
            return Err(ParseSpecError::Construction { links, construction });
        }
        Ok(Self { links, construction })
    }

    /// Links a node makes when it is inserted; the cap above level 0.
    #[must_use]
    pub fn links(self) -> usize {
        self.links as usize
    }

    /// Reads `HNSWm` or `HNSWm_efcb`; none for a word of another kind.
    pub(crate) fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let settings = word.strip_prefix("HNSW")?;
        let both = shape_and_beam(settings, "the links of a node");
        Some(both.and_then(|(links, construction)| Self::new(links, construction)))
    }

    /// Cap on the links of a node at level 0.
    #[must_use]
    pub fn base_links(self) -> usize {
        2 * self.links as usize
    }

    /// Width of the search that finds a new node's neighbours.
    #[must_use]
    pub fn construction(self) -> usize {
        self.construction as usize
    }
}

impl SymqgSpec {
    /// Most neighbours of a node.
    pub const MAX_DEGREE: u32 = 512;

    /// A graph whose nodes have `degree` neighbours, found by walks of width `construction`.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn new(degree: u32, construction: u32) -> Result<Self, ParseSpecError> {
        if !degree.is_multiple_of(32) || !(32..=Self::MAX_DEGREE).contains(&degree) {
            return Err(ParseSpecError::Degree(degree));
        }
        if !(degree..=HnswSpec::MAX_CONSTRUCTION).contains(&construction) {
            return Err(ParseSpecError::Beam { degree, construction });
        }
        Ok(Self { degree, construction })
    }

    /// Neighbours of a node.
    #[must_use]
    pub fn degree(self) -> usize {
        self.degree as usize
    }

    /// Width of the walk that finds a node's neighbours.
    #[must_use]
    pub fn construction(self) -> usize {
        self.construction as usize
    }
}

impl fmt::Display for HnswSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.construction {
            Self::CONSTRUCTION => write!(f, "HNSW{}", self.links),
            construction => write!(f, "HNSW{}_efc{construction}", self.links),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.layout {
            Layout::Scan => f.write_str("Flat"),
            Layout::Graph(graph) => graph.fmt(f),
            Layout::Symqg(SymqgSpec { degree, construction: HnswSpec::CONSTRUCTION }) => {
                write!(f, "SymQG{degree}")
            }
            Layout::Symqg(SymqgSpec { degree, construction }) => write!(f, "SymQG{degree}_efc{construction}"),
            Layout::Lists(lists) => lists.fmt(f),
        }
    }
}

impl FromStr for Spec {
    type Err = ParseSpecError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        // Codes may be written with spaces around them; the plain scan is no code all the same.
        if line.trim() == "Flat" {
            return Ok(Self::FLAT);
        }
        if let Some(graph) = GraphSpec::parse(line) {
            return Ok(Self { layout: Layout::Graph(graph?) });
        }
        if let Some(shape) = line.strip_prefix("SymQG") {
            let (degree, beam) = shape_and_beam(shape, "the neighbours of a node")?;
            return Ok(Self { layout: Layout::Symqg(SymqgSpec::new(degree, beam)?) });
        }
        Ok(Self { layout: Layout::Lists(ListsSpec::parse(line)?) })
    }
}

/// A count and the construction beam after it.
fn shape_and_beam(text: &str, what: &'static str) -> Result<(u32, u32), ParseSpecError> {
    match text.split_once("_efc") {
        Some((first, beam)) => {
            let beam = count("the construction beam", beam)?;
            Ok((count(what, first)?, beam))
        }
        None => Ok((count(what, text)?, HnswSpec::CONSTRUCTION)),
    }
}

/// A whole number; signs and spaces are not.
pub(crate) fn count(what: &'static str, text: &str) -> Result<u32, ParseSpecError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| ParseSpecError::Count { what, text: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::GraphShape;
    use crate::lists::spec::tests::lists;
    use proptest::prelude::*;

    fn spec() -> impl Strategy<Value = Spec> {
        let hnsw = (2..=HnswSpec::MAX_LINKS)
            .prop_flat_map(|links| (Just(links), links..=HnswSpec::MAX_CONSTRUCTION))
            .prop_map(|(links, beam)| GraphShape::Hnsw(HnswSpec::new(links, beam).unwrap()))
            .prop_map(|shape| Layout::Graph(GraphSpec::plain(shape)));
        let symqg = (1..=SymqgSpec::MAX_DEGREE / 32)
            .prop_flat_map(|blocks| (Just(32 * blocks), 32 * blocks..=HnswSpec::MAX_CONSTRUCTION))
            .prop_map(|(degree, beam)| Layout::Symqg(SymqgSpec::new(degree, beam).unwrap()));
        let layout = prop_oneof![Just(Layout::Scan), hnsw, symqg, lists()];
        // The plain scan has one spelling.
        layout
            .prop_map(|layout| Spec { layout })
            .prop_map(|spec| if spec.to_string() == "Flat" { Spec::FLAT } else { spec })
    }

    proptest! {
        #[test]
        fn specs_survive_printing(spec in spec()) {
            prop_assert_eq!(spec.to_string().parse(), Ok(spec));
        }

        #[test]
        fn no_line_panics(line in "(HNSW|SymQG|Flat|IVF8|IVF)?[0-9A-Za-z_,+ ()-]{0,12}(,Flat|,PQ8|,RFlat|\\(HNSW8\\),SQ8)?") {
            if let Ok(spec) = line.parse::<Spec>() {
                prop_assert_eq!(spec.to_string().parse(), Ok(spec));
            }
        }
    }

    #[test]
    fn examples_are_canonical() {
        for line in Spec::EXAMPLES {
            assert_eq!(line.parse::<Spec>().unwrap().to_string(), line);
        }
        assert_eq!("HNSW32,Flat".parse::<Spec>().unwrap().to_string(), "HNSW32");
        assert_eq!("HNSW32_efc200".parse::<Spec>().unwrap().to_string(), "HNSW32");
    }

    #[test]
    fn impossible_specs_say_why() {
        let why = |line: &str| line.parse::<Spec>().unwrap_err().to_string();
        assert!(why("Pq8").starts_with("\"Pq8\" names no code; there are Flat"));
        assert_eq!(why("HNSW1"), "HNSW1: a node needs 2 to 512 links; 16 or 32 suit most data");
        assert!(why("HNSW16_efc8").contains("must hold at least the 16 links and at most 65536 rows"));
        assert!(why("HNSWx").starts_with("\"x\" is no count for the links of a node"));
        assert!(why("HNSW16_efc").starts_with("\"\" is no count for the construction beam"));
        assert!(why("HNSW99999999999").contains("is no count"));
        assert!(why("HNSW+16").contains("is no count"));
        assert_eq!(
            why("SymQG16"),
            "SymQG16: a node has a multiple of 32 neighbours, at most 512; 32 suits most data"
        );
        assert!(why("SymQG64_efc50").contains("must hold at least the 64 neighbours"));
        assert!(why("SymQG").starts_with("\"\" is no count for the neighbours of a node"));
        assert!(why("HNSW300").contains("HNSW300_efc200"));
    }
}
